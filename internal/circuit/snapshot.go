package circuit

import (
	"slices"
	"time"
)

// Snapshot describes a circuit at a moment.
type Snapshot struct {
	State    State // an open circuit whose time is up is half-open
	Forced   bool
	Since    time.Duration // State was entered
	Until    time.Duration // if State is Open and not Forced; 0 if it is unknown
	Detail   string        // of the latest opening
	Counts   Counts
	Totals   Totals
	InFlight int
	Config   *Config
	Limit    int // in flight while an adaptive circuit recovers; 0 means no bound
}

// Totals are counted since the circuit was made. They never go down.
type Totals struct {
	Success, Ignored, Limited, Refused uint64
	Failures                           []ErrorTotal // by error type, the first to occur first
}

// ErrorTotal counts the failures of a type.
type ErrorTotal struct {
	Type  string
	Count uint64
}

// maxErrorTypes bounds the memory that a host can take up by its choice of status codes. All
// further types are counted as otherErrors.
const (
	maxErrorTypes = 16
	otherErrors   = "_OTHER"
)

// Failure is the sum of all types.
func (t *Totals) Failure() (sum uint64) {
	for _, f := range t.Failures {
		sum += f.Count
	}
	return sum
}

func (t *Totals) count(v Verdict) {
	switch v.Outcome {
	case Success:
		t.Success++
	case Failure:
		t.Fail(v.ErrorType, 1)
	case Limited:
		t.Limited++
	default:
		t.Ignored++
	}
}

// Fail adds n failures of a type.
func (t *Totals) Fail(errorType string, n uint64) {
	i := slices.IndexFunc(t.Failures, func(f ErrorTotal) bool { return f.Type == errorType })
	switch {
	case i >= 0:
		t.Failures[i].Count += n
	case len(t.Failures) < maxErrorTypes-1 || errorType == otherErrors:
		t.Failures = append(t.Failures, ErrorTotal{errorType, n})
	default:
		t.Fail(otherErrors, n)
	}
}

// Add adds the totals of another circuit.
func (t *Totals) Add(u Totals) {
	t.Success += u.Success
	t.Ignored += u.Ignored
	t.Limited += u.Limited
	t.Refused += u.Refused
	for _, f := range u.Failures {
		t.Fail(f.Type, f.Count)
	}
}

// Snapshot describes the circuit now. It never calls TripWhen: if it finds that a request has
// become slow, the next request asks TripWhen about that.
func (c *Circuit) Snapshot(by *Cause) Snapshot {
	now := c.owner.Now()
	c.mu.Lock()
	defer c.leave(by)
	c.settle(by.Context, now)
	g := c.gen.Load()
	s := Snapshot{
		State:    g.state,
		Forced:   c.forced,
		Since:    c.since,
		Detail:   c.detail,
		Counts:   c.counts(now),
		Totals:   c.totals(),
		InFlight: c.stale + c.inFlight(g),
		Limit:    c.judge.limit(),
		Config:   c.cfg,
	}
	if s.State == Open && !c.forced {
		switch {
		case c.probing != never:
			s.State, s.Since = HalfOpen, c.probing
		case now >= c.until:
			s.State, s.Since = HalfOpen, c.until
		case !g.refusing.Load().unknown:
			s.Until = c.until
		}
	}
	return s
}

// inFlight returns how many requests of g are in flight. It reads the counters again if a success
// has been counted meanwhile, because this goroutine may have had to wait between two loads.
func (c *Circuit) inFlight(g *generation) int {
	if c.evicted {
		return 0 // Enter still counts the requests that it does not admit
	}
	for {
		succeeded := g.succeeded.load()
		n := int(g.started.load()-succeeded) - int(g.ended.Load())
		if succeeded == g.succeeded.load() {
			return n
		}
	}
}

func (c *Circuit) totals() Totals {
	t := c.past
	t.Success += c.gen.Load().succeeded.load()
	t.Refused += c.gen.Load().refused.load()
	t.Failures = slices.Clone(t.Failures)
	return t
}

// counts returns the counts of the window, if the circuit is closed and has one, and otherwise
// those of the generation.
func (c *Circuit) counts(now time.Duration) Counts {
	g := c.gen.Load()
	run := int(g.run.Load())
	if c.window != nil && g.state == Closed {
		sum := c.window.Sum(now)
		return Counts{sum.Requests, sum.Failures, sum.Slow, run}
	}
	return Counts{
		Requests:            int(g.succeeded.load()) + c.judged,
		Failures:            c.failed,
		ConsecutiveFailures: run,
	}
}
