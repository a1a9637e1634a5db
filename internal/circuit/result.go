package circuit

import (
	"fmt"
	"math"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/window"
)

// Verdict is how a request ended.
type Verdict struct {
	Outcome    Outcome
	Whole      bool          // a success has no body that could still fail
	ErrorType  string        // of a failure, for its total
	Detail     string        // of a failure, for people
	RetryAfter time.Duration // that a failure asked for; 0 if it did not
}

// over is the generation of those calls whose own was over when they ended: what
// comes of their bodies belongs to none.
var over generation

// Done takes the verdict on a call and frees its slot. It returns false if that
// does not count at all: the call was a probe that had timed out, or its verdict
// has been given before.
func (c *Circuit) Done(by *Cause, now time.Duration, call *Call, v Verdict) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if call.done {
		return false
	}
	if w := call.wait; w != nil && now-w.since <= c.patience() {
		c.waiting.remove(w) // answered in time: settle must not give it up
	}
	c.settle(by, now)
	call.done = true
	w := c.waiting.end(call)
	g := call.gen
	if g != c.gen.Load() {
		c.stale--
		call.gen = &over
		if !w.timedOut {
			c.past.count(v)
		}
		return !w.timedOut
	}
	switch v.Outcome {
	case Success:
		c.success(now, call, w.bucket, v.Whole)
		if g.state == HalfOpen {
			c.probeSucceeded(by, now)
		}
	case Failure:
		c.held--
		c.judged++
		c.failed++
		c.past.count(v)
		if c.window != nil && g.state == Closed {
			c.countFailure(now, w.bucket)
		}
		c.fail(by, now, v)
	default:
		c.held--
		c.past.count(v)
		c.release(by)
		c.wake()
	}
	return true
}

// success counts a success of the current generation.
func (c *Circuit) success(now time.Duration, call *Call, slow int64, whole bool) {
	c.held--
	c.judged++
	c.past.Success++
	g := call.gen
	switch {
	case slow != 0:
		call.bucket = slow // counted as slow, while it hung
	case c.window != nil && g.state == Closed:
		call.bucket = c.window.Add(now, window.Counts{Requests: 1})
	}
	if whole && g.run.Load() != 0 { // a store costs as much as a lock
		g.run.Store(0)
	}
}

func (c *Circuit) probeSucceeded(by *Cause, now time.Duration) {
	if n := c.judged; n >= c.cfg.ProbeSuccesses {
		probes := c.gen.Load()
		c.close(by, now, ProbeSucceeded, count(n, "probe")+" succeeded")
		probes.led = c.gen.Load()
	}
	c.wake()
}

// countFailure counts a failure in the window. A call that was counted as slow
// is not counted again, while that is in the window.
func (c *Circuit) countFailure(now time.Duration, slow int64) {
	if !c.window.Fail(now, slow) {
		c.window.Add(now, window.Counts{Requests: 1, Failures: 1})
	}
}

// Ended tells that the body of a successful response has ended without an
// error, which breaks the run of failures.
func (c *Circuit) Ended(r Receipt) {
	if g := r.gen; g.state == Closed && g.run.Load() == 0 {
		return
	}
	c.mu.Lock()
	r.heir().run.Store(0)
	c.mu.Unlock()
}

// Late tells that a call that had succeeded has failed after all, in its body.
// It returns false, and counts nothing, if the circuit has been evicted meanwhile.
func (c *Circuit) Late(by *Cause, now time.Duration, r Receipt, v Verdict) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle(by, now)
	if c.evicted {
		return false // its totals have been handed on
	}
	c.past.count(v)
	g := r.heir()
	if g != c.gen.Load() {
		return true
	}
	if c.window != nil && g.state == Closed {
		c.window.Fail(now, r.bucket)
	} else if g == r.gen {
		c.failed++ // the success of a probe is not among the counts of the closed state
	}
	c.fail(by, now, v)
	return true
}

// heir is the generation that a late result belongs to: for a probe that counted,
// the closed one that it led to.
func (r Receipt) heir() *generation {
	if r.gen.led != nil {
		return r.gen.led
	}
	return r.gen
}

// fail takes the consequences of a failure in the current generation.
func (c *Circuit) fail(by *Cause, now time.Duration, v Verdict) {
	g := c.gen.Load()
	c.addFailure(g, now)
	if g.state == HalfOpen {
		c.reopen(by, now, ProbeFailed, "probe failed: "+v.Detail, v.RetryAfter)
		return
	}
	if c.forced {
		return
	}
	if c.askRules(by, now, v) && c.cfg.TripWhen != nil {
		c.askTripWhen(by, now, v)
	}
}

func (c *Circuit) addFailure(g *generation, at time.Duration) {
	c.failedUntil = max(c.failedUntil, at+min(c.cfg.Window, math.MaxInt64-at))
	g.run.Add(1)
}

// askRules opens the circuit if a rule is met, and reports whether it is still
// closed.
func (c *Circuit) askRules(by *Cause, now time.Duration, v Verdict) bool {
	reason, detail := c.metRule(now)
	if reason == "" {
		return true
	}
	c.trip(by, now, reason, detail, v)
	return false
}

func (c *Circuit) metRule(now time.Duration) (reason, detail string) {
	run := int(c.gen.Load().run.Load())
	if n := c.cfg.ConsecutiveFailures; n > 0 && run >= n {
		return ConsecutiveFailures, count(run, "failure") + " in a row"
	}
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

// askTripWhen asks the user's rule, without the lock.
func (c *Circuit) askTripWhen(by *Cause, now time.Duration, v Verdict) {
	g, counts := c.gen.Load(), c.counts(now)
	met := func() bool {
		c.mu.Unlock()
		defer c.mu.Lock()
		return c.cfg.TripWhen(counts)
	}()
	if met && g == c.gen.Load() && !c.forced && !c.evicted {
		c.trip(by, now, TripWhen, "TripWhen said so", v)
	}
}

// settle notices what became of the waiting requests by now, as of the moment
// when it happened: a probe that hung for ProbeTimeout has failed, a request
// that hung for SlowAfter is slow.
func (c *Circuit) settle(by *Cause, now time.Duration) {
	for c.due(now) {
		w := c.waiting.first
		at := w.since + c.patience()
		if c.State() == HalfOpen {
			c.giveUp(by, at)
			return
		}
		c.waiting.remove(w)
		w.bucket = c.window.Add(at, window.Counts{Requests: 1, Slow: 1})
		if !c.forced && c.askRules(by, at, Verdict{}) && c.cfg.TripWhen != nil {
			c.askTripWhen(by, at, Verdict{})
		}
	}
}

// giveUp fails the probes that have hung for ProbeTimeout by then, all of which
// began together.
func (c *Circuit) giveUp(by *Cause, at time.Duration) {
	for c.due(at) {
		w := c.waiting.first
		c.waiting.remove(w)
		w.timedOut = true
		c.judged++
		c.failed++
		c.addFailure(c.gen.Load(), at)
		c.past.count(Verdict{Outcome: Failure, ErrorType: "timeout"})
	}
	c.reopen(by, at, ProbeTimedOut, fmt.Sprintf("probe unanswered for %v", c.cfg.ProbeTimeout), 0)
}

// due reports whether there is something to settle.
func (c *Circuit) due(now time.Duration) bool {
	w := c.waiting.first
	return w != nil && now-w.since >= c.patience()
}

// patience is how long the requests in the queue are waited for.
func (c *Circuit) patience() time.Duration {
	if c.State() == HalfOpen {
		return c.cfg.ProbeTimeout
	}
	return c.cfg.SlowAfter
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
