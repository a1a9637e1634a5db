package circuit

import (
	"context"
	"fmt"
	"math"
	"time"
)

// trouble is what an outage, and the recovery after it, are about.
type trouble struct {
	since     time.Duration // it began
	opened    time.Duration // since of the latest opening
	notBefore time.Duration // the host asked to be left alone until then
	opening   Event         // to be told once it has lasted tellAfter
	silent    bool          // no answer since the circuit opened by silence
	alarm     bool          // opened by silence: late answers may yet come
	waiting   int           // requests that waited when silence opened the circuit
	late      int           // answers since, of earlier generations

	bound     float64       // in flight while it recovers; 0 means none
	threshold float64       // of the slow start: above it the limit grows slowly
	held      time.Duration // the bound was last in the way
}

func (a *adaptive) startTrouble(since time.Duration) *trouble {
	if a.trouble == nil {
		a.trouble = &trouble{threshold: math.Inf(1)}
	}
	a.trouble.since = since
	return a.trouble
}

// admitted makes an admitted request of an open circuit a probe. The next may go
// when that is due, whether this one has been answered or not.
func (a *adaptive) admitted(ctx context.Context, now time.Duration) {
	if a.State() == Closed {
		return
	}
	if a.trouble == nil { // another policy has opened the circuit
		a.startTrouble(a.since)
	}
	if a.probing == 0 {
		a.probing = a.until
		a.countOnly(ctx, HalfOpen, now, OpenElapsed, a.whyProbe())
	}
	a.stayClear(now + a.wait(now))
}

// countOnly records a change within an outage, which is told to nobody.
func (a *adaptive) countOnly(ctx context.Context, to State, now time.Duration, reason, detail string) {
	e := a.event(to, now, reason, detail)
	if to == Open {
		e.From = HalfOpen
	}
	e.Untold, e.Elected = true, a.elected > 0
	a.record(ctx, e)
}

// wait is how long to keep clear of the host from now on.
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

// stayClear says when the next probe may go.
func (a *adaptive) stayClear(until time.Duration) {
	a.until, a.own = until, until
	decide := until
	if a.untold {
		decide = min(until, a.trouble.opening.At+tellAfter) // then it is to be told
	}
	a.refuseAll(refusing{until: until, decide: decide})
}

func (a *adaptive) probeEnded(ctx context.Context, now time.Duration, e ending, timedOut bool) {
	t := a.trouble
	if t == nil {
		t = a.startTrouble(a.since)
	}
	switch {
	case e.Outcome == Success:
		probes := a.gen.Load()
		a.recovered(ctx, a.event(Closed, now, ProbeSucceeded, "1 probe succeeded"))
		probes.led = a.gen.Load()
	case e.Outcome == Limited:
		a.recovered(ctx, a.event(Closed, now, ProbeSucceeded, "a probe was answered, with a limit"))
	case e.Outcome != Failure:
	case timedOut:
		if a.probing > 0 && e.in <= 1 { // the schedule goes on
			a.probing = 0
			a.countOnly(ctx, Open, now, ProbeTimedOut, "probe failed: "+e.Detail)
			a.elected = 0
		}
	default:
		t.silent = false
		t.notBefore = max(t.notBefore, after(now, min(e.RetryAfter, a.cfg.MaxRetryAfter)))
		a.stayClear(max(a.until, now+a.wait(now), t.notBefore))
		if a.probing > 0 {
			a.probing = 0
			a.countOnly(ctx, Open, now, ProbeFailed, "probe failed: "+e.Detail)
		}
		a.elected = 0
	}
}

// answeredLate is for a success of a request that was sent before the circuit
// opened.
func (a *adaptive) answeredLate(ctx context.Context, now time.Duration) {
	t := a.trouble
	if t == nil || a.limited {
		return
	}
	t.late++
	switch {
	case t.alarm && t.late*4 >= t.waiting: // they were late, not lost
		t.alarm = false
		a.alert = max(a.alert, 2*uint64(t.waiting))
		if a.State() == Open {
			a.closeUp(ctx, a.event(Closed, now, LateAnswers, fmt.Sprintf("%d of %s were answered late", t.late, count(t.waiting, "request"))), 0)
		} else {
			a.unbind()
		}
	case a.State() == Open: // one has been answered, another may go
		a.stayClear(max(min(a.until, now), t.notBefore))
	}
}

// unbind lifts the bound of a circuit that has recovered.
func (a *adaptive) unbind() {
	a.trouble.bound, a.trouble.threshold = 0, math.Inf(1)
	a.setRoad()
}

// openUp begins an outage, which is told once it has lasted tellAfter.
func (a *adaptive) openUp(ctx context.Context, e Event, retryAfter time.Duration) {
	t := a.trouble
	t.opened, t.bound = t.since, 0
	a.alert = alertFrom
	t.notBefore = after(e.At, min(retryAfter, a.cfg.MaxRetryAfter))
	until := max(e.At+a.wait(e.At), t.notBefore)
	e.OpenFor, e.RetryAfter, e.Untold = until-e.At, retryAfter, true
	a.become(ctx, e)
	a.detail, a.openedAt = e.Detail, e.At
	t.opening, a.untold = e, true
	a.stayClear(until)
}

// settle tells of an outage that has lasted a while.
func (a *adaptive) settle(ctx context.Context, now time.Duration) {
	if a.untold && now-a.trouble.opening.At >= tellAfter {
		a.tell(ctx)
	}
}

func (a *adaptive) tell(ctx context.Context) {
	a.untold = false
	e := a.trouble.opening
	e.Untold, e.Uncounted = false, true
	a.record(ctx, e)
	a.stayClear(a.until)
}

// recovered lets requests in again, only a few at first.
func (a *adaptive) recovered(ctx context.Context, e Event) {
	a.startTrouble(e.At)
	a.closeUp(ctx, e, max(1, min(firstLimit, a.trouble.threshold)))
}

func (a *adaptive) closeUp(ctx context.Context, e Event, limit float64) {
	if a.probing > 0 {
		e.From = HalfOpen
	}
	e.Untold = a.untold
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
