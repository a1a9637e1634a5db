package circuit

import (
	"context"
	"time"
)

// waiting is a request whose answer is timed: a probe, or a request that counts
// as slow while it still hangs.
type waiting struct {
	prev, next *waiting
	queued     bool
	waited
}

// waited is what remains of a waiting request after it has ended.
type waited struct {
	since    time.Duration
	bucket   int64 // bucket of the window that counted it as slow; 0 if none did
	timedOut bool  // it is a probe that has timed out
}

// queue holds the requests that wait, the oldest first.
type queue struct {
	first, last *waiting
	spare       *waiting // for reuse; chained by next
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

// end ends the wait of a call, which may have none.
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

// clear takes all requests out.
func (q *queue) clear() {
	for q.first != nil {
		q.remove(q.first)
	}
}

// settle does what has become due by now, as of the moment when it became due: a request that hung
// for SlowAfter is slow, a probe that hung for ProbeTimeout has failed, and the time that a host
// asked for is over. Nothing becomes due for an evicted circuit: its successor may have changed its
// state already.
func (c *Circuit) settle(ctx context.Context, now time.Duration) {
	if c.evicted {
		return
	}
	for c.State() == Closed && c.due(now) {
		w := c.waiting.first
		at := w.since + c.cfg.SlowAfter
		c.waiting.remove(w)
		w.bucket = c.window.Add(at, windowCounts{Requests: 1, Slow: 1})
		c.askRules(ctx, at, Verdict{})
	}
	if c.limited && now >= c.until && !c.forced {
		c.judge.recovered(ctx, c.event(Closed, c.until, OpenElapsed, "the time that the host has asked for is over"))
	}
	c.judge.settle(ctx, now)
}

// due reports whether the oldest waiting request has waited for too long.
func (c *Circuit) due(now time.Duration) bool {
	w := c.waiting.first
	return w != nil && now-w.since >= c.patience()
}

// patience returns how long a request may wait in the queue.
func (c *Circuit) patience() time.Duration {
	if c.State() == HalfOpen {
		return c.cfg.ProbeTimeout
	}
	return c.cfg.SlowAfter
}
