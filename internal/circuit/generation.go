package circuit

import (
	"sync/atomic"
	"time"
)

// A generation is a stay in one state. A request carries the generation it was
// admitted in, so that its result changes no other.
type generation struct {
	// The fields that a request to a closed circuit uses come first, so that they share a cache
	// line, and then those of a refusal.
	started   counter       // requests admitted
	succeeded counter       // those that ended as successes, without the lock
	run       atomic.Int64  // failures in a row; written under the lock
	road      atomic.Uint32 // the flags below; written under the lock
	state     State

	refusing  atomic.Pointer[refusing] // without the lock; nil where it takes one; written under the lock
	refused   counter                  // without the lock
	room      atomic.Uint64            // so many in flight need a decision; 0: any number needs none; written under the lock
	ended     atomic.Int64             // requests that ended otherwise than counted in succeeded; written under the lock
	runAt     time.Duration            // when a failure was last added to the run, or never; under the lock
	runNumber uint64                   // number of requests admitted by then; under the lock
	led       *generation              // the closed generation that this half-open one led to; under the lock
}

// The flags of a generation's road say how it admits requests and counts successes.
const (
	free  = 1 << iota // it admits without a decision, if there is room
	timed             // it times its requests, and so takes the lock to admit
	plain             // it counts successes without the lock
	quick             // it admits by TryEnter: it is free, there is always room, and it is not timed
)

func (g *generation) has(flag uint32) bool { return g.road.Load()&flag != 0 }

// refusing says why, and until when, an open circuit refuses every request without
// the lock.
type refusing struct {
	until   time.Duration // the open time ends
	decide  time.Duration // from then on, requests take the lock to be decided
	unknown bool          // the open time may end sooner
	detail  string        // what opened the circuit
	why     string        // why the circuit may probe after that; "" means because the time is over
}

// retryAfter returns the time until the open time ends, or 0 if that is unknown. r may be nil: the
// circuit can have become half-open between a request's look at the clock and its decision.
func (r *refusing) retryAfter(now time.Duration) time.Duration {
	if r == nil || r.unknown {
		return 0
	}
	return r.until - now
}

// A counter counts until it is closed. Closing it is atomic, so that it counts nothing for a
// generation that is over.
type counter struct{ n atomic.Uint64 }

const counterClosed = 1 << 63

// add adds 1, and returns the new count, or false if the counter is closed.
func (c *counter) add() (uint64, bool) {
	n := c.n.Add(1)
	return n, n < counterClosed
}

// close closes the counter, and returns its count.
func (c *counter) close() uint64 { return c.n.Or(counterClosed) &^ counterClosed }

func (c *counter) load() uint64 { return c.n.Load() &^ counterClosed }
