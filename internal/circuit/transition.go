package circuit

import (
	"context"
	"time"
)

// Event describes a change of state.
type Event struct {
	From, To  State
	At        time.Duration
	Reason    string
	Detail    string // for people
	OpenFor   time.Duration
	Counts    Counts // of From, as it ended
	ErrorType string // of the failure that opened the circuit, if it was one

	RetryAfter time.Duration // of that failure; 0 if it had none

	// An adaptive circuit records an outage only after it has lasted a while. Until then its
	// changes of state are Unrecorded: metrics count them, but the Owner does not record them. The
	// opening that is recorded later is Uncounted, because metrics have counted it already.
	Unrecorded, Uncounted bool

	Elected bool // the end of a probe on behalf of all processes
	Limited bool // a probe has closed the circuit, though its host asked for less
}

// Why a circuit changed its state.
const (
	ConsecutiveFailures = "consecutive_failures"
	FailureRatio        = "failure_ratio"
	SlowRatio           = "slow_ratio"
	TripWhen            = "trip_when"
	Silence             = "silence"
	RateLimited         = "limited"
	OpenElapsed         = "open_elapsed"
	ProbeSucceeded      = "probe_succeeded"
	ProbeFailed         = "probe_failed"
	ProbeTimedOut       = "probe_timeout"
	LateAnswers         = "late_answers"
	Forced              = "forced"
	WasReset            = "reset"
	Shared              = "shared"
)

// errorTypeTimeout is the error type of a request that took too long.
const errorTypeTimeout = "timeout"

// event returns the change that ends the present state.
func (c *Circuit) event(to State, at time.Duration, reason, detail string) Event {
	return Event{From: c.State(), To: to, At: at, Reason: reason, Detail: detail, Counts: c.counts(at)}
}

// become changes the state, and records that.
func (c *Circuit) become(ctx context.Context, e Event) {
	c.remember()
	if e.To != Closed {
		c.ramped = 0
	}
	e.Elected = c.elected > 0
	c.renew(e.To, e.At)
	c.record(ctx, e)
}

func (c *Circuit) record(ctx context.Context, e Event) {
	c.events = append(c.events, e)
	if !e.Unrecorded {
		c.owner.Record(ctx, e)
	}
}

// stayOpen makes an open circuit refuse requests until r.until.
func (c *Circuit) stayOpen(r refusing) {
	c.until, c.openFor = r.until, r.until-c.since
	r.decide = r.until
	c.refuseAll(r)
}

// refuseAll makes the circuit refuse requests without the lock until r.decide.
func (c *Circuit) refuseAll(r refusing) {
	r.detail = c.detail
	c.gen.Load().refusing.Store(&r)
}

// renew starts a generation. The requests in flight of the one before are stale from now on.
func (c *Circuit) renew(s State, at time.Duration) {
	g := c.gen.Load()
	started, succeeded := g.started.close(), g.succeeded.close()
	c.past.Success += succeeded
	c.past.Refused += g.refused.close()
	c.stale += int(started-succeeded) - int(g.ended.Load())
	c.judged, c.failed, c.asks = 0, 0, nil
	c.limited, c.unrecorded, c.probing = false, false, never
	if s != HalfOpen {
		c.hastened, c.elected = false, 0
	}
	if s == Closed {
		c.spared = 0
	}
	if c.window != nil {
		c.window.Reset()
	}
	c.waiting.clear()
	c.since = at
	c.start(new(generation), s)
	c.wake()
}
