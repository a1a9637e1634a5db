package circuit

import (
	"context"
	"fmt"
	"math"
	"time"
)

// adaptive is a judgement that follows its host instead of fixed times and counts.
// A run of failures, or silence, opens the circuit for a quarter of the time that
// the trouble has lasted. After that only 16 requests at a time are let in, and
// more as they succeed, as in TCP (RFC 5681). docs/judgement.md has the scenarios
// that each number comes from.
type adaptive struct {
	*Circuit
	alert     uint64   // in flight at which the host is watched for silence
	mark      mark     // when it last answered well enough
	otherwise uint64   // answers that were no success, ever
	trouble   *trouble // nil before the first
}

// A mark is a moment from which silence is counted.
type mark struct {
	at      time.Duration
	started uint64 // requests, of this generation
	answers uint64 // ever
}

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

const (
	alertFrom  = 16   // in flight that are harmless anywhere
	firstLimit = 16   // in flight after an outage
	quickTrip  = 12   // failures in a row that tell a dead host from one that often fails
	fewAnswers = 16   // on a host that has answered less, silence proves nothing
	enough     = 0.25 // answers for each request, at which a host is not silent

	tripAfter    = 150 * time.Millisecond // failures in a row that last so long open
	silence      = 150 * time.Millisecond
	anyPatience  = time.Second // of a request without a deadline: 1/64 of 64s
	shortest     = 20 * time.Millisecond
	silentAtMost = 10 * time.Second
	silentAtOnce = time.Second
	boundFor     = 10 * time.Second // the bound goes when it has not been in the way for so long
	tellAfter    = time.Second
)

func newAdaptive(c *Circuit) *adaptive {
	return &adaptive{Circuit: c, alert: alertFrom, mark: mark{at: c.owner.Now()}}
}

// answers is how often the host has answered, ever.
func (a *adaptive) answers() uint64 {
	return a.past.Success + a.gen.Load().succeeded.load() + a.otherwise
}

func (a *adaptive) bounded() bool { return a.trouble != nil && a.trouble.bound > 0 }

// road keeps all requests under the lock while the circuit is bounded, and
// otherwise those that come while many are in flight.
func (a *adaptive) road() (free bool, room uint64) { return !a.bounded(), a.alert }

func (a *adaptive) admissible(ctx context.Context, now time.Duration, mayProbe, asks bool) (Refusal, bool) {
	if a.State() != Closed {
		switch {
		case now < a.until:
			return Refusal{State: Open, RetryAfter: a.gen.Load().refusing.Load().retryAfter(now), Detail: a.detail}, false
		case !mayProbe || a.electing:
			return Refusal{State: HalfOpen, Detail: a.detail}, false
		}
		return Refusal{}, true
	}
	in := a.inFlight(a.gen.Load())
	if t := a.trouble; a.bounded() && float64(in) >= t.bound {
		if asks {
			t.held = now
		}
		return Refusal{State: Closed, Detail: fmt.Sprintf("recovering: at most %d in flight", int(t.bound))}, false
	}
	if !asks {
		return Refusal{}, true
	}
	a.relax(in)
	if uint64(in) >= a.alert && a.silentFor(ctx, now, in) {
		return Refusal{State: Open, RetryAfter: a.until - now, Detail: a.detail}, false
	}
	return Refusal{}, true
}

// relax lets the alert come down once in many requests: a peak is not remembered
// for ever.
func (a *adaptive) relax(in int) {
	if a.gen.Load().started.load()%decisive != decisive-1 {
		return
	}
	a.setAlert(max(alertFrom, min(a.alert, max(a.alert*7/8, uint64(in)*5/4))))
}

func (a *adaptive) setAlert(n uint64) {
	a.alert = n
	a.setRoad()
}

// silentFor opens the circuit if many requests have come and next to none has
// been answered for longer than the policy's Silence.
func (a *adaptive) silentFor(ctx context.Context, now time.Duration, in int) bool {
	g := a.gen.Load()
	asked, answered := g.started.load()-a.mark.started, a.answers()-a.mark.answers
	if float64(answered) >= enough*float64(asked) || a.mark.answers < fewAnswers {
		a.mark = mark{now, g.started.load(), a.answers()}
		a.setAlert(max(a.alert, uint64(in)*5/4))
		return false
	}
	patience := a.patienceOf(ctx)
	if a.forced || patience <= 0 || asked < fewAnswers || now-a.mark.at < patience {
		return false
	}
	e := a.event(Open, now, Silence, fmt.Sprintf("%s waiting, %d answered in %v",
		count(in, "request"), answered, (now-a.mark.at).Round(time.Millisecond)))
	t := a.startTrouble(a.mark.at)
	t.alarm, t.silent, t.waiting, t.late = true, true, in, 0
	a.openUp(ctx, e, 0)
	return true
}

// patienceOf is how long the host may be silent before this request. A caller
// with a long deadline expects slow answers.
func (a *adaptive) patienceOf(ctx context.Context) time.Duration {
	if a.cfg.Silence != 0 {
		return a.cfg.Silence
	}
	if left, ok := a.owner.TimeLeft(ctx); ok {
		return max(silence, left/64)
	}
	return anyPatience
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
		a.countOnly(ctx, HalfOpen, now, OpenElapsed, "the open time is over")
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

func (a *adaptive) ended(ctx context.Context, now time.Duration, e ending) {
	timedOut := e.Outcome == Failure && e.ErrorType == errorTypeTimeout
	if e.Outcome == Limited || e.Outcome == Failure && !timedOut {
		a.otherwise++
	}
	switch {
	case a.forced:
	case e.stale:
		if e.Outcome == Success {
			a.answeredLate(ctx, now)
		}
	case a.State() != Closed:
		a.probeEnded(ctx, now, e, timedOut)
	case e.Outcome == Success:
		a.widen(now, e.in)
	case e.Outcome == Failure:
		a.runGrew(ctx, now, e)
	}
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

// widen lets the bound grow as in TCP: by one for each success below the
// threshold, above it by one for each round; while at least half of it is used.
func (a *adaptive) widen(now time.Duration, in int) {
	if !a.bounded() {
		return
	}
	t := a.trouble
	if float64(2*in) >= t.bound {
		if t.bound < t.threshold {
			t.bound++
		} else {
			t.bound += 1 / t.bound
		}
	}
	if now-t.held >= boundFor {
		a.unbind()
	}
	a.wake()
}

// runGrew opens the circuit after a run of failures: of quickTrip at once, of fewer
// if it has lasted a while. An isolated burst must not close a host off.
func (a *adaptive) runGrew(ctx context.Context, now time.Duration, e ending) {
	run := a.Run()
	if run == 1 && a.gen.Load().runAt == now { // it grew
		a.startTrouble(now)
	}
	n := a.cfg.ConsecutiveFailures
	if run >= max(quickTrip, n) || run >= n && a.trouble != nil && now-a.trouble.since >= tripAfter {
		a.trip(ctx, a.event(Open, now, ConsecutiveFailures, count(run, "failure")+" in a row"), e.Verdict)
		return
	}
	a.askRules(ctx, now, e.Verdict)
}

func (a *adaptive) trip(ctx context.Context, e Event, v Verdict) {
	if v.Detail != "" {
		e.Detail += ", last: " + v.Detail
	}
	e.ErrorType = v.ErrorType
	since := e.At
	if a.Run() > 0 && a.trouble != nil {
		since = a.trouble.since
	}
	t := a.startTrouble(since)
	if t.bound > 0 {
		t.threshold = min(t.bound, float64(a.inFlight(a.gen.Load()))) / 2
		if v.ErrorType != errorTypeTimeout {
			t.threshold = max(t.threshold, firstLimit)
		}
	}
	if answered, succeeded := a.answersSinceClose(); t.opening.At > 0 && 3*succeeded < answered {
		t.since = t.opened // the trouble goes on
	}
	t.alarm, t.silent = false, false
	a.openUp(ctx, e, v.RetryAfter)
}

// answersSinceClose are those of the present, closed generation.
func (a *adaptive) answersSinceClose() (answered, succeeded int) {
	succeeded = int(a.gen.Load().succeeded.load()) + a.judged - a.failed
	return succeeded + a.failed, succeeded
}

// openUp begins an outage, which is told once it has lasted tellAfter.
func (a *adaptive) openUp(ctx context.Context, e Event, retryAfter time.Duration) {
	t := a.trouble
	t.opened, t.bound = t.since, 0
	a.alert = alertFrom
	t.notBefore = after(e.At, min(retryAfter, a.cfg.MaxRetryAfter))
	until := max(e.At+a.wait(e.At), t.notBefore)
	e.OpenFor, e.RetryAfter, e.Untold = until-e.At, retryAfter, true
	a.detail, a.openedAt = e.Detail, e.At
	a.become(ctx, e)
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

func (a *adaptive) limit() int {
	if !a.bounded() || a.State() != Closed {
		return 0
	}
	return int(a.trouble.bound)
}

func (a *adaptive) forget(ctx context.Context) {
	if a.untold {
		a.tell(ctx)
	}
	a.trouble = nil
	a.alert = alertFrom
	a.mark = mark{at: a.owner.Now()}
}
