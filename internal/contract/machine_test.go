package contract

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/breakerhttp/breakerhttp"
)

// A machine does the same to a Transport and to a model of it, and
// compares.
type machine struct {
	tr       *breakerhttp.Transport
	model    model
	epoch    time.Time
	keys     []string
	dryRun   bool
	filtered bool
	fallback bool
	watchful bool // looks after each action, which leaves nothing to be noticed later
	mood     int  // of all hosts
	pending  []*trip
	bodies   []*trip                // with responses to be read
	answered *breakerhttp.OpenError // what the fallback was told last
	trips    []*trip
}

func (mc *machine) now() time.Duration { return time.Since(mc.epoch) }

func mayProbe(req *http.Request) bool { return req.Method != http.MethodPost }

func (mc *machine) probes(req *http.Request) bool { return !mc.filtered || mayProbe(req) }

func (mc *machine) begin(t *rapid.T) *trip {
	x := mc.newTrip(t)
	key := strings.TrimSuffix(x.req.URL.String(), "/")
	mc.answered = nil
	now := mc.now()
	h := mc.model.hosts[key]
	newcomer := h == nil
	go x.run(mc.tr)
	synctest.Wait()
	if newcomer {
		h = mc.makeRoom(t, key, now)
	}
	if h == nil {
		mc.wantSent(t, x, "unguarded")
		return x
	}
	mc.model.notice(h, now)
	refusal, byChance := h.admissible(now, mc.probes(x.req))
	if byChance && mc.totals(t, key).Refused == h.totals.Refused {
		refusal = nil
	}
	if refusal == nil {
		x.call = mc.model.admit(h, now)
		mc.sameTransitions(t)
		mc.wantSent(t, x, "admitted")
		return x
	}
	h.totals.Refused++
	mc.sameTransitions(t)
	refusal.Reason = h.detail
	if mc.dryRun {
		mc.wantSent(t, x, "refused in a dry run")
		return x
	}
	mc.wantRefused(t, x, refusal)
	return x
}

func (mc *machine) totals(t *rapid.T, key string) breakerhttp.Totals {
	s, ok := mc.tr.Snapshot(key)
	if !ok {
		t.Fatalf("there is no circuit of %s", key)
	}
	return s.Totals
}

func (mc *machine) wantSent(t *rapid.T, x *trip, what string) {
	if x.sent != 1 || x.over {
		t.Fatalf("at %v a request that is %s was sent %d times, and is over: %t (%v)", mc.now(), what, x.sent, x.over, x.err)
	}
	mc.pending = append(mc.pending, x)
}

func (mc *machine) wantRefused(t *rapid.T, x *trip, want *breakerhttp.OpenError) {
	if !x.over || x.sent != 0 || !x.body.closed.Load() {
		t.Fatalf("at %v want %v; is over: %t, sent %d times, body closed: %t", mc.now(), want, x.over, x.sent, x.body.closed.Load())
	}
	got := mc.answered
	if mc.fallback {
		if x.err != nil || x.resp == nil || x.resp.StatusCode != fallbackStatus {
			t.Fatalf("got %v, %v, want the fallback's answer", x.resp, x.err)
		}
	} else if !errors.As(x.err, &got) || x.resp != nil {
		t.Fatalf("at %v got %v, %v, want %v", mc.now(), x.resp, x.err, want)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("refusal at %v (-want +got):\n%s", mc.now(), diff)
	}
}

// makeRoom finds out who had to go for a new host, checks that, and returns the
// host if it is guarded.
func (mc *machine) makeRoom(t *rapid.T, key string, now time.Duration) (h *host) {
	m := &mc.model
	tooMany := m.unforced() + 1 - m.bound
	stay := 0 // of those that could have gone
	for _, old := range mc.sorted() {
		if !old.mayGo(now) {
			continue
		}
		if _, ok := mc.tr.Snapshot(old.key); ok {
			stay++
			continue
		}
		old.gone = true
		delete(m.hosts, old.key)
		tooMany--
		if tooMany < 0 {
			t.Fatalf("at %v %s had to go though there was room for %s", now, old.key, key)
		}
	}
	_, ok := mc.tr.Snapshot(key)
	if want := tooMany <= 0; ok != want || !ok && stay > 0 {
		t.Fatalf("at %v %s is guarded: %t; %d beyond the bound, %d could go", now, key, ok, tooMany, stay)
	}
	if ok {
		h = m.add(key, now)
	}
	return h
}

func (mc *machine) finish(t *rapid.T) {
	i := drawIndex(t, mc.pending)
	x := mc.pending[i]
	mc.pending = slices.Delete(mc.pending, i, i+1)
	mc.answer(t, x, drawReply(t, mc.mood))
}

// send is a request that is answered at once, if it is sent.
func (mc *machine) send(t *rapid.T) {
	n := len(mc.pending)
	if x := mc.begin(t); len(mc.pending) > n {
		mc.pending = mc.pending[:n]
		mc.answer(t, x, drawReply(t, mc.mood))
	}
}

func (mc *machine) answer(t *rapid.T, x *trip, r reply) {
	now := mc.now()
	x.do <- r
	synctest.Wait()
	if !x.over || x.sent != 1 {
		t.Fatalf("after %q the request is over: %t, sent %d times", r.name, x.over, x.sent)
	}
	if x.resp != x.gaveResp || x.err != x.gave || (x.panicked != nil) != (r.name == "panic") { //nolint:errorlint // the very same is wanted
		t.Fatalf("after %q got %v, %v, panic %v; base returned %v, %v", r.name, x.resp, x.err, x.panicked, x.gaveResp, x.gave)
	}
	if x.resp != nil && x.resp.Request != x.req {
		t.Fatalf("after %q the response is to another request", r.name)
	}
	if x.call != nil {
		x.judged = mc.model.finish(x.call, now, x.verdictOn(r, now))
	}
	if x.gaveBody != nil {
		mc.bodies = append(mc.bodies, x)
	}
}

// endBody reads a body to its end, or to an error, or closes it; and then reads
// on, which must not matter.
func (mc *machine) endBody(t *rapid.T) {
	i := drawIndex(t, mc.bodies)
	x := mc.bodies[i]
	mc.bodies = slices.Delete(mc.bodies, i, i+1)
	mc.endBodyOf(t, x, rapid.SampledFrom([]string{"end", "close", "break", "break"}).Draw(t, "how"))
}

func (mc *machine) cancel(t *rapid.T) {
	x := mc.trips[drawIndex(t, mc.trips)]
	if x.deadline != never {
		t.Skip("which of the two comes first is another question")
	}
	x.cancel()
}

func (mc *machine) force(t *rapid.T) {
	key := rapid.SampledFrom(mc.keys).Draw(t, "key")
	if rapid.Bool().Draw(t, "open") {
		mc.tr.ForceOpen(key)
		mc.model.force(key, mc.now(), breakerhttp.StateOpen)
	} else {
		mc.tr.ForceClosed(key)
		mc.model.force(key, mc.now(), breakerhttp.StateClosed)
	}
}

func (mc *machine) reset(t *rapid.T) {
	key := rapid.SampledFrom(mc.keys).Draw(t, "key")
	mc.tr.Reset(key)
	if h := mc.model.hosts[key]; h != nil {
		mc.model.reset(h, mc.now())
	}
}

func (mc *machine) waitReady(t *rapid.T) {
	now := mc.now()
	req := mc.drawRequest(t)
	deadline := drawMoment(t, mc.moments())
	ctx, cancel := context.WithDeadline(context.Background(), mc.epoch.Add(deadline))
	defer cancel()
	h := mc.model.hosts[strings.TrimSuffix(req.URL.String(), "/")]
	err := mc.tr.WaitReady(req.WithContext(ctx))
	var want error
	at, tie := now, false
	if h != nil && !mc.dryRun {
		if deadline > now {
			at, tie, want = mc.model.waitReady(h, now, deadline, mc.probes(req))
			mc.tr.Snapshot(h.key) // it may have ended just when there was something to notice
		}
		mc.model.notice(h, mc.now())
		mc.sameTransitions(t)
	}
	if deadline <= now {
		return // the context had ended before: either answer will do
	}
	if refusal := new(breakerhttp.OpenError); errors.As(want, &refusal) {
		refusal.Reason = h.detail
	}
	if diff := cmp.Diff(want, err, sameError); diff != "" && !tie || mc.now() != at {
		t.Fatalf("WaitReady from %v returned at %v, want at %v (-want +got):\n%s", now, mc.now(), at, diff)
	}
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
		mc.sameTransitions(t)
		if diff := cmp.Diff(mc.model.snapshot(h, mc.epoch, mc.now()), got); diff != "" {
			t.Fatalf("snapshot at %v (-want +got):\n%s", mc.now(), diff)
		}
	}
}

// check follows each action.
func (mc *machine) check(t *rapid.T) {
	mc.sameTransitions(t)
	if mc.watchful {
		mc.look(t)
	}
}

// sameTransitions also learns how the Transport words them.
func (mc *machine) sameTransitions(t *rapid.T) {
	got := mc.tr.Transitions()
	latest := mc.model.events[max(0, len(mc.model.events)-256):]
	want := make([]breakerhttp.Transition, len(latest))
	for i, e := range latest {
		want[i] = e.Transition
		want[i].At = mc.epoch.Add(e.at)
		if i < len(got) && got[i].Detail != "" {
			want[i].Detail = got[i].Detail
			if e.To == breakerhttp.StateOpen {
				e.host.detail = got[i].Detail
			}
		}
	}
	if !slices.EqualFunc(want, got, sameTransition) {
		t.Fatalf("transitions by %v (-want +got; each must have a detail):\n%s", mc.now(), cmp.Diff(want, got))
	}
}

func (mc *machine) drawRequest(t *rapid.T) *http.Request {
	method := rapid.SampledFrom([]string{http.MethodGet, http.MethodGet, http.MethodPost, http.MethodHead}).Draw(t, "method")
	req, err := http.NewRequestWithContext(context.Background(), method, rapid.SampledFrom(mc.keys).Draw(t, "key")+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func (mc *machine) newTrip(t *rapid.T) *trip {
	x := &trip{do: make(chan reply), deadline: never}
	ctx := context.WithValue(context.Background(), tripKey{}, x)
	switch rapid.IntRange(0, 9).Draw(t, "context") {
	case 9:
		x.deadline = drawMoment(t, mc.moments())
		ctx, x.cancel = context.WithDeadline(ctx, mc.epoch.Add(x.deadline))
	case 8:
		ctx, x.cancel = context.WithCancel(ctx)
		x.cancel()
	default:
		ctx, x.cancel = context.WithCancel(ctx)
	}
	x.expired = ctx.Err() != nil
	x.req = mc.drawRequest(t).WithContext(ctx)
	x.req.Body = &x.body
	mc.trips = append(mc.trips, x)
	return x
}

func drawIndex[T any](t *rapid.T, from []T) int {
	if len(from) == 0 {
		t.Skip("there is none")
	}
	return rapid.IntRange(0, len(from)-1).Draw(t, "which")
}

func drawReply(t *rapid.T, mood int) reply {
	kinds := [][][]reply{
		{goodReplies, badReplies, badReplies, neutralReplies},
		{goodReplies, goodReplies, goodReplies, goodReplies, neutralReplies},
		{badReplies, badReplies, badReplies, badReplies, badReplies, neutralReplies},
	}[mood]
	return rapid.SampledFrom(rapid.SampledFrom(kinds).Draw(t, "kind")).Draw(t, "reply")
}

var sameError = cmp.Comparer(func(a, b error) bool {
	var x, y *breakerhttp.OpenError
	if errors.As(a, &x) && errors.As(b, &y) {
		return *x == *y
	}
	return a == b //nolint:errorlint // the very same is wanted
})

func (mc *machine) endBodyOf(t *rapid.T, x *trip, how string) {
	body := x.gaveBody
	body.end = io.EOF
	now, ctx := mc.now(), x.req.Context()
	switch {
	case how == "close":
		_ = x.resp.Body.Close()
		if !body.closed {
			t.Fatal("Close does not reach the body")
		}
	case how == "break":
		body.end = io.ErrUnexpectedEOF
		fallthrough
	default:
		if _, err := x.resp.Body.Read(make([]byte, 1)); err != body.end { //nolint:errorlint // the very same is wanted
			t.Fatalf("the body's error is %v, want %v", err, body.end)
		}
	}
	body.end = io.ErrClosedPipe
	_, _ = x.resp.Body.Read(make([]byte, 1))
	switch {
	case !x.judged:
	case how != "break":
		mc.model.bodyEnded(x.call)
	case now >= x.deadline || ctx.Err() == nil:
		mc.model.bodyFailed(x.call, now)
	}
}

// pass lets time pass: up to a moment at which something happens, or next to it.
func (mc *machine) pass(t *rapid.T) { time.Sleep(drawMoment(t, mc.moments()) - mc.now()) }

func drawMoment(t *rapid.T, moments []time.Duration) time.Duration {
	slices.Sort(moments)
	return rapid.SampledFrom(moments).Draw(t, "moment") + time.Duration(rapid.IntRange(-1, 1).Draw(t, "next to"))
}

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
	}
	moments = slices.DeleteFunc(moments, func(at time.Duration) bool { return at < now })
	return append(moments, now, now+time.Millisecond, now+time.Second)
}

func sameTransition(a, b breakerhttp.Transition) bool {
	same := a.At.Equal(b.At)
	a.At, b.At = time.Time{}, time.Time{}
	return same && a == b
}
