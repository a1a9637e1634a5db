// Package contract plays a model of the whole Transport against the real one, through the exported
// API alone. The model follows the documentation, and is as simple as it can be: where the two
// differ, one of them is wrong.
//
//   - The model is in model_test.go, and for Adaptive policies in adaptive_test.go.
//   - A machine (machine_test.go) does the same to the Transport and to the model. What it can do is
//     in requests_test.go, bodies_test.go and people_test.go, and what it compares afterwards in
//     compare_test.go. All that is left to chance is drawn in draw_test.go.
//   - The host of a request does what script_test.go says, and says what the verdict must be. The
//     functions that users write are in user_test.go.
package contract

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/breakerhttp/breakerhttp"
)

// checks is the number of sequences in an ordinary run.
const checks = "200"

// TestContract does whatever can be done to a few hosts, and compares what the
// Transport says and does with the model: a number of sequences, the same in
// each run; or, for as long as BREAKERHTTP_MODEL says, others in each run.
func TestContract(t *testing.T) {
	for name, value := range map[string]string{"rapid.checks": checks, "rapid.steps": "60", "rapid.seed": "1"} {
		f := flag.Lookup(name)
		old := f.Value.String()
		if old != f.DefValue {
			continue // given on the command line
		}
		_ = f.Value.Set(value)
		t.Cleanup(func() { _ = f.Value.Set(old) })
	}
	sequences := 0
	run := func() {
		rapid.Check(t, func(t *rapid.T) {
			sequences++
			rapid.SyncTest(t, againstModel)
		})
	}
	long := os.Getenv("BREAKERHTTP_MODEL")
	if long == "" {
		run()
		return
	}
	d, err := time.ParseDuration(long)
	if err != nil {
		t.Fatal(err)
	}
	first := time.Now().UnixNano()
	for end := time.Now().Add(d); time.Now().Before(end); first += 1 << 32 { // beyond the seeds of one run
		_ = flag.Set("rapid.seed", fmt.Sprint(first))
		run()
	}
	t.Logf("%d sequences", sequences)
}

func againstModel(t *rapid.T) {
	mc := newMachine(t)
	defer mc.end()
	actions := map[string]func(*rapid.T){
		"":             mc.check,
		"begin":        func(t *rapid.T) { mc.begin(t) },
		"close":        mc.close,
		"crowd":        mc.crowd,
		"answer crowd": mc.crowdAnswered,
		"cancel":       mc.cancel,
		"finish":       mc.finish,
		"finish again": mc.finish,
		"hang":         mc.hang,
		"look":         mc.look,
		"lose":         mc.lose,
		"mood":         func(t *rapid.T) { mc.mood = rapid.IntRange(0, 2).Draw(t, "mood") },
		"pass":         mc.pass,
		"pass again":   mc.pass,
		"read":         mc.read,
		"read at once": mc.readAtOnce,
		"ready":        mc.waitReady,
		"send":         mc.send,
		"send again":   mc.send,
		"send more":    mc.send,
		"slow hook":    mc.slowHook,
		"upload":       mc.upload,
	}
	if rapid.IntRange(0, 2).Draw(t, "meddle") == 2 {
		actions["force"] = mc.force
		actions["reset"] = mc.reset
	}
	if rapid.IntRange(0, 2).Draw(t, "break") == 2 {
		actions["arm"] = mc.arm
	}
	if rapid.IntRange(0, 3).Draw(t, "change policies") == 3 {
		actions["policies"] = mc.setPolicies
	}
	t.Repeat(actions)
	mc.look(t)
}

// jitter is that of the policies that have one.
const jitter = 0.5

var policies = []breakerhttp.Policy{
	{},
	{ConsecutiveFailures: 2, OpenFor: 5 * time.Second, OpenGrowth: 2, MaxOpenFor: 30 * time.Second},
	{ConsecutiveFailures: 2, OpenFor: 5 * time.Second, Probes: 2, ProbeSuccesses: 2, ProbeTimeout: 3 * time.Second},
	{ConsecutiveFailures: -1, FailureRatio: 0.5, MinRequests: 3, OpenFor: 5 * time.Second, Window: 4 * time.Second},
	{ConsecutiveFailures: -1, SlowRatio: 0.5, SlowAfter: time.Second, MinRequests: 2, OpenFor: time.Second},
	{ConsecutiveFailures: 2, OpenFor: 5 * time.Second, OpenGrowth: 2, MaxOpenFor: 10 * time.Second, Jitter: jitter},
	{ConsecutiveFailures: -1, TripWhen: func(n breakerhttp.Counts) bool { return 2*n.Failures > n.Requests }, OpenFor: 5 * time.Second},
	{
		TripWhen:  func(n breakerhttp.Counts) bool { return n.Slow >= 2 },
		SlowAfter: time.Second, OpenFor: 5 * time.Second,
	},
	{ConsecutiveFailures: 2, OpenFor: 5 * time.Second, MaxInFlight: 3},
	{Adaptive: true},
	{Adaptive: true, ConsecutiveFailures: 2},
	{Adaptive: true, ConsecutiveFailures: 2, Silence: 100 * time.Millisecond, MaxOpenFor: 10 * time.Second},
	{Adaptive: true, Silence: -1, MaxInFlight: 20, FailureRatio: 0.5, SlowRatio: 0.5, SlowAfter: time.Second, MinRequests: 3},
	{ConsecutiveFailures: 2, OpenFor: 5 * time.Second, Ramp: 10 * time.Second, Window: time.Second},
	{
		ConsecutiveFailures: 3, FailureRatio: 0.6, SlowRatio: 0.6, SlowAfter: 1500 * time.Millisecond, MinRequests: 3,
		OpenFor: 2 * time.Second, OpenGrowth: 1.5, MaxOpenFor: 4 * time.Second, Probes: 3, ProbeSuccesses: 2, ProbeTimeout: time.Second, Ramp: 3 * time.Second,
	},
}

// complete fills in the defaults, as documented.
func complete(p breakerhttp.Policy) breakerhttp.Policy {
	orElse := func(field *time.Duration, d time.Duration) {
		if *field == 0 {
			*field = d
		}
	}
	if p.ConsecutiveFailures == 0 {
		p.ConsecutiveFailures = 5
	}
	if p.MinRequests == 0 {
		p.MinRequests = 20
	}
	orElse(&p.Window, 10*time.Second)
	if p.Adaptive {
		orElse(&p.MaxOpenFor, time.Minute)
		return p
	}
	if p.OpenGrowth == 0 {
		p.OpenGrowth = 1
	}
	p.Probes, p.ProbeSuccesses = max(1, p.Probes), max(1, p.ProbeSuccesses)
	orElse(&p.OpenFor, time.Minute)
	orElse(&p.MaxOpenFor, 5*time.Minute)
	orElse(&p.ProbeTimeout, 30*time.Second)
	return p
}
