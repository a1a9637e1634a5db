package contract

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"pgregory.net/rapid"

	"github.com/breakerhttp/breakerhttp"
)

// A machine does the same to a Transport and to a model of it, and compares the two.
type machine struct {
	tr          *breakerhttp.Transport
	model       model
	policies    [2]breakerhttp.Policy // of all hosts, and of the first
	epoch       time.Time
	keys        []string
	dryRun      bool
	filtered    bool
	fallback    bool
	opinionated bool // there is a classifier
	watchful    bool // looks after each action, so that nothing is left to be noticed later
	mood        int  // of all hosts

	exchanges   []*exchange // all
	pending     []*exchange // base has not returned
	bodies      []*exchange // the response is not read to its end
	user        userCode
	hearing     sync.Mutex                          // many requests end at once after the test
	gate        chan struct{}                       // the hook waits for it; nil: it does not wait
	afterGate   []func()                            // what to compare then
	heardBefore map[string]int                      // how many transitions it was given before
	heard       map[string][]breakerhttp.Transition // what the hook was given for each key
}

func newMachine(t *rapid.T) *machine {
	mc := &machine{
		epoch:       time.Now(),
		dryRun:      rapid.IntRange(0, 4).Draw(t, "dry run") == 4,
		filtered:    rapid.Bool().Draw(t, "filtered"),
		fallback:    rapid.Bool().Draw(t, "fallback"),
		opinionated: rapid.Bool().Draw(t, "classifier"),
		watchful:    rapid.Bool().Draw(t, "watchful"),
		heard:       map[string][]breakerhttp.Transition{},
	}
	for i := range rapid.IntRange(2, 4).Draw(t, "hosts") {
		mc.keys = append(mc.keys, fmt.Sprintf("http://host%d.test", i))
	}
	all := rapid.SampledFrom(policies).Draw(t, "policy")
	first := rapid.SampledFrom(policies).Draw(t, "policy of host0")
	bound := rapid.IntRange(1, 4).Draw(t, "max circuits")
	mc.model = model{bound: bound, hosts: map[string]*host{}}
	mc.policies = [...]breakerhttp.Policy{all, first}
	mc.model.policyOf = func(key string) breakerhttp.Policy {
		if key == mc.keys[0] {
			return mc.policies[1]
		}
		return mc.policies[0]
	}
	mc.model.jittered, mc.model.asTold = mc.jittered, mc.asTold
	mc.model.breaksTripWhen = func() bool { return mc.user.broke == "TripWhen" }
	all.TripWhen, first.TripWhen = mc.tripWhen(all.TripWhen), mc.tripWhen(first.TripWhen)
	opts := []breakerhttp.Option{
		breakerhttp.WithPolicy(all), breakerhttp.WithHostPolicy(mc.keys[0], first), breakerhttp.WithMaxCircuits(bound),
		breakerhttp.WithTransitionHook(mc.hook),
	}
	for _, o := range []struct {
		on     bool
		option breakerhttp.Option
	}{
		{mc.dryRun, breakerhttp.WithDryRun()},
		{mc.filtered, breakerhttp.WithProbeFilter(mc.probeFilter)},
		{mc.fallback, breakerhttp.WithFallback(mc.answer)},
		{rapid.Bool().Draw(t, "key func"), breakerhttp.WithKey(mc.key)},
		{mc.opinionated, breakerhttp.WithClassifier(mc.classify)},
	} {
		if o.on {
			opts = append(opts, o.option)
		}
	}
	tr, err := breakerhttp.New(scriptedBase{}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	mc.tr = tr
	return mc
}

// end lets every goroutine go, also after a failure.
func (mc *machine) end() {
	if mc.gate != nil {
		close(mc.gate)
	}
	for _, x := range mc.exchanges {
		close(x.reply)
		x.cancel(nil)
		_ = x.upload.Close()
		if x.download != nil {
			_ = x.download.Close()
		}
	}
}

func (mc *machine) now() time.Duration { return time.Since(mc.epoch) }

func (mc *machine) probes(req *http.Request) bool {
	return !mc.filtered || req.Method != http.MethodPost
}

// sorted returns the hosts in a fixed order.
func (mc *machine) sorted() (hosts []*host) {
	for _, key := range mc.keys {
		if h := mc.model.hosts[key]; h != nil {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

func (mc *machine) totals(t *rapid.T, key string) breakerhttp.Totals {
	s, ok := mc.tr.Snapshot(key)
	if !ok {
		t.Fatalf("there is no circuit of %s", key)
	}
	return s.Totals
}
