package circuit_test

import (
	"math"
	"slices"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// model is a circuit by the book: it remembers all that has happened, and works
// the answer to every question out from the beginning. It shares nothing with
// the implementation but the words.
type model struct {
	cfg      circuit.Config // read only: what was asked for
	rand     func() float64
	stays    []*stay
	requests []*request
	types    []string        // of all failures, in order
	noted    []time.Duration // when failures were taken into account since the latest reset
	refused  uint64
	used     time.Duration // the latest use while it was not closed
	forced   bool
	evicted  bool
	events   []circuit.Event
	asked    []circuit.Counts // of TripWhen
	toAsk    []question       // that TripWhen has not been asked yet
}

// question is one for TripWhen, about the present stay.
type question struct {
	at, retryAfter time.Duration
	counts         circuit.Counts
}

// stay is a time spent in a state: a generation.
type stay struct {
	state  circuit.State
	since  time.Duration
	until  time.Duration // open: end; closed: end of the ramp
	reason string
	marks  []mark
	last   *growth // the latest failure that was added to the run
}

// growth is when a failure was added to the run, and the requests begun by then.
type growth struct {
	at    time.Duration
	begun int
}

// mark is what bears on the run of failures.
type mark bool

const (
	failed  mark = true
	unmoved mark = false // a response that ended without an error
)

type request struct {
	in       *stay
	at       time.Duration
	over     bool // it has been answered
	stale    bool // it was answered after its stay
	timedOut bool
	outcome  circuit.Outcome
	failed   bool  // at once or late
	slow     bool  // while it hung
	counted  bool  // in the window
	bucket   int64 // there
}

func newModel(cfg circuit.Config, now time.Duration) *model {
	return &model{cfg: cfg, stays: []*stay{{state: circuit.Closed, since: now}}}
}

func (m *model) current() *stay { return m.stays[len(m.stays)-1] }

func (m *model) windowed() bool {
	return m.cfg.FailureRatio > 0 || m.cfg.SlowRatio > 0 || m.cfg.TripWhen != nil
}

// patience is how long an answer may take: a request that takes longer is slow,
// a probe has failed.
func (m *model) patience() time.Duration {
	switch {
	case m.current().state == circuit.HalfOpen:
		return m.cfg.ProbeTimeout
	case m.windowed() && m.cfg.SlowAfter > 0:
		return m.cfg.SlowAfter
	}
	return math.MaxInt64
}

// notice does what the passing of time has done by now.
func (m *model) notice(now time.Duration) {
	for {
		var oldest *request
		for _, r := range m.requests {
			if r.in == m.current() && !r.over && !r.slow && (oldest == nil || r.at < oldest.at) {
				oldest = r
			}
		}
		if oldest == nil || now-oldest.at < m.patience() {
			return
		}
		at := oldest.at + m.patience()
		if m.current().state == circuit.HalfOpen {
			for _, r := range m.requests {
				if r.in == m.current() && !r.over && r.at == oldest.at && r != oldest { // they hang together
					r.timedOut, r.failed = true, true
					m.types = append(m.types, "timeout")
					m.addToRun(at)
				}
			}
			oldest.timedOut, oldest.failed = true, true
			m.types = append(m.types, "timeout")
			m.failure(at, circuit.ProbeTimedOut, 0)
			continue
		}
		oldest.slow = true
		m.countIn(oldest, at)
		m.ask(at, 0)
	}
}

func (m *model) bucketOf(at time.Duration) int64 { return int64(at / max(1, m.cfg.Window/10)) }

func (m *model) countIn(r *request, at time.Duration) { r.counted, r.bucket = true, m.bucketOf(at) }

// inWindow says that the bucket of r is among the last ten.
func (m *model) inWindow(r *request, now time.Duration) bool {
	return r.in == m.current() && r.counted && m.bucketOf(now)-r.bucket < 10
}

func (m *model) counts(now time.Duration) (n circuit.Counts) {
	window := m.windowed() && m.current().state == circuit.Closed
	for _, r := range m.requests {
		if r.in != m.current() {
			continue
		}
		answered := r.timedOut || r.over && (r.outcome == circuit.Success || r.outcome == circuit.Failure)
		if window && m.inWindow(r, now) || !window && answered {
			n.Requests++
			n.Failures += one(r.failed)
			n.Slow += one(window && r.slow)
		}
	}
	n.ConsecutiveFailures = m.run()
	return n
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (m *model) run() (n int) {
	for _, mark := range m.current().marks {
		n++
		if mark == unmoved {
			n = 0
		}
	}
	return n
}

// failure takes what follows from a failure of the current stay.
func (m *model) failure(at time.Duration, reason string, retryAfter time.Duration) {
	m.noted = append(m.noted, at)
	m.addToRun(at)
	if m.current().state == circuit.HalfOpen {
		m.open(at, reason, retryAfter)
		return
	}
	m.ask(at, retryAfter)
}

// ask asks the rules.
func (m *model) ask(at, retryAfter time.Duration) {
	if m.forced {
		return
	}
	n := m.counts(at)
	ratios := m.windowed() && n.Requests > 0 && n.Requests >= m.cfg.MinRequests
	switch {
	case m.cfg.ConsecutiveFailures > 0 && n.ConsecutiveFailures >= m.cfg.ConsecutiveFailures:
		m.open(at, circuit.ConsecutiveFailures, retryAfter)
	case ratios && m.cfg.FailureRatio > 0 && share(n.Failures, n) >= m.cfg.FailureRatio:
		m.open(at, circuit.FailureRatio, retryAfter)
	case ratios && m.cfg.SlowRatio > 0 && share(n.Slow, n) >= m.cfg.SlowRatio:
		m.open(at, circuit.SlowRatio, retryAfter)
	case m.cfg.TripWhen != nil:
		m.toAsk = append(m.toAsk, question{at, retryAfter, n})
	}
}

// askTripWhen asks what is to be asked, as the last thing that a request does.
func (m *model) askTripWhen() {
	for len(m.toAsk) > 0 {
		q := m.toAsk[0]
		m.toAsk = m.toAsk[1:]
		m.asked = append(m.asked, q.counts)
		if m.cfg.TripWhen(q.counts) {
			m.open(q.at, circuit.TripWhen, q.retryAfter)
			m.events[len(m.events)-1].Counts = q.counts
		}
	}
}

func share(part int, n circuit.Counts) float64 { return float64(part) / float64(n.Requests) }

// open opens the circuit: the growth depends on all stays up to this one.
func (m *model) open(at time.Duration, reason string, retryAfter time.Duration) {
	m.enter(&stay{state: circuit.Open, since: at, reason: reason}, at)
	d := min(max(m.grown(m.level()), retryAfter), m.cfg.MaxOpenFor)
	if m.cfg.Jitter > 0 {
		d = saturated(float64(d) + float64(d)*m.cfg.Jitter*m.rand())
	}
	m.events[len(m.events)-1].OpenFor = d
	m.current().until = at + min(d, math.MaxInt64-at)
}

// level is the number of failed probes in a row, with memory.
func (m *model) level() (level int) {
	for i, s := range m.stays {
		switch s.reason {
		case circuit.WasReset:
			level = 0
		case circuit.ProbeFailed, circuit.ProbeTimedOut:
			if m.grown(level) < m.cfg.MaxOpenFor {
				level++
			}
		case circuit.ConsecutiveFailures, circuit.FailureRatio, circuit.SlowRatio, circuit.TripWhen:
			closed := s.since - m.stays[i-1].since
			level = int(max(0, int64(level)-int64(closed/m.cfg.MaxOpenFor)))
			if closed < m.openBefore(i) && m.grown(level) < m.cfg.MaxOpenFor {
				level++
			}
		}
	}
	return level
}

// openBefore is how long the latest open stay before the i-th was to last.
func (m *model) openBefore(i int) time.Duration {
	for _, s := range slices.Backward(m.stays[:i]) {
		switch {
		case s.reason == circuit.WasReset:
			return 0
		case s.state == circuit.Open && s.reason != circuit.Forced:
			return s.until - s.since
		}
	}
	return 0
}

func (m *model) grown(level int) time.Duration {
	d := float64(m.cfg.OpenFor)
	for range level {
		d *= m.cfg.OpenGrowth
	}
	return min(saturated(d), m.cfg.MaxOpenFor)
}

func saturated(ns float64) time.Duration {
	if ns >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(ns)
}

func (m *model) enter(s *stay, at time.Duration) {
	m.events = append(m.events, circuit.Event{
		From: m.current().state, To: s.state, At: at, Reason: s.reason, Counts: m.counts(at),
	})
	m.stays, m.toAsk = append(m.stays, s), nil
}

func (m *model) addToRun(at time.Duration) {
	s := m.current()
	s.marks = append(s.marks, failed)
	s.last = &growth{at, m.begun(s)}
}

// begun is the number of requests that a stay has admitted.
func (m *model) begun(s *stay) (n int) {
	for _, r := range m.requests {
		n += one(r.in == s)
	}
	return n
}

// totals are counted from all requests.
func (m *model) totals() (t circuit.Totals) {
	t.Refused = m.refused
	for _, r := range m.requests {
		switch {
		case !r.over || r.timedOut:
		case r.outcome == circuit.Success:
			t.Success++
		case r.outcome != circuit.Failure:
			t.Ignored++
		}
	}
	for _, kind := range m.types {
		i := slices.IndexFunc(t.Failures, func(f circuit.ErrorTotal) bool { return f.Type == kind })
		if i < 0 {
			i = len(t.Failures)
			t.Failures = append(t.Failures, circuit.ErrorTotal{Type: kind})
		}
		t.Failures[i].Count++
	}
	return t
}

func (m *model) inFlight() (n int) {
	for _, r := range m.requests {
		n += one(!r.over)
	}
	return n
}
