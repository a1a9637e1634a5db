package circuit

import (
	"context"
	"math"
	"time"
)

// classic is the judgement of a policy that is not Adaptive: a rule opens the circuit for a time
// that is fixed or grows, and then a few probes decide.
type classic struct{ *Circuit }

func (c classic) admissible(ctx context.Context, now time.Duration, mayProbe, asks bool) (Refusal, bool) {
	switch c.State() {
	case Open:
		switch {
		case now < c.until:
			return Refusal{State: Open, RetryAfter: c.gen.Load().refusing.Load().retryAfter(now), Detail: c.detail}, false
		case !mayProbe || c.electing:
			return Refusal{State: HalfOpen, Detail: c.detail}, false
		}
	case HalfOpen:
		if !mayProbe || c.electing || c.waiting.len >= c.cfg.Probes {
			return Refusal{State: HalfOpen, Detail: c.detail}, false
		}
	case Closed:
		if asks && c.ramped > now && c.cfg.rand() >= c.rampShare(now) {
			return Refusal{State: Closed, Detail: c.detail}, false
		}
		if c.ramped > 0 && c.ramped <= now {
			c.ramped = 0
			c.setRoad()
		}
	}
	return Refusal{}, true
}

// rampShare returns the share of the requests that a ramping circuit admits: a tenth at first, all
// in the end.
func (c classic) rampShare(now time.Duration) float64 {
	left := float64(c.ramped-now) / float64(c.cfg.Ramp)
	return 1 - 0.9*left
}

func (c classic) admitted(ctx context.Context, now time.Duration) {
	switch {
	case c.State() != Open:
	case c.probing != never: // an adaptive policy's probe has made it half-open already
		c.renew(HalfOpen, c.probing)
	default:
		elapsed := c.until
		c.become(ctx, c.event(HalfOpen, now, OpenElapsed, c.whyProbe()))
		c.since = elapsed
	}
}

func (c classic) ended(ctx context.Context, now time.Duration, e ending) {
	switch {
	case e.stale, c.forced:
	case c.State() == Open:
		c.adaptiveProbeEnded(ctx, now, e)
	case c.State() == HalfOpen:
		c.probeEnded(ctx, now, e)
	case e.Outcome == Failure:
		run := c.Run()
		if n := c.cfg.ConsecutiveFailures; n > 0 && run >= n {
			c.trip(ctx, c.event(Open, now, ConsecutiveFailures, count(run, "failure")+" in a row"), e.Verdict)
			return
		}
		c.askRules(ctx, now, e.Verdict)
	}
}

func (c classic) probeEnded(ctx context.Context, now time.Duration, e ending) {
	failed := c.probeFailed(e)
	switch {
	case failed != "":
		c.reopen(ctx, c.event(Open, now, ProbeFailed, failed), e.RetryAfter)
	case e.Outcome != Success:
	case c.judged >= c.cfg.ProbeSuccesses:
		c.closeByProbe(ctx, c.event(Closed, now, ProbeSucceeded, count(c.judged, "probe")+" succeeded"))
	}
}

// adaptiveProbeEnded takes in the result of a probe that was sent while the policy was adaptive.
// The circuit is open, but reads as half-open.
func (c classic) adaptiveProbeEnded(ctx context.Context, now time.Duration, e ending) {
	from := Open
	if c.probing != never {
		from = HalfOpen
	}
	failed := c.probeFailed(e)
	switch {
	case failed == "" && e.Outcome == Success:
		closed := c.event(Closed, now, ProbeSucceeded, "1 probe succeeded")
		closed.From = from
		c.closeByProbe(ctx, closed)
	case failed != "" && from == HalfOpen:
		open := c.event(Open, now, ProbeFailed, failed)
		open.From = from
		c.reopen(ctx, open, e.RetryAfter)
	}
}

// trip opens the circuit. The open time has shrunk by one step of growth for each MaxOpenFor that
// the circuit stayed closed. If the circuit was closed for less time than it was open before, its
// host answers probes but fails under traffic, and the open time grows as if a probe had failed.
func (c classic) trip(ctx context.Context, e Event, v Verdict) {
	if v.Detail != "" {
		e.Detail += ", last: " + v.Detail
	}
	e.ErrorType = v.ErrorType
	closedFor := e.At - c.since
	c.level = int(max(0, int64(c.level)-int64(closedFor/c.cfg.MaxOpenFor)))
	if closedFor < c.openFor {
		c.grow()
	}
	c.open(ctx, e, v.RetryAfter)
}

// reopen opens a half-open circuit whose probe has failed.
func (c classic) reopen(ctx context.Context, e Event, retryAfter time.Duration) {
	if !c.hastened {
		c.grow()
	}
	c.open(ctx, e, retryAfter)
}

// grow lets the open time grow by a step, unless it has reached MaxOpenFor.
func (c classic) grow() {
	if c.grown() < c.cfg.MaxOpenFor {
		c.level++
	}
}

// grown returns the open time after the steps of growth so far, without a bound.
func (c classic) grown() time.Duration {
	return seconds(float64(c.cfg.OpenFor) * math.Pow(c.cfg.OpenGrowth, float64(c.level)))
}

func (c classic) open(ctx context.Context, e Event, retryAfter time.Duration) {
	d := min(max(c.grown(), retryAfter), c.cfg.MaxOpenFor)
	if c.cfg.Jitter > 0 {
		d = seconds(float64(d) * (1 + c.cfg.Jitter*c.cfg.rand()))
	}
	e.OpenFor, e.RetryAfter = d, retryAfter
	c.detail, c.openedAt = e.Detail, e.At
	c.become(ctx, e)
	c.stayOpen(refusing{until: after(e.At, d)})
	c.own = c.until
}

func (c classic) recovered(ctx context.Context, e Event) {
	if c.cfg.Ramp > 0 {
		c.ramped = after(e.At, c.cfg.Ramp)
	}
	c.become(ctx, e)
}

func (c classic) adopted(ctx context.Context, e Event) { c.become(ctx, e) }

// settle fails the probes that have hung for ProbeTimeout, as of the moment when the first of them
// reached it.
func (c classic) settle(ctx context.Context, now time.Duration) {
	if c.State() != HalfOpen || !c.due(now) {
		return
	}
	g, at := c.gen.Load(), c.waiting.first.since+c.cfg.ProbeTimeout
	for c.due(at) {
		w := c.waiting.first
		c.waiting.remove(w)
		w.timedOut = true
		c.judged++
		c.failed++
		g.addToRun(at)
		c.past.count(Verdict{Outcome: Failure, ErrorType: errorTypeTimeout})
	}
	c.failedAt = max(c.failedAt, at)
	c.reopen(ctx, c.event(Open, at, ProbeTimedOut, "probe unanswered for "+c.cfg.ProbeTimeout.String()), 0)
}

func (c classic) road() (free bool, room uint64) { return c.ramped == 0, 0 }

func (c classic) limit() int { return 0 }

func (c classic) forget(context.Context) { c.level, c.openFor = 0, 0 }

// seconds returns nanoseconds as a Duration, or the longest Duration if they are more.
func seconds(ns float64) time.Duration {
	if ns >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(ns)
}
