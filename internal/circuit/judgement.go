package circuit

import (
	"context"
	"time"
)

// A judgement decides, for a policy, when a circuit opens, for how long, and how it closes again.
// The circuit counts, and knows what is in flight. Its lock is held when a method is called.
type judgement interface {
	// admissible reports whether a request would be admitted. If asks is false, the request only
	// wants to know that, and changes nothing.
	admissible(ctx context.Context, now time.Duration, mayProbe, asks bool) (Refusal, bool)

	// admitted is called when an admissible request is about to be sent.
	admitted(ctx context.Context, now time.Duration)

	// ended is called when a request has ended, after it has been counted.
	ended(ctx context.Context, now time.Duration, e ending)

	// trip opens a closed circuit, because one of the rules is met.
	trip(ctx context.Context, e Event, v Verdict)

	// recovered closes a circuit because its host is healthy.
	recovered(ctx context.Context, e Event)

	// adopted opens the circuit, because other processes have found its host down.
	adopted(ctx context.Context, e Event)

	// settle does what has become due by now, because of time alone.
	settle(ctx context.Context, now time.Duration)

	// road reports whether a closed circuit admits requests without a decision, and with fewer than
	// how many in flight; 0 means with any number.
	road() (free bool, room uint64)

	// limit returns how many requests a closed circuit admits at once while it recovers; 0 means
	// any number.
	limit() int

	// forget drops all that the judgement remembers. An outage that is not recorded
	// yet is recorded first.
	forget(ctx context.Context)
}

// An ending is how a request ended, for a judgement.
type ending struct {
	Verdict
	took  time.Duration // of a probe
	in    int           // requests of its generation in flight, itself included
	stale bool          // it belongs to an earlier generation
	late  bool          // in the body of a response that has counted as a success
}
