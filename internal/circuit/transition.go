package circuit

import (
	"math"
	"time"
)

// Event is a change of state.
type Event struct {
	From, To State
	At       time.Duration
	Reason   string
	Detail   string // for people
	OpenFor  time.Duration
	Counts   Counts // of From, as it ended

	RetryAfter time.Duration // of the failure that has opened the circuit; 0 if it had none
}

// Why a circuit changed its state.
const (
	ConsecutiveFailures = "consecutive_failures"
	FailureRatio        = "failure_ratio"
	SlowRatio           = "slow_ratio"
	TripWhen            = "trip_when"
	OpenElapsed         = "open_elapsed"
	ProbeSucceeded      = "probe_succeeded"
	ProbeFailed         = "probe_failed"
	ProbeTimedOut       = "probe_timeout"
	Forced              = "forced"
	WasReset            = "reset"
	Shared              = "shared"
)

// trip opens a closed circuit. The growth of the open time has fallen by a step
// for each MaxOpenFor that the circuit stayed closed. If it did not even stay
// closed for as long as it was open before, its host answers probes and fails
// under traffic: the open time grows as if a probe had failed.
func (c *Circuit) trip(by *Cause, e Event, v Verdict) {
	if v.Detail != "" {
		e.Detail += ", last: " + v.Detail
	}
	closedFor := e.At - c.since
	c.level = max(0, c.level-int(closedFor/c.cfg.MaxOpenFor))
	if closedFor < c.openFor {
		c.grow()
	}
	c.open(by, e, v.RetryAfter)
}

// reopen opens a half-open circuit whose probe has failed.
func (c *Circuit) reopen(by *Cause, e Event, retryAfter time.Duration) {
	c.grow()
	c.open(by, e, retryAfter)
}

// grow lets the open time grow by a step, up to MaxOpenFor.
func (c *Circuit) grow() {
	if c.grown() < c.cfg.MaxOpenFor {
		c.level++
	}
}

func (c *Circuit) open(by *Cause, e Event, retryAfter time.Duration) {
	d := min(max(c.grown(), retryAfter), c.cfg.MaxOpenFor)
	if c.cfg.Jitter > 0 {
		d = seconds(float64(d) * (1 + c.cfg.Jitter*c.cfg.rand()))
	}
	e.OpenFor, e.RetryAfter = d, retryAfter
	c.detail, c.openedAt = e.Detail, e.At
	c.become(by, e)
	c.stayOpen(refusing{until: after(e.At, d)})
	c.own = c.until
}

// stayOpen says until when an open circuit stays so.
func (c *Circuit) stayOpen(r refusing) {
	r.detail = c.detail
	c.until, c.openFor = r.until, r.until-c.since
	c.gen.Load().refusing.Store(&r)
}

// grown is the open time after the failed probes so far, without a bound.
func (c *Circuit) grown() time.Duration {
	return seconds(float64(c.cfg.OpenFor) * math.Pow(c.cfg.OpenGrowth, float64(c.level)))
}

func (c *Circuit) close(by *Cause, e Event) {
	if c.cfg.Ramp > 0 {
		c.ramped = after(e.At, c.cfg.Ramp)
	}
	c.become(by, e)
}

// event is a change that the present state ends with.
func (c *Circuit) event(to State, at time.Duration, reason, detail string) Event {
	return Event{From: c.State(), To: to, At: at, Reason: reason, Detail: detail, Counts: c.counts(at)}
}

// become changes the state, and has that recorded.
func (c *Circuit) become(by *Cause, e Event) {
	if e.To != Closed {
		c.ramped = 0
	}
	c.renew(e.To, e.At)
	by.Events = append(by.Events, e)
	c.owner.Record(by.Context, e)
}

// renew starts a generation. What is in flight of the one before is stale.
func (c *Circuit) renew(s State, at time.Duration) {
	g := c.gen.Load()
	started, succeeded := g.started.close(), g.succeeded.close()
	c.past.Success += succeeded
	c.past.Refused += g.refused.close()
	c.stale += int(started-succeeded) - int(g.ended.Load())
	c.judged, c.failed, c.asks = 0, 0, nil
	if s != HalfOpen {
		c.elected = 0
	}
	if c.window != nil {
		c.window.Reset()
	}
	c.waiting.clear()
	c.since = at
	c.start(new(generation), s)
	c.wake()
}

// seconds turns nanoseconds into a Duration, saturating.
func seconds(ns float64) time.Duration {
	if ns >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(ns)
}
