package circuit

import "time"

// waiting is a request whose answer is timed: a probe, or a request that counts
// as slow while it still hangs.
type waiting struct {
	since      time.Duration
	prev, next *waiting
	queued     bool
	waited
}

// waited is what came of it.
type waited struct {
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
	*w = waiting{since: now, prev: q.last, queued: true}
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
