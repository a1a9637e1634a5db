package circuit

import (
	"context"
	"time"
)

// A judgement is what a policy makes of requests: when a circuit opens, for how
// long, and how it closes again. The circuit counts and knows what is in flight;
// its judgement decides. The methods are called with the circuit's lock held.
type judgement interface {
	// admissible reports whether a request would be admitted. It asks to be, or
	// only wants to know.
	admissible(ctx context.Context, now time.Duration, mayProbe, asks bool) (Refusal, bool)

	// admitted takes in that an admissible request is about to be sent.
	admitted(ctx context.Context, now time.Duration)

	// ended takes in how a request has ended. It is accounted for already.
	ended(ctx context.Context, now time.Duration, e ending)

	// trip opens a closed circuit, because one of the rules is met.
	trip(ctx context.Context, e Event, v Verdict)

	// recovered closes a circuit because its host is healthy.
	recovered(ctx context.Context, e Event)

	// adopted opens the circuit, because other processes have found its host down.
	adopted(ctx context.Context, e Event)

	// settle notices what time alone has brought about.
	settle(ctx context.Context, now time.Duration)

	// road says whether a closed circuit admits requests without a decision, and
	// how many may be in flight then; 0 means any number.
	road() (free bool, room uint64)

	// limit is how many requests a closed circuit admits at once while it recovers;
	// 0 means any number.
	limit() int

	// forget drops all that the judgement remembers. An outage that is not reported
	// yet is reported first.
	forget(ctx context.Context)
}

// An ending is how a request ended, for a judgement.
type ending struct {
	Verdict
	took  time.Duration // of a probe
	in    int           // requests in flight before it ended, of its generation
	stale bool          // it belongs to an earlier generation
	late  bool          // in the body of a response that has been taken in as a success
}
