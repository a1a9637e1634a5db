// Package circuit is the state machine of a circuit breaker. It knows neither
// HTTP nor telemetry.
//
// [Circuit.Enter] admits a request to a closed circuit, and [Circuit.Succeed] counts
// its success. For most policies neither takes a lock or reads the clock. [Circuit.TryEnter]
// and [Circuit.TrySucceed] are their inlined parts, which are enough for these policies. If
// Enter returns false, there is something to decide, and the caller calls [Circuit.Admit],
// which decides under the lock. An open circuit needs no decision before its open time is over:
// [Circuit.Refuse] refuses. If Succeed returns false, or the request has not succeeded,
// the caller calls [Circuit.Done]. If processes share the circuit, Admit may begin an
// election, which the caller ends by [Circuit.Elected].
package circuit

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
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
	Limited // the host is healthy, and asks for less
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

	MaxInFlight   int           // 0: no bound
	MaxRetryAfter time.Duration // that a host may ask for

	Adaptive bool
	Silence  time.Duration // 0: depends on the request's deadline; negative: never

	Elect bool // ask other processes before a probe: see the decision Elect

	Rand func() float64 // nil means rand.Float64

	Source any // the caller's own policy, for the caller of Snapshot
}

// windowed reports whether the rules need a sliding window, and so a clock.
func (c *Config) windowed() bool {
	return c.FailureRatio > 0 || c.SlowRatio > 0 || c.TripWhen != nil
}

// timed reports whether a request counts as slow while it still hangs: only where a rule asks for
// slow requests.
func (c *Config) timed() bool { return c.SlowAfter > 0 && (c.SlowRatio > 0 || c.TripWhen != nil) }

func (c *Config) rand() float64 {
	if c.Rand != nil {
		return c.Rand()
	}
	return rand.Float64()
}

// An Owner has the clock of a circuit, and records each change of its state.
type Owner interface {
	// Now is the time since an origin of the owner's choice.
	Now() time.Duration

	// TimeLeft is the time until the deadline of ctx, if it has one.
	TimeLeft(ctx context.Context) (time.Duration, bool)

	// Record is called for each change of state, in order. The circuit's lock is held, so Record
	// must not use the circuit.
	Record(ctx context.Context, e Event)
}

// Cause is the request, or other call, that uses a circuit. It collects the changes that it causes.
type Cause struct {
	Context  context.Context // for Owner
	Events   []Event         // changes of state, in order
	Released bool            // the circuit gave up the right to probe, without a verdict
}

// A Circuit must be made by [Circuit.Init]. Its methods may be called concurrently.
type Circuit struct {
	// The fields that a request to a closed circuit reads come first, so that they share a cache
	// line.
	gen   atomic.Pointer[generation]
	first generation // most circuits never have another one

	cfg   *Config
	judge judgement

	mu      sync.Mutex
	since   time.Duration // the state was entered
	evicted bool
	*memory // blank, or the circuit's own: see remember

	owner Owner // last, because a refusal also reads the fields that follow the circuit in its owner
}

// A memory is what a circuit knows beyond its state and its successes. The circuits of healthy
// hosts, which are most circuits, have nothing to remember, and share a blank memory.
type memory struct {
	until      time.Duration // end of an open state
	own        time.Duration // end of the open state that this process has decided on by itself
	openedAt   time.Duration // by this process or by others, whichever was later
	openFor    time.Duration // how long the latest open state lasted; 0 if growth has nothing to remember
	ramped     time.Duration // end of a ramp, 0 if there is none
	failedAt   time.Duration // the latest failure; never if there is none
	usedAt     time.Duration // the latest request that was decided, or ended, while the circuit was not closed
	detail     string        // of the latest opening
	window     *window       // nil unless the rules need one
	expired    int64         // the highest number of a bucket of earlier windows
	waiting    queue         // if half-open, probes in flight; if closed, requests that are not slow yet
	changed    chan struct{} // closed when a refused request might be admitted; nil if nobody waits
	asks       []ask         // questions for TripWhen, to be asked once the lock is free
	events     []Event       // changes under this lock, for the cause
	past       Totals        // all requests that the counters of the current generation do not count
	level      int           // failed probes in a row: the exponent of growth
	probing    time.Duration // since when a probe of an open, adaptive circuit is out; never if none is
	judged     int           // successes and failures of this generation, under the lock
	failed     int           // failures of this generation, late ones too
	stale      int           // requests of earlier generations in flight
	released   bool          // the right to probe was given up under this lock, without a verdict
	forced     bool
	hastened   bool          // it may probe early, because others have recovered
	limited    bool          // it is open because the host asked for less
	unrecorded bool          // it is open, and that has not been recorded yet: see Event.Unrecorded
	electing   bool          // a request asks whether this process may probe
	spared     time.Duration // until then no recovery of others hastens it
	elected    time.Duration // this process may probe until then, in this generation
}

// blank is never written to.
var blank = memory{failedAt: never, probing: never}

// remember gives the circuit a memory of its own, which it keeps. It must be called before anything
// is written to the memory. The caller holds the lock.
func (c *Circuit) remember() {
	if c.memory == &blank {
		m := blank
		c.memory = &m
	}
}

// never is before every time.
const never = time.Duration(-1) << 62

// A Call is a request. A circuit that admits the request fills it in; the zero Call is not
// admitted.
type Call struct {
	Receipt
	wait *waiting // nil unless the request is a probe, or may still count as slow
	done bool     // the verdict has been given
}

// Admitted reports whether a circuit has admitted the call.
func (c *Call) Admitted() bool { return c.gen != nil }

// A Receipt is the part of a Call that [Circuit.Ended] and [Circuit.Late] need.
type Receipt struct {
	gen    *generation
	number uint64 // among the requests of its generation, from 1 on
	bucket int64  // of the window that counted it
}

// Init makes c a closed circuit.
func (c *Circuit) Init(cfg *Config, owner Owner) {
	c.cfg, c.owner = cfg, owner
	c.since = owner.Now()
	c.memory = &blank
	if cfg.windowed() {
		c.remember()
		c.window = newWindow(cfg.Window)
	}
	c.judge = c.newJudgement()
	c.start(&c.first, Closed)
}

func (c *Circuit) newJudgement() judgement {
	if c.cfg.Adaptive {
		return newAdaptive(c)
	}
	return classic{c}
}

// start makes g the current generation.
func (c *Circuit) start(g *generation, s State) {
	g.state, g.runAt = s, never
	c.gen.Store(g)
	c.setRoad()
}

// setRoad sets which requests the current generation admits and counts without a decision. It must
// be called when anything that this depends on has changed.
func (c *Circuit) setRoad() {
	g := c.gen.Load()
	ok, room := c.judge.road()
	var road uint32
	if g.state == Closed && c.cfg.timed() {
		road |= timed
	}
	if ok && g.state == Closed && c.cfg.MaxInFlight == 0 {
		road |= free
		if c.window == nil {
			road |= plain
		}
		if room == 0 && road&timed == 0 {
			road |= quick
		}
	}
	g.room.Store(room)
	g.road.Store(road)
}

// State returns the state, whatever the time is: a circuit whose open time is over stays open until
// it admits its first probe.
func (c *Circuit) State() State { return c.gen.Load().state }

// Run returns the number of failures in a row in the present state. It takes no lock.
func (c *Circuit) Run() int { return int(c.gen.Load().run.Load()) }

// after returns t + d, or the longest Duration if that is longer.
func after(t, d time.Duration) time.Duration {
	if sum := t + d; sum >= t {
		return sum
	}
	return 1<<63 - 1
}
