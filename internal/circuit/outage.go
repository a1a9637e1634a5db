package circuit

import (
	"context"
	"fmt"
	"math"
	"time"
)

// trouble is an outage and the recovery after it.
type trouble struct {
	since     time.Duration // when it began
	opened    time.Duration // when the trouble of the latest opening began
	notBefore time.Duration // the host has asked by Retry-After for no request before this
	opening   Event         // recorded once it has lasted RecordAfter
	silent    bool          // no answer has come since silence opened the circuit
	alarm     bool          // silence opened the circuit, and late answers may still come
	waiting   int           // requests in flight when silence opened the circuit
	late      int           // answers to them since then

	bound     float64       // requests in flight while the host recovers; 0 means any number
	threshold float64       // end of the slow start: above it the bound grows slowly
	held      time.Duration // when the bound last refused a request
}

func (a *adaptive) startTrouble(since time.Duration) *trouble {
	if a.trouble == nil {
		a.trouble = &trouble{opened: since, threshold: math.Inf(1)}
	}
	a.trouble.since = since
	return a.trouble
}

// admitted makes the admitted request a probe if the circuit is open. The next probe may be sent
// when it is due, whether this one has been answered or not.
func (a *adaptive) admitted(ctx context.Context, now time.Duration) {
	if a.State() == Closed {
		return
	}
	if a.trouble == nil { // another policy has opened the circuit
		a.startTrouble(a.openedAt)
	}
	if a.probing == never && a.State() == Open {
		a.probing = a.until
		a.countOnly(ctx, a.event(HalfOpen, now, OpenElapsed, a.whyProbe()))
	}
	a.stayClear(now + a.wait(now))
}

// countOnly adds a change of state within an outage that metrics count and the Owner does not record.
func (a *adaptive) countOnly(ctx context.Context, e Event) {
	if e.To == Open {
		e.From = HalfOpen
	}
	e.Unrecorded, e.Elected = true, a.elected > 0
	a.record(ctx, e)
}

// wait returns how long after now the next probe is due.
func (a *adaptive) wait(now time.Duration) time.Duration {
	lasted := now - a.trouble.since
	d := max(shortest, min(lasted/4, a.cfg.MaxOpenFor))
	if a.trouble.silent {
		most := silentAtMost
		if lasted < time.Minute {
			most = silentAtOnce
		}
		d = max(silence, min(d, most))
	}
	return seconds(float64(d) * (0.9 + 0.2*a.cfg.rand()))
}

// stayClear makes the circuit refuse all requests until the next probe is due.
func (a *adaptive) stayClear(until time.Duration) {
	a.until, a.own = until, until
	decide := until
	if a.unrecorded {
		decide = min(until, a.trouble.opening.At+RecordAfter) // then settle records the outage
	}
	a.refuseAll(refusing{until: until, decide: decide})
}

func (a *adaptive) probeEnded(ctx context.Context, now time.Duration, e ending, timedOut bool) {
	t := a.trouble
	if t == nil {
		t = a.startTrouble(a.openedAt)
	}
	failed := a.probeFailed(e)
	switch {
	case failed == "" && e.Outcome == Success:
		a.closeByProbe(ctx, a.event(Closed, now, ProbeSucceeded, "1 probe succeeded"))
	case e.Outcome == Limited:
		closed := a.event(Closed, now, ProbeSucceeded, "a probe was answered, with a limit")
		closed.Limited = true
		a.recovered(ctx, closed)
	case failed == "":
	case a.State() == HalfOpen: // a classic policy has sent the first probe
		a.openUp(ctx, a.event(Open, now, ProbeFailed, failed), e.RetryAfter)
		a.recordOpening(ctx)
	case timedOut:
		if a.probing != never && e.in <= 1 { // the schedule goes on
			a.probing = never
			a.countOnly(ctx, a.event(Open, now, ProbeTimedOut, failed))
			a.elected = 0
		}
	default:
		t.silent = false
		t.notBefore = max(t.notBefore, after(now, min(e.RetryAfter, a.cfg.MaxRetryAfter)))
		a.stayClear(max(a.until, now+a.wait(now), t.notBefore))
		if a.probing != never {
			a.probing = never
			event := a.event(Open, now, ProbeFailed, failed)
			event.RetryAfter = e.RetryAfter
			a.countOnly(ctx, event)
		}
		a.elected = 0
	}
}

// answeredLate is called when a request that was sent before the circuit opened has succeeded.
func (a *adaptive) answeredLate(ctx context.Context, now time.Duration) {
	t := a.trouble
	if t == nil || a.limited {
		return
	}
	t.late++
	switch {
	case t.alarm && t.late*4 >= t.waiting: // the answers were late, not lost
		t.alarm = false
		a.alert = max(a.alert, 2*uint64(t.waiting))
		if a.State() == Open {
			a.closeUp(ctx, a.event(Closed, now, LateAnswers, fmt.Sprintf("%d of %s were answered late", t.late, count(t.waiting, "request"))), 0)
		} else {
			a.unbind()
		}
	case a.State() == Open: // the host answers, so a probe may be sent
		a.stayClear(max(min(a.until, now), t.notBefore))
	}
}

// unbind lifts the bound of a circuit that has recovered.
func (a *adaptive) unbind() {
	a.trouble.bound, a.trouble.threshold = 0, math.Inf(1)
	a.setRoad()
}

// openUp opens the circuit. That is recorded once it has lasted RecordAfter.
func (a *adaptive) openUp(ctx context.Context, e Event, retryAfter time.Duration) {
	t := a.trouble
	t.opened, t.bound = t.since, 0
	a.alert = alertFrom
	t.notBefore = after(e.At, min(retryAfter, a.cfg.MaxRetryAfter))
	until := max(e.At+a.wait(e.At), t.notBefore)
	e.OpenFor, e.RetryAfter, e.Unrecorded = until-e.At, retryAfter, true
	a.become(ctx, e)
	a.detail, a.openedAt = e.Detail, e.At
	t.opening, a.unrecorded = e, true
	a.stayClear(until)
}

// settle records an outage that has lasted for RecordAfter.
func (a *adaptive) settle(ctx context.Context, now time.Duration) {
	if a.unrecorded && now-a.trouble.opening.At >= RecordAfter {
		a.recordOpening(ctx)
	}
}

func (a *adaptive) recordOpening(ctx context.Context) {
	a.unrecorded = false
	e := a.trouble.opening
	e.Unrecorded, e.Uncounted = false, true
	a.record(ctx, e)
	a.stayClear(a.until)
}

// recovered closes the circuit, which admits only a few requests at once at first.
func (a *adaptive) recovered(ctx context.Context, e Event) {
	t := a.startTrouble(e.At)
	if a.limited { // its host is healthy, so earlier trouble is over
		t.opened = e.At
	}
	a.closeUp(ctx, e, max(1, min(firstLimit, t.threshold)))
}

func (a *adaptive) closeUp(ctx context.Context, e Event, limit float64) {
	if a.probing != never {
		e.From = HalfOpen
	}
	e.Unrecorded = a.unrecorded
	a.trouble.bound, a.trouble.held = limit, e.At
	a.become(ctx, e)
	a.mark = mark{at: e.At, answers: a.answers()}
}

func (a *adaptive) adopted(ctx context.Context, e Event) {
	t := a.startTrouble(e.At)
	t.opened, t.opening, t.bound = e.At, e, 0
	t.alarm, t.silent, t.notBefore = false, false, 0
	a.become(ctx, e)
}
