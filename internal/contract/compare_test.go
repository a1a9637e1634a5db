package contract

import (
	"errors"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/breakerhttp/breakerhttp"
)

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
