package circuit

import "time"

// waiting is a request whose answer is timed: a probe, or a request that counts
// as slow while it still hangs.
type waiting struct {
	prev, next *waiting
	queued     bool
	waited
}

// waited is what came of it.
type waited struct {
	since    time.Duration
	bucket   int64 // of the window, where it counted as slow
	timedOut bool  // a probe that has been given up
}

// queue holds the requests that wait, the oldest first.
type queue struct {
	first, last *waiting
	spare       *waiting // used up, to be used again: chained by next
	len         int
}

func (q *queue) push(now time.Duration) *waiting {
	w := q.spare
	if w != nil {
		q.spare = w.next
	} else {
		w = new(waiting)
	}
	*w = waiting{prev: q.last, queued: true, waited: waited{since: now}}
	if q.last != nil {
		q.last.next = w
	} else {
		q.first = w
	}
	q.last = w
	q.len++
	return w
}

// remove takes w out, if it is still in.
func (q *queue) remove(w *waiting) {
	if !w.queued {
		return
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.last = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	q.len--
}

// end is the end of a call's wait.
func (q *queue) end(call *Call) waited {
	w := call.wait
	if w == nil {
		return waited{}
	}
	q.remove(w)
	call.wait = nil
	w.next, q.spare = q.spare, w
	return w.waited
}

// clear takes all out.
func (q *queue) clear() {
	for q.first != nil {
		q.remove(q.first)
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
		w.bucket = c.window.Add(at, windowCounts{Requests: 1, Slow: 1})
		c.askRules(by, at, Verdict{})
	}
}

// giveUp fails the probes that have hung for ProbeTimeout by then, all of which
// began together.
func (c *Circuit) giveUp(by *Cause, at time.Duration) {
	g := c.gen.Load()
	for c.due(at) {
		w := c.waiting.first
		c.waiting.remove(w)
		w.timedOut = true
		c.judged++
		c.failed++
		g.addToRun(at)
		c.past.count(Verdict{Outcome: Failure, ErrorType: "timeout"})
	}
	c.failedAt = max(c.failedAt, at)
	c.reopen(by, c.event(Open, at, ProbeTimedOut, "probe unanswered for "+c.cfg.ProbeTimeout.String()), 0)
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
