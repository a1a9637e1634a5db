package circuit

import (
	"context"
	"fmt"
	"time"
)

// adaptive is a judgement that follows its host instead of fixed times and counts. A run of
// failures, or silence, opens the circuit for a quarter of the time that the trouble has lasted.
// After that it admits only 16 requests at a time, and more as they succeed, as in TCP (RFC 5681).
// docs/judgement.md has the scenarios that each number comes from.
type adaptive struct {
	*Circuit
	alert     uint64   // with so many requests in flight, the host is watched for silence
	mark      mark     // when the host last answered enough
	otherwise uint64   // answers that were not successes, ever
	trouble   *trouble // nil before the first trouble
}

// A mark is a moment from which silence is counted.
type mark struct {
	at      time.Duration
	started uint64 // requests of this generation until then
	answers uint64 // answers until then, ever
}

const (
	alertFrom  = 16   // so many requests in flight are harmless for any host
	firstLimit = 16   // requests in flight at first, after an outage
	quickTrip  = 12   // so many failures in a row mean a dead host rather than one that often fails
	fewAnswers = 16   // with fewer answers or requests, silence proves nothing
	enough     = 0.25 // a host that gives so many answers per request is not silent

	tripAfter    = 150 * time.Millisecond // how long a short run of failures must have lasted
	silence      = 150 * time.Millisecond // the shortest patience, and the shortest open time after silence
	anyPatience  = time.Second            // with a request without a deadline, as if it had 64s
	shortest     = 20 * time.Millisecond  // open time
	silentAtMost = 10 * time.Second       // the longest open time after silence
	silentAtOnce = time.Second            // the same in the first minute of the trouble
	boundFor     = 10 * time.Second       // the bound is lifted when it has refused no request for so long
)

// RecordAfter is how long an outage of an adaptive circuit must last to be recorded, and to be of
// interest to other processes.
const RecordAfter = time.Second

func newAdaptive(c *Circuit) *adaptive {
	return &adaptive{Circuit: c, alert: alertFrom, mark: mark{at: c.owner.Now()}}
}

// answers returns how often the host has answered, ever.
func (a *adaptive) answers() uint64 {
	return a.past.Success + a.gen.Load().succeeded.load() + a.otherwise
}

func (a *adaptive) bounded() bool { return a.trouble != nil && a.trouble.bound > 0 }

// road makes all requests take the lock while the circuit is bounded, and otherwise those that come
// while many are in flight.
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

// relax lowers the alert once in many requests, because an old peak must not count for ever.
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

// silentFor opens the circuit, and returns true, if the host has been silent for patienceOf: many
// requests have come, and it has answered fewer than a quarter as many.
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

// patienceOf returns how long the host may have been silent when this request comes. A caller with
// a long deadline expects slow answers.
func (a *adaptive) patienceOf(ctx context.Context) time.Duration {
	if a.cfg.Silence != 0 {
		return a.cfg.Silence
	}
	if left, ok := a.owner.TimeLeft(ctx); ok {
		return max(silence, left/64)
	}
	return anyPatience
}

func (a *adaptive) ended(ctx context.Context, now time.Duration, e ending) {
	timedOut := e.Outcome == Failure && e.ErrorType == errorTypeTimeout
	if !e.late && (e.Outcome == Limited || e.Outcome == Failure && !timedOut) {
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

// widen lets the bound grow as in TCP, if at least half of it is used: below the threshold by one
// for each success, above it by one for each round of requests.
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

// runGrew opens the circuit after quickTrip failures in a row at once, and after fewer if the run
// has lasted a while. A short burst of failures must not open it.
func (a *adaptive) runGrew(ctx context.Context, now time.Duration, e ending) {
	run := a.Run()
	if run == 1 && a.gen.Load().runAt == now || a.trouble == nil { // it grew, or began under another policy
		a.startTrouble(now)
	}
	n := a.cfg.ConsecutiveFailures
	if run >= max(quickTrip, n) || run >= n && now-a.trouble.since >= tripAfter {
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
		if answered, succeeded := a.answersSinceClose(); 3*succeeded < answered {
			t.since = t.opened // the earlier trouble goes on
		}
	}
	t.alarm, t.silent = false, false
	a.openUp(ctx, e, v.RetryAfter)
}

// answersSinceClose counts the answers of the present generation, which is closed.
func (a *adaptive) answersSinceClose() (answered, succeeded int) {
	succeeded = int(a.gen.Load().succeeded.load()) + a.judged - a.failed
	return succeeded + a.failed, succeeded
}

func (a *adaptive) limit() int {
	if !a.bounded() || a.State() != Closed {
		return 0
	}
	return int(a.trouble.bound)
}

func (a *adaptive) forget(ctx context.Context) {
	if a.unrecorded {
		a.recordOpening(ctx)
	}
	a.trouble, a.openFor = nil, 0
	a.alert = alertFrom
	a.mark = mark{at: a.owner.Now()}
}
