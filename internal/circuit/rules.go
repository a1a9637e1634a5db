package circuit

import (
	"context"
	"fmt"
	"time"
)

// An ask is a question for TripWhen about a failed or slow request. TripWhen is the user's code,
// which may block, panic, or use the circuit. So it is asked after the request has been counted,
// and without the lock.
type ask struct {
	gen  *generation
	trip Event // if the answer is yes
	v    Verdict
}

// askRules opens the circuit if a ratio is met, and leaves a question for TripWhen
// otherwise.
func (c *Circuit) askRules(ctx context.Context, now time.Duration, v Verdict) {
	if c.forced {
		return
	}
	reason, detail := c.metRatio(now)
	switch {
	case reason != "":
		c.judge.trip(ctx, c.event(Open, now, reason, detail), v)
	case c.cfg.TripWhen != nil:
		c.asks = append(c.asks, ask{c.gen.Load(), c.event(Open, now, TripWhen, "TripWhen said so"), v})
	}
}

func (c *Circuit) metRatio(now time.Duration) (reason, detail string) {
	if c.window == nil {
		return "", ""
	}
	sum := c.window.Sum(now)
	if sum.Requests < c.cfg.MinRequests {
		return "", ""
	}
	met := func(part int, ratio float64) bool {
		return ratio > 0 && float64(part)/float64(sum.Requests) >= ratio
	}
	switch {
	case met(sum.Failures, c.cfg.FailureRatio):
		return FailureRatio, fmt.Sprintf("%d of %s failed", sum.Failures, count(sum.Requests, "request"))
	case met(sum.Slow, c.cfg.SlowRatio):
		return SlowRatio, fmt.Sprintf("%d of %s took longer than %v", sum.Slow, count(sum.Requests, "request"), c.cfg.SlowAfter)
	}
	return "", ""
}

// lock takes the lock, settles what is due by now, and asks TripWhen the questions that are left.
func (c *Circuit) lock(by *Cause, now time.Duration) {
	c.mu.Lock()
	c.settle(by.Context, now)
	for len(c.asks) > 0 {
		c.askTripWhen(by)
	}
}

// unlock asks TripWhen the questions that are left, and then unlocks.
func (c *Circuit) unlock(by *Cause) {
	for len(c.asks) > 0 {
		c.askTripWhen(by)
	}
	c.leave(by)
}

// leave moves what has changed under the lock to by, and unlocks. It asks TripWhen nothing.
func (c *Circuit) leave(by *Cause) {
	if c.memory != &blank {
		by.Events = append(by.Events, c.events...)
		by.Released = by.Released || c.released
		c.events, c.released = nil, false
	}
	c.mu.Unlock()
}

// askTripWhen asks TripWhen the first of the questions. It releases the lock meanwhile. If TripWhen
// panics, the lock is not held.
func (c *Circuit) askTripWhen(by *Cause) {
	q := c.asks[0]
	c.asks = c.asks[1:]
	tripWhen := c.cfg.TripWhen // which may change meanwhile
	c.leave(by)
	met := tripWhen(q.trip.Counts)
	c.mu.Lock()
	if met && q.gen == c.gen.Load() && c.cfg.TripWhen != nil && !c.forced && !c.evicted {
		c.judge.trip(by.Context, q.trip, q.v)
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
