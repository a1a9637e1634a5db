package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
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
	mc.model.jittered = mc.jittered
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
	time.Sleep(time.Second) // nothing happens at the very origin of the Transport's times
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

// What the user of the Transport has written.

// userCode can be told to break off, by a panic or by runtime.Goexit, when it is called next.
type userCode struct {
	next  string // what breaks off
	exits bool   // by runtime.Goexit
	live  bool   // it can break off in what is being done
	broke string // what has broken off in what was done
}

const userPanic = "the user's code panics"

func (u *userCode) called(what string) {
	if !u.live || u.next != what {
		return
	}
	u.next, u.broke = "", what
	if u.exits {
		runtime.Goexit()
	}
	panic(userPanic)
}

// during does something in which the user's code can break off. The goroutine that f starts tells
// how it ended.
func (u *userCode) during(f func()) {
	u.live, u.broke = true, ""
	f()
	synctest.Wait()
	u.live = false
}

// brokenOff reports whether a goroutine of the caller's ended as the user's code made it.
func (u *userCode) brokenOff(panicked any) bool {
	return u.broke != "" && (u.exits && panicked == nil || !u.exits && panicked == userPanic)
}

// do calls f in a goroutine of its own, which the user's code can break off.
func (mc *machine) do(t *rapid.T, f func()) {
	var returned bool
	var panicked any
	mc.user.during(func() {
		go func() {
			defer func() { panicked = recover() }()
			f()
			returned = true
		}()
	})
	if returned != (mc.user.broke == "") || !returned && !mc.user.brokenOff(panicked) {
		t.Fatalf("has returned: %t, panic %v; %q was broken off", returned, panicked, mc.user.broke)
	}
}

// arm lets some of the user's code break off when it is called next.
func (mc *machine) arm(t *rapid.T) {
	mc.user.next = rapid.SampledFrom([]string{
		"hook", "hook", "hook", "TripWhen", "TripWhen", "fallback", "probe filter", "key func", "classifier",
	}).Draw(t, "what")
	mc.user.exits = rapid.Bool().Draw(t, "exits")
}

func (mc *machine) tripWhen(f func(breakerhttp.Counts) bool) func(breakerhttp.Counts) bool {
	if f == nil {
		return nil
	}
	return func(n breakerhttp.Counts) bool {
		mc.user.called("TripWhen")
		return f(n)
	}
}

func (mc *machine) hook(_ context.Context, e breakerhttp.Transition) {
	mc.hearing.Lock()
	mc.heard[e.Key] = append(mc.heard[e.Key], e)
	mc.hearing.Unlock()
	if mc.gate != nil {
		<-mc.gate
	}
	mc.user.called("hook")
}

func (mc *machine) probeFilter(req *http.Request) bool {
	mc.user.called("probe filter")
	return mc.probes(req)
}

const fallbackStatus = 599

func (mc *machine) answer(req *http.Request, refusal *breakerhttp.OpenError) (*http.Response, error) {
	mc.user.called("fallback")
	req.Context().Value(exchangeKey{}).(*exchange).refused = refusal
	return &http.Response{StatusCode: fallbackStatus, Body: http.NoBody}, nil
}

func (mc *machine) key(req *http.Request) string {
	mc.user.called("key func")
	return breakerhttp.HostKey(req)
}

func (mc *machine) classify(a breakerhttp.Attempt) breakerhttp.Outcome {
	mc.user.called("classifier")
	if x := a.Request.Context().Value(exchangeKey{}).(*exchange); a.Ended && x.opinion != byDefault {
		return x.opinion
	}
	return limited(a)
}

var limited = breakerhttp.LimitedStatus(429)

// What a machine can do.

// begin sends a request, which base does not answer yet.
func (mc *machine) begin(t *rapid.T) *exchange { return mc.beginWith(t, mc.newExchange(t)) }

func (mc *machine) beginWith(t *rapid.T, x *exchange) *exchange {
	key := strings.TrimSuffix(x.req.URL.String(), "/")
	now := mc.now()
	h := mc.model.hosts[key]
	newcomer := h == nil
	mc.user.during(func() { go x.run(mc.tr) })
	if mc.user.broke == "key func" {
		mc.wantBrokenOff(t, x)
		return x
	}
	if newcomer {
		h = mc.makeRoom(t, key, now)
	}
	if h == nil {
		mc.wantSent(t, x, "unguarded")
		return x
	}
	if mc.user.broke == "probe filter" {
		mc.wantBrokenOff(t, x)
		mc.tr.Snapshot(key) // it was asked before anything was noticed
		mc.model.notice(h, now)
		return x
	}
	mc.model.notice(h, now)
	mc.model.askTripWhen(h)
	if mc.user.broke == "TripWhen" {
		mc.wantBrokenOff(t, x)
		return x
	}
	left := never
	if x.deadline != never {
		left = x.deadline - now
	}
	refusal, byChance := mc.model.admissible(h, now, mc.probes(x.req), left)
	if byChance && mc.totals(t, key).Refused == h.totals.Refused {
		refusal = nil
	}
	if refusal == nil || refusal.State != breakerhttp.StateOpen {
		h.used = now
	}
	if refusal == nil {
		x.call = mc.model.admit(h, now)
		mc.wantTransitions(t)
		if mc.user.broke != "" {
			mc.model.finish(x.call, now, ignored)
			mc.wantBrokenOff(t, x)
			return x
		}
		mc.unlessGated(x.sent == 0 && !x.over, func() { mc.wantSent(t, x, "admitted") })
		return x
	}
	h.totals.Refused++
	mc.wantTransitions(t)
	if mc.user.broke != "" {
		mc.wantBrokenOff(t, x)
		return x
	}
	if mc.dryRun {
		mc.unlessGated(x.sent == 0 && !x.over, func() { mc.wantSent(t, x, "refused in a dry run") })
		return x
	}
	mc.unlessGated(!x.over, func() { mc.wantRefused(t, h, x, now, refusal) })
	return x
}

// send sends a request, which base answers at once.
func (mc *machine) send(t *rapid.T) {
	mc.answerAtOnce(t, func() *exchange { return mc.begin(t) }, mc.drawReply)
}

func (mc *machine) answerAtOnce(t *rapid.T, begin func() *exchange, r func(*rapid.T) reply) {
	n := len(mc.pending)
	if x := begin(); len(mc.pending) > n {
		mc.pending = mc.pending[:n]
		mc.reply(t, x, r(t))
	}
}

// crowd sends many requests to one host.
func (mc *machine) crowd(t *rapid.T) { mc.crowdAt(t, rapid.SampledFrom(mc.keys).Draw(t, "key"), 1) }

func (mc *machine) crowdAt(t *rapid.T, key string, least int) {
	for range rapid.IntRange(least, 25).Draw(t, "requests") {
		mc.beginWith(t, mc.plainExchange(t, key))
	}
}

// lose breaks the connections to all hosts.
func (mc *machine) lose(t *rapid.T) {
	r := badReplies[slices.IndexFunc(badReplies, func(r reply) bool { return r.name == "reset" })]
	for _, key := range mc.keys {
		for range rapid.IntRange(1, 5).Draw(t, "requests") {
			mc.answerAtOnce(t, func() *exchange { return mc.beginWith(t, mc.plainExchange(t, key)) }, func(*rapid.T) reply { return r })
		}
	}
}

// hang lets a host answer at first, and then no more.
func (mc *machine) hang(t *rapid.T) {
	key := rapid.SampledFrom(mc.keys).Draw(t, "key")
	for range rapid.IntRange(14, 20).Draw(t, "answers") {
		mc.answerAtOnce(t,
			func() *exchange { return mc.beginWith(t, mc.plainExchange(t, key)) },
			func(*rapid.T) reply { return goodReplies[0] })
	}
	mc.crowdAt(t, key, 15)
	time.Sleep(rapid.SampledFrom([]time.Duration{100, 150, 500, 1000}).Draw(t, "silence") * time.Millisecond)
	mc.crowdAt(t, key, 1)
}

// crowdAnswered answers many of the pending requests alike.
func (mc *machine) crowdAnswered(t *rapid.T) {
	r := mc.drawReply(t)
	for range min(len(mc.pending), rapid.IntRange(1, 25).Draw(t, "requests")) {
		x := mc.pending[0]
		mc.pending = mc.pending[1:]
		mc.reply(t, x, r)
	}
}

// finish answers one of the pending requests.
func (mc *machine) finish(t *rapid.T) {
	i := drawIndex(t, mc.pending)
	x := mc.pending[i]
	mc.pending = slices.Delete(mc.pending, i, i+1)
	mc.reply(t, x, mc.drawReply(t))
}

func (mc *machine) reply(t *rapid.T, x *exchange, r reply) {
	now := mc.now()
	if r.name == ownBody && x.upload.got.err == nil {
		if !x.upload.reading {
			x.upload.begin(x.asSent.Body, now)
		}
		x.upload.next <- chunk{0, errOwn}
		synctest.Wait()
	}
	x.starved = x.upload.reading && x.upload.passed(x.deadline, now)
	mc.user.during(func() { x.reply <- r })
	if mc.user.broke != "" {
		mc.brokenOff(t, x, r)
		return
	}
	if x.call != nil {
		x.judged = mc.model.finish(x.call, now, x.verdictOn(r, mc.opinionated, now))
	}
	mc.unlessGated(!x.over, func() { mc.wantReply(t, x, r) })
}

func (mc *machine) wantReply(t *rapid.T, x *exchange, r reply) {
	if !x.over || x.sent != 1 || !x.upload.closed {
		t.Fatalf("after %q the request is over: %t, sent %d times, its body closed: %t", r.name, x.over, x.sent, x.upload.closed)
	}
	if x.gotResp != x.gaveResp || x.gotErr != x.gaveErr || (x.panicked != nil) != (r.name == "panic") { //nolint:errorlint // the very same is wanted
		t.Fatalf("after %q got %v, %v, panic %v; base returned %v, %v", r.name, x.gotResp, x.gotErr, x.panicked, x.gaveResp, x.gaveErr)
	}
	if x.gotResp != nil && x.gotResp.Request != x.req {
		t.Fatalf("after %q the response is to another request", r.name)
	}
	if x.download != nil {
		mc.bodies = append(mc.bodies, x)
	}
}

// brokenOff is the end of a request where the user's code has broken off.
func (mc *machine) brokenOff(t *rapid.T, x *exchange, r reply) {
	if !x.over || x.sent != 1 || !x.upload.closed || x.download != nil && !x.download.closed {
		t.Fatalf("after %q, the %s has broken off: the request is over: %t, sent %d times, its body closed: %t, the response %+v",
			r.name, mc.user.broke, x.over, x.sent, x.upload.closed, x.gaveResp)
	}
	if x.gotResp != nil || x.gotErr != nil || r.name != "panic" && !mc.user.brokenOff(x.panicked) {
		t.Fatalf("after %q, the %s has broken off: got %v, %v, panic %v", r.name, mc.user.broke, x.gotResp, x.gotErr, x.panicked)
	}
	v := x.verdictOn(r, mc.opinionated, mc.now())
	if mc.user.broke == "classifier" {
		v = ignored
	}
	if x.call != nil {
		mc.model.finish(x.call, mc.now(), v)
	}
}

// slowHook does a few things at one time, while the hook does not return: the requests that called
// it wait.
func (mc *machine) slowHook(t *rapid.T) {
	mc.look(t) // so that no other look calls the hook
	mc.heardBefore = map[string]int{}
	for key, events := range mc.heard {
		mc.heardBefore[key] = len(events)
	}
	mc.user.next, mc.gate = "", make(chan struct{})
	for range rapid.IntRange(1, 6).Draw(t, "requests") {
		switch {
		case rapid.Bool().Draw(t, "send"):
			mc.send(t)
		case len(mc.pending) > 0:
			mc.finish(t)
		}
	}
	close(mc.gate)
	synctest.Wait()
	mc.gate = nil
	for _, compare := range mc.afterGate {
		compare()
	}
	mc.afterGate = nil
	mc.wantTransitions(t)
}

// unlessGated compares at once, or once the hook that a request waits for has returned.
func (mc *machine) unlessGated(waits bool, compare func()) {
	if mc.gate != nil && waits {
		mc.afterGate = append(mc.afterGate, compare)
		return
	}
	compare()
}

// upload lets base begin to read a request's body, or gives it some of it.
func (mc *machine) upload(t *rapid.T) {
	x := mc.pending[drawIndex(t, mc.pending)]
	if mc.now() == x.deadline {
		t.Skip("whether the deadline has passed just then is another question")
	}
	body := x.upload
	if body.got.err != nil {
		t.Skip("base has read all of it")
	}
	if !body.reading {
		body.begin(x.asSent.Body, mc.now())
		synctest.Wait()
		return
	}
	if body.passed(x.deadline, mc.now()) {
		t.Skip("base has given the request up")
	}
	body.next <- rapid.SampledFrom([]chunk{{1, nil}, {1, nil}, {0, io.EOF}, {1, io.EOF}, {0, errOwn}}).Draw(t, "chunk")
	synctest.Wait()
}

// read lets the caller begin to read a response's body, or ends a Read that waits.
func (mc *machine) read(t *rapid.T) {
	x := mc.bodies[drawIndex(t, mc.bodies)]
	if mc.now() == x.deadline {
		t.Skip("whether the deadline has passed just then is another question")
	}
	if !x.download.reading {
		x.download.begin(x.gotResp.Body, mc.now())
		synctest.Wait()
		return
	}
	mc.endRead(t, x)
}

// readAtOnce lets the caller read what the host sends at once.
func (mc *machine) readAtOnce(t *rapid.T) {
	x := mc.bodies[drawIndex(t, mc.bodies)]
	if x.download.reading {
		t.Skip("another Read waits")
	}
	x.download.begin(x.gotResp.Body, mc.now())
	synctest.Wait()
	mc.endRead(t, x)
}

func (mc *machine) endRead(t *rapid.T, x *exchange) {
	body := x.download
	chunks := []chunk{{0, io.ErrUnexpectedEOF}, {0, errReset}}
	if !body.passed(x.deadline, mc.now()) {
		if body.length < 0 || body.read < body.length {
			chunks = append(chunks, chunk{1, nil})
		}
		if body.length < 0 || body.read == body.length {
			chunks = append(chunks, chunk{0, io.EOF})
		}
		if body.length < 0 || body.read == body.length-1 {
			chunks = append(chunks, chunk{1, io.EOF})
		}
	}
	c := rapid.SampledFrom(chunks).Draw(t, "chunk")
	mc.user.during(func() { body.next <- c })
	if mc.user.broke != "" {
		if !mc.user.brokenOff(body.panicked) {
			t.Fatalf("Read: the %s has broken off: got %v, panic %v", mc.user.broke, body.got, body.panicked)
		}
	} else if body.got != c || body.panicked != nil {
		t.Fatalf("Read returned %v, panic %v, want %v", body.got, body.panicked, c)
	}
	if c.err != nil {
		mc.endBody(x, x.verdictOnBody(c.err, mc.opinionated, mc.now()))
	}
}

// close lets the caller close a response's body, also while a Read waits.
func (mc *machine) close(t *rapid.T) {
	x := mc.bodies[drawIndex(t, mc.bodies)]
	mc.do(t, func() { _ = x.gotResp.Body.Close() })
	if !x.download.closed {
		t.Fatal("Close does not reach the body")
	}
	mc.endBody(x, success)
}

// endBody tells the model how a body has ended; and reads on, which must not matter.
func (mc *machine) endBody(x *exchange, v verdict) {
	mc.bodies = slices.DeleteFunc(mc.bodies, func(y *exchange) bool { return y == x })
	_ = x.download.Close()
	_, _ = x.gotResp.Body.Read(make([]byte, 1))
	switch {
	case !x.judged || mc.user.broke == "classifier":
	case v.outcome == breakerhttp.Success:
		mc.model.bodyEnded(x.call)
	case v.outcome == breakerhttp.Failure:
		mc.model.bodyFailed(x.call, mc.now(), v)
	}
}

func (mc *machine) cancel(t *rapid.T) {
	x := mc.exchanges[drawIndex(t, mc.exchanges)]
	if mc.now() == x.deadline {
		t.Skip("which of the two comes first is another question")
	}
	x.cancelled = x.cancelled || mc.now() < x.deadline
	x.cancel(rapid.SampledFrom([]error{nil, errors.New("a reason"), context.DeadlineExceeded}).Draw(t, "cause"))
}

// setPolicies changes policies, each to one that is as Adaptive as it was.
func (mc *machine) setPolicies(t *rapid.T) {
	for i, old := range mc.policies {
		alike := slices.DeleteFunc(slices.Clone(policies), func(p breakerhttp.Policy) bool { return p.Adaptive != old.Adaptive })
		mc.policies[i] = rapid.SampledFrom(append(alike, old)).Draw(t, "policy")
	}
	all, first := mc.policies[0], mc.policies[1]
	all.TripWhen, first.TripWhen = mc.tripWhen(all.TripWhen), mc.tripWhen(first.TripWhen)
	mc.do(t, func() {
		if err := mc.tr.SetPolicies(all, map[string]breakerhttp.Policy{mc.keys[0]: first}); err != nil {
			panic(err)
		}
	})
	for _, h := range mc.sorted() {
		mc.model.setPolicy(h, mc.now(), mc.model.policyOf(h.key))
	}
}

func (mc *machine) force(t *rapid.T) {
	key := rapid.SampledFrom(mc.keys).Draw(t, "key")
	if rapid.Bool().Draw(t, "open") {
		mc.do(t, func() { mc.tr.ForceOpen(key) })
		mc.model.force(key, mc.now(), breakerhttp.StateOpen)
	} else {
		mc.do(t, func() { mc.tr.ForceClosed(key) })
		mc.model.force(key, mc.now(), breakerhttp.StateClosed)
	}
}

func (mc *machine) reset(t *rapid.T) {
	key := rapid.SampledFrom(mc.keys).Draw(t, "key")
	mc.do(t, func() { mc.tr.Reset(key) })
	if h := mc.model.hosts[key]; h != nil {
		wasForced := h.forced
		mc.model.reset(h, mc.now())
		if wasForced {
			mc.backToTheBound(t, h)
		}
	}
}

// backToTheBound learns which circuits have gone now that one counts that was forced.
func (mc *machine) backToTheBound(t *rapid.T, reset *host) {
	m, tooMany, couldGo := &mc.model, mc.model.unforced()-mc.model.bound, 0
	for key, h := range m.hosts {
		may, must := h.mayGo(mc.now())
		if h == reset || !may {
			continue
		}
		if _, ok := mc.tr.Snapshot(key); ok {
			m.notice(h, mc.now())
			if must {
				couldGo++
			}
			continue
		}
		h.gone = true
		delete(m.hosts, key)
		tooMany--
	}
	if tooMany > 0 && couldGo > 0 {
		t.Fatalf("after a reset there are %d circuits too many, and %d could go", tooMany, couldGo)
	}
}

func (mc *machine) waitReady(t *rapid.T) {
	now := mc.now()
	req := mc.drawRequest(t)
	h := mc.model.hosts[strings.TrimSuffix(req.URL.String(), "/")]
	deadline := drawMoment(t, mc.moments())
	switch {
	case deadline <= now:
		t.Skip("either answer will do")
	case h != nil && h.adaptive != nil && !h.forced && !h.limited:
		t.Skip("what an Adaptive circuit waits for is by chance")
	}
	ctx, cancel := context.WithDeadline(context.Background(), mc.epoch.Add(deadline))
	defer cancel()
	err := mc.tr.WaitReady(req.WithContext(ctx))
	var want error
	at, tie := now, false
	if h != nil && !mc.dryRun {
		at, tie, want = mc.model.waitReady(h, now, deadline, mc.probes(req))
		mc.tr.Snapshot(h.key) // it may have ended just when there was something to notice
		mc.model.notice(h, mc.now())
		mc.wantTransitions(t)
	}
	if refusal := new(breakerhttp.OpenError); errors.As(want, &refusal) {
		refusal.Reason = h.detail
	}
	if diff := cmp.Diff(want, err, sameError); diff != "" && !tie || mc.now() != at {
		t.Fatalf("WaitReady from %v returned at %v, want at %v (-want +got):\n%s", now, mc.now(), at, diff)
	}
}

// pass lets time pass: up to a moment at which something happens, or next to it.
func (mc *machine) pass(t *rapid.T) { time.Sleep(drawMoment(t, mc.moments()) - mc.now()) }

// What a machine draws.

func (mc *machine) drawRequest(t *rapid.T) *http.Request {
	method := rapid.SampledFrom([]string{http.MethodGet, http.MethodGet, http.MethodPost, http.MethodHead}).Draw(t, "method")
	req, err := http.NewRequestWithContext(context.Background(), method, rapid.SampledFrom(mc.keys).Draw(t, "key")+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func (mc *machine) newExchange(t *rapid.T) *exchange {
	x := &exchange{reply: make(chan reply), deadline: never}
	ctx := context.WithValue(context.Background(), exchangeKey{}, x)
	switch rapid.IntRange(0, 9).Draw(t, "context") {
	case 8, 9:
		x.deadline = drawMoment(t, mc.moments())
		cancellable, cancel := context.WithCancelCause(ctx)
		deadlined, stop := context.WithDeadline(cancellable, mc.epoch.Add(x.deadline))
		ctx, x.cancel = deadlined, func(cause error) { cancel(cause); stop() }
	case 7:
		ctx, x.cancel = context.WithCancelCause(ctx)
		x.cancel(nil)
		x.cancelled = true
	default:
		ctx, x.cancel = context.WithCancelCause(ctx)
	}
	x.expired = ctx.Err() != nil
	x.req = mc.drawRequest(t).WithContext(ctx)
	x.req.ContentLength = rapid.SampledFrom([]int64{-1, 2}).Draw(t, "length")
	x.upload = newStream(x.req.ContentLength)
	x.opinion = rapid.SampledFrom([]breakerhttp.Outcome{
		byDefault, byDefault, breakerhttp.Ignored, breakerhttp.Success, breakerhttp.Failure, breakerhttp.Limited, 77,
	}).Draw(t, "opinion")
	x.req.Body = x.upload
	mc.exchanges = append(mc.exchanges, x)
	return x
}

// plainExchange draws nothing.
func (mc *machine) plainExchange(t *rapid.T, key string) *exchange {
	x := &exchange{reply: make(chan reply), deadline: never, opinion: byDefault, upload: newStream(-1)}
	ctx, cancel := context.WithCancelCause(context.WithValue(context.Background(), exchangeKey{}, x))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, key+"/", x.upload)
	if err != nil {
		t.Fatal(err)
	}
	x.req, x.cancel = req, cancel
	mc.exchanges = append(mc.exchanges, x)
	return x
}

func drawIndex[T any](t *rapid.T, from []T) int {
	if len(from) == 0 {
		t.Skip("there is none")
	}
	return rapid.IntRange(0, len(from)-1).Draw(t, "which")
}

func (mc *machine) drawReply(t *rapid.T) reply {
	kinds := [][][]reply{
		{goodReplies, badReplies, badReplies, neutralReplies},
		{goodReplies, goodReplies, goodReplies, goodReplies, neutralReplies},
		{badReplies, badReplies, badReplies, badReplies, badReplies, neutralReplies},
	}[mc.mood]
	return rapid.SampledFrom(rapid.SampledFrom(kinds).Draw(t, "kind")).Draw(t, "reply")
}

func drawMoment(t *rapid.T, moments []time.Duration) time.Duration {
	slices.Sort(moments)
	return rapid.SampledFrom(moments).Draw(t, "moment") + time.Duration(rapid.IntRange(-1, 1).Draw(t, "next to"))
}

// moments are those at which something happens.
func (mc *machine) moments() (moments []time.Duration) {
	now := mc.now()
	for _, h := range mc.sorted() {
		p, bucket := h.policy, h.policy.Window/10
		moments = append(moments, h.now().until, h.now().until, now+p.Window, now+bucket, (now/bucket+1)*bucket, now+p.OpenFor, now+p.Ramp/3, now+p.MaxOpenFor)
		for _, c := range h.calls {
			if c.waits() {
				moments = append(moments, c.at+p.SlowAfter, c.at+p.ProbeTimeout)
			}
		}
		if a := h.adaptive; a != nil {
			moments = append(moments, a.due.to, a.since+150*time.Millisecond, a.mark.at+150*time.Millisecond, a.mark.at+time.Second, a.held+10*time.Second)
		}
	}
	moments = slices.DeleteFunc(moments, func(at time.Duration) bool { return at < now })
	return append(moments, now, now+time.Millisecond, now+time.Second)
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

// What a machine compares.

// check follows each action.
func (mc *machine) check(t *rapid.T) {
	mc.wantTransitions(t)
	if mc.watchful {
		mc.look(t)
	}
}

// look compares every circuit.
func (mc *machine) look(t *rapid.T) {
	for _, key := range mc.keys {
		got, ok := mc.tr.Snapshot(key)
		h := mc.model.hosts[key]
		if ok != (h != nil) {
			t.Fatalf("at %v there is a circuit of %s: %t, want %t", mc.now(), key, ok, h != nil)
		}
		if !ok {
			continue
		}
		mc.model.notice(h, mc.now())
		mc.wantTransitions(t)
		got.Policy.TripWhen = nil
		h.learn(got, mc.now(), mc.epoch)
		want := mc.model.snapshot(h, mc.epoch, mc.now())
		want.DryRun = mc.dryRun
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("snapshot at %v (-want +got):\n%s%+v", mc.now(), diff, h.adaptive)
		}
	}
}

func (mc *machine) totals(t *rapid.T, key string) breakerhttp.Totals {
	s, ok := mc.tr.Snapshot(key)
	if !ok {
		t.Fatalf("there is no circuit of %s", key)
	}
	return s.Totals
}

func (mc *machine) wantSent(t *rapid.T, x *exchange, what string) {
	if x.sent != 1 || x.over {
		t.Fatalf("at %v a request that is %s was sent %d times, and is over: %t (%v)", mc.now(), what, x.sent, x.over, x.gotErr)
	}
	mc.pending = append(mc.pending, x)
}

// wantBrokenOff wants a request that was not sent because the user's code has broken off.
func (mc *machine) wantBrokenOff(t *rapid.T, x *exchange) {
	if !x.over || x.sent != 0 || !x.upload.closed || x.gotResp != nil || x.gotErr != nil || !mc.user.brokenOff(x.panicked) {
		t.Fatalf("at %v the %s has broken off; the request is over: %t, sent %d times, its body closed: %t; got %v, %v, panic %v",
			mc.now(), mc.user.broke, x.over, x.sent, x.upload.closed, x.gotResp, x.gotErr, x.panicked)
	}
}

func (mc *machine) wantRefused(t *rapid.T, h *host, x *exchange, at time.Duration, want *breakerhttp.OpenError) {
	if !x.over || x.sent != 0 || !x.upload.closed {
		t.Fatalf("at %v want %v; is over: %t, sent %d times, body closed: %t", mc.now(), want, x.over, x.sent, x.upload.closed)
	}
	got := x.refused
	if mc.fallback {
		if x.gotErr != nil || x.gotResp == nil || x.gotResp.StatusCode != fallbackStatus {
			t.Fatalf("got %v, %v, want the fallback's answer", x.gotResp, x.gotErr)
		}
	} else if !errors.As(x.gotErr, &got) || x.gotResp != nil {
		t.Fatalf("at %v got %v, %v, want %v", mc.now(), x.gotResp, x.gotErr, want)
	}
	if want.Reason == "" {
		if h.detailUnknown {
			h.detail, h.detailUnknown = got.Reason, got.Reason == ""
		}
		want.Reason = h.detail
	}
	if h.adaptive != nil && want.State == breakerhttp.StateOpen && !h.forced && got.State == breakerhttp.StateHalfOpen && !mc.probes(x.req) {
		want.State = breakerhttp.StateHalfOpen // it was due, but not for this request
	} else if h.adaptive != nil && want.State == breakerhttp.StateOpen && !h.forced {
		h.learnDue(at + got.RetryAfter)
		want.RetryAfter = h.adaptive.due.from - at
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("refusal at %v (-want +got):\n%s", mc.now(), diff)
	}
}

// makeRoom finds out which circuits had to go for a new host, checks that they could, and returns
// the host if it is guarded.
func (mc *machine) makeRoom(t *rapid.T, key string, now time.Duration) (h *host) {
	m := &mc.model
	tooMany := m.unforced() + 1 - m.bound
	stay, stayFirst, goneLast := 0, 0, 0 // of those that could have gone
	for _, old := range mc.sorted() {
		may, must := old.mayGo(now)
		if !may || mc.unheard(old.key) {
			continue
		}
		if _, ok := mc.tr.Snapshot(old.key); ok {
			m.notice(old, now)
			if !must {
				continue
			}
			stay++
			if !old.goesLast() {
				stayFirst++
			}
			continue
		}
		if old.goesLast() {
			goneLast++
		}
		old.gone = true
		delete(m.hosts, old.key)
		tooMany--
		if tooMany < 0 {
			t.Fatalf("at %v %s had to go though there was room for %s", now, old.key, key)
		}
	}
	_, ok := mc.tr.Snapshot(key)
	if stayFirst > 0 && goneLast > 0 {
		t.Fatalf("at %v %d circuits with a run of failures had to go, though %d without one could", now, goneLast, stayFirst)
	}
	for i := 0; ok && tooMany > 0 && i < len(mc.sorted()); i++ {
		old := mc.sorted()[i]
		if _, kept := mc.tr.Snapshot(old.key); !kept {
			t.Fatalf("at %v %s had to go for %s, but must stay: %+v, used at %v, %+v", now, old.key, key, *old.now(), old.used, old.failures)
		}
	}
	if want := tooMany <= 0; ok != want || !ok && stay > 0 {
		t.Fatalf("at %v %s is guarded: %t; %d beyond the bound, %d could go", now, key, ok, tooMany, stay)
	}
	if ok {
		h = m.add(key, now)
	}
	return h
}

// unheard reports whether the hook has transitions of a circuit still to come.
func (mc *machine) unheard(key string) bool {
	if mc.gate == nil {
		return false
	}
	events := 0
	for _, e := range mc.model.events {
		if e.Key == key {
			events++
		}
	}
	return events > mc.heardBefore[key]
}

// wantTransitions compares those that the Transport keeps, and those that the hook was given. It
// also learns how the Transport words them.
func (mc *machine) wantTransitions(t *rapid.T) {
	got := mc.tr.Transitions()
	latest := mc.model.events[max(0, len(mc.model.events)-256):]
	want := make([]breakerhttp.Transition, len(latest))
	heard := map[string][]breakerhttp.Transition{}
	for i, e := range latest {
		want[i] = e.Transition
		want[i].At = mc.epoch.Add(e.at)
		want[i].DryRun = mc.dryRun
		if i < len(got) && got[i].Detail != "" {
			want[i].Detail = got[i].Detail
			if e.To == breakerhttp.StateOpen && !latest[i].worded {
				e.host.detail, e.host.detailUnknown, latest[i].worded = got[i].Detail, false, true
			}
			if e.openFor.to > 0 && e.openFor.contains(got[i].OpenFor) {
				want[i].OpenFor = got[i].OpenFor
			}
		}
		heard[e.Key] = append(heard[e.Key], want[i])
	}
	if !slices.EqualFunc(want, got, sameTransition) {
		t.Fatalf("transitions by %v (-want +got; each must have a detail):\n%s", mc.now(), cmp.Diff(want, got))
	}
	if mc.gate != nil {
		return
	}
	for key, want := range heard {
		got := mc.heard[key]
		if !slices.EqualFunc(want, got[max(0, len(got)-len(want)):], sameTransition) {
			t.Fatalf("what the hook was given of %s by %v (-want +got):\n%s", key, mc.now(), cmp.Diff(want, got))
		}
	}
}

// jittered learns from the Transport how long a circuit is open, which chance makes longer than d.
func (mc *machine) jittered(event int, d time.Duration) time.Duration {
	for _, e := range mc.tr.Transitions() {
		if e.Seq == uint64(event+1) && d <= e.OpenFor && e.OpenFor <= d+time.Duration(jitter*float64(d)) {
			return e.OpenFor
		}
	}
	return d
}

func sameTransition(a, b breakerhttp.Transition) bool {
	same := a.At.Equal(b.At)
	a.At, b.At = time.Time{}, time.Time{}
	return same && a == b
}

var sameError = cmp.Comparer(func(a, b error) bool {
	var x, y *breakerhttp.OpenError
	if errors.As(a, &x) && errors.As(b, &y) {
		return *x == *y
	}
	return a == b //nolint:errorlint // the very same is wanted
})
