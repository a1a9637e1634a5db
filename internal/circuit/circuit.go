// Package circuit is the state machine of a circuit breaker. It knows neither
// HTTP nor a clock: a caller says what happened and when, as the time since an
// origin of its own choice.
//
// A closed circuit without a window or a ramp admits a request and counts its
// success without a lock, by one atomic addition each ([Circuit.Enter] and
// [Circuit.Succeed]); with a window it takes the lock for a moment
// ([Circuit.EnterAt] and [Circuit.SucceedAt]). All else is decided under the lock,
// at length ([Circuit.Admit] and [Circuit.Done]).
package circuit

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/window"
)

// State of a circuit.
type State uint8

const (
	Closed State = iota
	Open
	HalfOpen
)

// Outcome of a request.
type Outcome uint8

const (
	Ignored Outcome = iota
	Success
	Failure
)

// Counts are what the rules are asked about.
type Counts struct {
	Requests, Failures, Slow, ConsecutiveFailures int
}

// Config is a policy with every default filled in. It is not changed once it is
// in use, and may be shared between circuits.
type Config struct {
	ConsecutiveFailures int     // 0 or less: no such rule
	FailureRatio        float64 // 0: no such rule
	SlowRatio           float64 // 0: no such rule
	SlowAfter           time.Duration
	MinRequests         int
	Window              time.Duration
	TripWhen            func(Counts) bool

	OpenFor    time.Duration
	OpenGrowth float64
	MaxOpenFor time.Duration
	Jitter     float64

	Probes         int
	ProbeSuccesses int
	ProbeTimeout   time.Duration

	Ramp time.Duration

	Elect bool // ask others before a probe: see Elect

	Rand func() float64 // nil means rand.Float64
}

// windowed says that the rules need a sliding window, and so a clock.
func (c *Config) windowed() bool {
	return c.FailureRatio > 0 || c.SlowRatio > 0 || c.TripWhen != nil
}

// timed says that a request counts as slow while it still hangs.
func (c *Config) timed() bool { return c.windowed() && c.SlowAfter > 0 }

func (c *Config) rand() float64 {
	if c.Rand != nil {
		return c.Rand()
	}
	return rand.Float64()
}

// Event is a change of state.
type Event struct {
	From, To State
	At       time.Duration
	Reason   string
	Detail   string // for people
	OpenFor  time.Duration
	Counts   Counts // of From, as it ended
}

// Why a circuit changed its state.
const (
	ConsecutiveFailures = "consecutive_failures"
	FailureRatio        = "failure_ratio"
	SlowRatio           = "slow_ratio"
	TripWhen            = "trip_when"
	OpenElapsed         = "open_elapsed"
	ProbeSucceeded      = "probe_succeeded"
	ProbeFailed         = "probe_failed"
	ProbeTimedOut       = "probe_timeout"
	Forced              = "forced"
	WasReset            = "reset"
	Shared              = "shared"
)

// A Recorder is told of each change of a circuit, in order. It is called with
// the circuit's lock held and must not use the circuit.
type Recorder interface {
	Record(ctx context.Context, e Event)
}

// Cause is the request, or other call, on whose behalf a circuit is used.
type Cause struct {
	Context  context.Context // handed to the Recorder
	Events   []Event         // what the cause has changed, in order
	Released bool            // it gave up the right to probe, without a verdict
}

// A Circuit must be made by [New]. Its methods may be called concurrently.
type Circuit struct {
	// What a request to a closed circuit looks at comes first, side by side.
	gen   atomic.Pointer[generation]
	first generation // most circuits never have another one

	cfg *Config
	rec Recorder

	mu          sync.Mutex
	since       time.Duration  // the state was entered
	until       time.Duration  // end of an open state
	own         time.Duration  // the same, if it is this process's own
	ramped      time.Duration  // end of a ramp, 0 if there is none
	failedUntil time.Duration  // end of the Window after the latest failure
	detail      string         // of the latest opening
	window      *window.Window // nil unless the rules need one
	waiting     queue          // probes in flight; or requests that are not slow yet
	changed     chan struct{}  // closed when a refused request might be admitted; nil if nobody waits
	past        Totals         // of all that the current generation's atomics do not count
	level       int            // failed probes in a row: the exponent of growth
	held        int            // requests of this generation admitted under the lock, less those ended under it
	judged      int            // successes and failures of this generation, under the lock
	failed      int            // failures of this generation, late ones too
	stale       int            // requests of earlier generations in flight
	forced      bool
	evicted     bool
	electing    bool          // a request asks whether this process may probe
	elected     time.Duration // this process may probe until then, in this generation
}

// A generation is a stay in one state. A request carries the generation it was
// admitted in, so that its result changes no other.
type generation struct {
	started   counter
	succeeded counter
	free      atomic.Bool // admits without a lock; written under the lock
	plain     bool        // counts successes without a lock
	timed     bool        // times its requests, and so takes the lock to admit
	state     State
	run       atomic.Int64             // failures in a row; written under the lock
	refused   counter                  // without a lock
	refusing  atomic.Pointer[refusing] // without a lock; nil where it takes one; written under the lock
	led       *generation              // the closed generation that this half-open one led to; under the lock
}

// refusing is why, and for how long, an open circuit refuses every request.
type refusing struct {
	until  time.Duration
	detail string
}

// A counter counts until it is ended. To end it and to count is atomic: nothing
// is counted for a generation that is over.
type counter struct{ n atomic.Uint64 }

const ended = 1 << 63

func (c *counter) add() bool    { return c.n.Add(1) < ended }
func (c *counter) end() uint64  { return c.n.Or(ended) &^ ended }
func (c *counter) load() uint64 { return c.n.Load() &^ ended }

// A Call is an admitted request.
type Call struct {
	Receipt
	wait *waiting // of a probe, or where the request may yet count as slow
	done bool     // the verdict has been given
}

// A Receipt is what remains of a Call that has succeeded: enough to take that
// back.
type Receipt struct {
	gen    *generation
	bucket int64 // of the window that counted it
}

// New returns a closed circuit. The recorder may be nil.
func New(cfg *Config, rec Recorder, now time.Duration) *Circuit {
	c := &Circuit{}
	c.Init(cfg, rec, now)
	return c
}

// Init makes c a closed circuit, for those who embed one.
func (c *Circuit) Init(cfg *Config, rec Recorder, now time.Duration) {
	c.cfg, c.rec = cfg, rec
	c.since = now
	if cfg.windowed() {
		c.window = window.New(cfg.Window)
	}
	c.start(&c.first, Closed)
}

// start makes g the current generation.
func (c *Circuit) start(g *generation, s State) {
	g.state = s
	g.timed = s == Closed && c.cfg.timed()
	g.plain = s == Closed && c.window == nil
	g.free.Store(s == Closed && c.ramped == 0 && !g.timed)
	c.gen.Store(g)
}

// State returns the state without regard to the time: an open circuit whose
// time is up is open until it admits its first probe.
func (c *Circuit) State() State { return c.gen.Load().state }
