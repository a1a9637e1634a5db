package breakerhttp

import (
	"context"
	"net/http"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// WaitReady blocks until the circuit of req would admit it, and returns nil. It returns an
// [OpenError] at once if the request's deadline is earlier than the circuit's next probe, and the
// error of the request's context if that ends first.
//
// A circuit that is ramping up counts as ready, and so does every circuit in a dry run. If a
// circuit is forced open, WaitReady waits until it is reset. It reserves nothing: another request
// may take the only probe.
func (t *Transport) WaitReady(req *http.Request) error {
	t.mustBeMade()
	if req == nil || req.URL == nil || t.dryRun {
		return nil
	}
	h, ok := t.hosts.Get(t.place(t.keyOf(req)))
	if !ok {
		return nil
	}
	ctx := req.Context()
	for {
		h.refresh(req)
		mayProbe := t.mayProbe(req)
		by := circuit.Cause{Context: ctx}
		r, wake, changed, ok := h.circuit.Ready(&by, mayProbe)
		h.emit(&by)
		if ok {
			return nil
		}
		if deadline, ok := ctx.Deadline(); ok && r.RetryAfter > 0 && time.Until(deadline) < r.RetryAfter {
			return &OpenError{Key: h.key, State: State(r.State), RetryAfter: r.RetryAfter, Reason: r.Detail}
		}
		if err := sleep(ctx, h.wake(wake), changed); err != nil {
			return err
		}
	}
}

// wake returns how long to wait before the circuit is asked again: d, or less if the shared record
// is to be read sooner. 0 means without end.
func (h *host) wake(d time.Duration) time.Duration {
	if h.member == nil {
		return d
	}
	next := max(h.member.NextRead()-h.t.now(), time.Millisecond)
	if d > 0 {
		next = min(next, d)
	}
	return next
}

// sleep waits until d is over or changed is closed. If d is 0, it waits for changed alone. It
// returns the error of ctx if ctx ends first.
func sleep(ctx context.Context, d time.Duration, changed <-chan struct{}) error {
	var elapsed <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		elapsed = timer.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed:
	case <-elapsed:
	}
	return nil
}
