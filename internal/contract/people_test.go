package contract

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/breakerhttp/breakerhttp"
)

// setPolicies changes policies, or leaves them as they are. A policy stays as Adaptive as it is while
// one of its circuits is not closed: nothing says how the one kind goes on with the other's outage.
func (mc *machine) setPolicies(t *rapid.T) {
	ofAnyKind := rapid.Bool().Draw(t, "of any kind")
	if ofAnyKind {
		mc.look(t)
	}
	next := mc.policies
	for i, old := range next {
		may := slices.DeleteFunc(slices.Clone(policies), func(p breakerhttp.Policy) bool {
			return p.Adaptive != old.Adaptive && !(ofAnyKind && mc.areClosed(i))
		})
		next[i] = rapid.SampledFrom(append(may, old)).Draw(t, "policy")
	}
	mc.policies = next
	all, first := next[0], next[1]
	all.TripWhen, first.TripWhen = mc.tripWhen(all.TripWhen), mc.tripWhen(first.TripWhen)
	mc.do(t, func() {
		if err := mc.tr.SetPolicies(all, map[string]breakerhttp.Policy{mc.keys[0]: first}); err != nil {
			panic(err)
		}
	})
	for _, h := range mc.asTold(mc.sorted()) {
		mc.model.setPolicy(h, mc.now(), mc.model.policyOf(h.key))
	}
}

// areClosed reports whether all circuits with that policy are closed.
func (mc *machine) areClosed(policy int) bool {
	return !slices.ContainsFunc(mc.sorted(), func(h *host) bool {
		return (h.key == mc.keys[0]) == (policy == 1) && h.now().state != breakerhttp.StateClosed
	})
}

// asTold puts hosts in the order of their transitions that the model does not know yet.
func (mc *machine) asTold(hosts []*host) []*host {
	told := mc.tr.Transitions()
	place := func(h *host) int {
		i := slices.IndexFunc(told, func(e breakerhttp.Transition) bool {
			return e.Key == h.key && e.Seq > uint64(len(mc.model.events))
		})
		if i < 0 {
			return len(told)
		}
		return i
	}
	slices.SortStableFunc(hosts, func(a, b *host) int { return place(a) - place(b) })
	return hosts
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
