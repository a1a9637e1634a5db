package circuit

import (
	"sync"
	"time"
)

// waiting is a request whose answer is timed: a probe, or a request that counts
// as slow while it still hangs.
type waiting struct {
	since      time.Duration
	prev, next *waiting
	queue      *queue // that holds it
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
	len         int
}

var pool = sync.Pool{New: func() any { return new(waiting) }}

func (q *queue) push(now time.Duration) *waiting {
	w := pool.Get().(*waiting)
	*w = waiting{since: now, prev: q.last, queue: q}
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
	if w.queue != q {
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
	w.prev, w.next, w.queue = nil, nil, nil
	q.len--
}

// end is the end of a call's wait.
func (call *Call) end() waited {
	w := call.wait
	if w == nil {
		return waited{}
	}
	if w.queue != nil {
		w.queue.remove(w)
	}
	call.wait = nil
	defer pool.Put(w)
	return w.waited
}

// clear takes all out.
func (q *queue) clear() {
	for q.first != nil {
		q.remove(q.first)
	}
}
