package circuit_test

import (
	"context"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

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
	case m.cfg.SlowAfter > 0 && (m.cfg.SlowRatio > 0 || m.cfg.TripWhen != nil):
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

func TestCircuitAgainstModel(t *testing.T) { rapid.Check(t, againstModel) }

func FuzzCircuitAgainstModel(f *testing.F) {
	for seed := range byte(8) {
		input := make([]byte, 1<<14)
		_, _ = rand.NewChaCha8([32]byte{seed}).Read(input)
		f.Add(input)
	}
	f.Fuzz(rapid.MakeFuzz(againstModel))
}

func againstModel(t *rapid.T) {
	p := drawPolicy(t)
	now := rapid.SampledFrom([]time.Duration{0, 1, 12345 * time.Microsecond}).Draw(t, "origin")
	mc := &machine{model: newModel(p.config(), now), now: now, watchful: rapid.Bool().Draw(t, "watchful")}
	mc.model.rand = p.chance(&mc.drawn.want)
	cfg := p.config()
	cfg.Rand = p.chance(&mc.drawn.got)
	cfg.TripWhen = mc.spy(cfg.TripWhen)
	mc.circuit = newClocked(&cfg, mc.told.add, now)
	actions := map[string]func(*rapid.T){
		"":            mc.check,
		"begin":       mc.begin,
		"body ended":  mc.bodyEnded,
		"body failed": mc.bodyFailed,
		"finish":      mc.finish,
		"pass":        mc.pass,
		"pass again":  mc.pass,
		"read":        mc.read,
		"ready":       mc.ready,
		"send":        mc.send,
		"send again":  mc.send,
		"turn":        mc.turn,
	}
	if rapid.IntRange(0, 2).Draw(t, "meddle") == 2 {
		actions["evict"] = mc.evict
		actions["finish twice"] = mc.finishTwice
		actions["force closed"] = mc.forceClosed
		actions["force open"] = mc.forceOpen
		actions["reset"] = mc.reset
	}
	t.Repeat(actions)
	if !mc.model.evicted {
		mc.read(t)
	}
}

// machine does the same to a circuit and to a model of it, and compares.
type machine struct {
	model    *model
	circuit  clocked
	now      time.Duration
	mood     int  // of the host
	watchful bool // reads after each action, which leaves nothing to be noticed later
	pending  []*exchange
	done     []*exchange // to be given a second verdict
	bodies   []*exchange // of successful responses, unread
	told     recorder
	caused   []circuit.Event
	asked    []circuit.Counts
	drawn    struct{ got, want int } // random numbers

	changed <-chan struct{} // of the latest Ready that said no
	probing bool            // what it was asked
}

type exchange struct {
	call    circuit.Call
	request *request
}

// recorder keeps what it is told.
type recorder []circuit.Event

func (r *recorder) add(e circuit.Event) { *r = append(*r, e) }

func (mc *machine) spy(tripWhen func(circuit.Counts) bool) func(circuit.Counts) bool {
	if tripWhen == nil {
		return nil
	}
	return func(n circuit.Counts) bool {
		mc.asked = append(mc.asked, n)
		return tripWhen(n)
	}
}

// act does something on behalf of a cause.
func (mc *machine) act(do func(by *circuit.Cause)) {
	by := circuit.Cause{Context: context.Background()}
	do(&by)
	mc.caused = append(mc.caused, by.Events...)
}

func (mc *machine) begin(t *rapid.T) {
	mayProbe := rapid.IntRange(0, 4).Draw(t, "may probe") > 0
	request, wantRefusal, want := mc.model.begin(mc.now, mayProbe)
	var call circuit.Call
	var refusal circuit.Refusal
	var got circuit.Decision
	if !rapid.Bool().Draw(t, "go the short way") || !mc.circuit.Enter(mc.now, &call) {
		mc.act(func(by *circuit.Cause) { call, refusal, got = mc.circuit.Admit(by, mc.now, mayProbe) })
	}
	wantRefusal.Detail = mc.detail(want == circuit.Refused)
	if got != want || refusal != wantRefusal {
		t.Fatalf("at %v admission is %v %+v, want %v %+v", mc.now, got, refusal, want, wantRefusal)
	}
	if got == circuit.Admitted {
		mc.pending = append(mc.pending, &exchange{call, request})
	}
}

// detail is that of the latest opening.
func (mc *machine) detail(wanted bool) string {
	for _, e := range slices.Backward(mc.told) {
		if wanted && e.To == circuit.Open {
			return e.Detail
		}
	}
	return ""
}

// take draws one of the exchanges and takes it out. It returns nil if there is
// none: an action that skipped would fail an input of the fuzzer that draws it
// again and again.
func take(t *rapid.T, from *[]*exchange) *exchange {
	if len(*from) == 0 {
		return nil
	}
	i := rapid.IntRange(0, len(*from)-1).Draw(t, "which")
	x := (*from)[i]
	*from = slices.Delete(*from, i, i+1)
	return x
}

func (mc *machine) finish(t *rapid.T) {
	if x := take(t, &mc.pending); x != nil {
		mc.answer(t, x)
	}
}

// send is a request that is answered at once, if it is admitted.
func (mc *machine) send(t *rapid.T) {
	n := len(mc.pending)
	if mc.begin(t); len(mc.pending) > n {
		x := mc.pending[n]
		mc.pending = mc.pending[:n]
		mc.answer(t, x)
	}
}

func (mc *machine) answer(t *rapid.T, x *exchange) {
	v := mc.drawVerdict(t)
	want := mc.model.finish(mc.now, x.request, v)
	if v.Outcome != circuit.Success || !rapid.Bool().Draw(t, "go the short way") || !mc.succeed(x, v.Whole) {
		if got := mc.tell(x, v); got != want {
			t.Fatalf("at %v the verdict counts: %v, want %v", mc.now, got, want)
		}
		mc.done = append(mc.done, x)
	}
	if want && v.Outcome == circuit.Success && !v.Whole {
		mc.bodies = append(mc.bodies, x)
	}
}

func (mc *machine) succeed(x *exchange, whole bool) bool {
	return mc.circuit.Succeed(mc.now, &x.call, whole)
}

func (mc *machine) tell(x *exchange, v circuit.Verdict) (ok bool) {
	mc.act(func(by *circuit.Cause) { ok = mc.circuit.Done(by, mc.now, &x.call, v) })
	return ok
}

// finishTwice gives a second verdict, which must not count.
func (mc *machine) finishTwice(t *rapid.T) {
	if x := take(t, &mc.done); x != nil && mc.tell(x, mc.drawVerdict(t)) {
		t.Fatalf("a second verdict counts")
	}
}

func (mc *machine) bodyEnded(t *rapid.T) {
	if x := take(t, &mc.bodies); x != nil {
		mc.model.bodyEnded(x.request)
		mc.circuit.Ended(x.call.Receipt)
	}
}

func (mc *machine) bodyFailed(t *rapid.T) {
	x := take(t, &mc.bodies)
	if x == nil {
		return
	}
	v := mc.drawVerdict(t)
	v.Outcome = circuit.Failure
	want := mc.model.bodyFailed(mc.now, x.request, v)
	mc.act(func(by *circuit.Cause) {
		if got := mc.circuit.Late(by, mc.now, x.call.Receipt, v); got != want {
			t.Fatalf("Late returned %v, want %v", got, want)
		}
	})
}

func (mc *machine) forceOpen(t *rapid.T) { mc.force(t, circuit.Open, mc.circuit.ForceOpen) }

func (mc *machine) forceClosed(t *rapid.T) { mc.force(t, circuit.Closed, mc.circuit.ForceClosed) }

func (mc *machine) force(t *rapid.T, to circuit.State, f func(*circuit.Cause, time.Duration) (bool, bool)) {
	wantFirst, wantOK := mc.model.force(mc.now, to)
	mc.act(func(by *circuit.Cause) {
		if first, ok := f(by, mc.now); first != wantFirst || ok != wantOK {
			t.Fatalf("forcing returned %v, %v, want %v, %v", first, ok, wantFirst, wantOK)
		}
	})
}

func (mc *machine) reset(t *rapid.T) {
	want := mc.model.reset(mc.now)
	mc.act(func(by *circuit.Cause) {
		if got := mc.circuit.Reset(by, mc.now); got != want {
			t.Fatalf("Reset returned %v, want %v", got, want)
		}
	})
}

func (mc *machine) evict(t *rapid.T) {
	if mc.model.evicted {
		return
	}
	lastResort := rapid.Bool().Draw(t, "last resort")
	want := mc.model.evict(mc.now, lastResort)
	_, used, _ := mc.circuit.Evict(mc.now, math.MaxUint64)
	mc.circuit.at(mc.now)
	totals, _, got := mc.circuit.Circuit.Evict(used, lastResort)
	if got != want {
		t.Fatalf("at %v evicted: %v, want %v", mc.now, got, want)
	}
	if diff := cmp.Diff(mc.model.totals(), totals); got && diff != "" {
		t.Fatalf("totals of an evicted circuit (-want +got):\n%s", diff)
	}
}

// policy is what two configurations are made of, that share no state.
type policy struct {
	circuit.Config
	eighths []int // the random numbers, in eighths: exact, so that no rounding can differ
}

func drawPolicy(t *rapid.T) policy {
	const ms = time.Millisecond
	duration := func(name string, from ...time.Duration) time.Duration { return rapid.SampledFrom(from).Draw(t, name) }
	ratio := func(name string) float64 { return rapid.SampledFrom([]float64{0, 0, 0.25, 0.5, 1}).Draw(t, name) }
	p := policy{Config: circuit.Config{
		ConsecutiveFailures: rapid.SampledFrom([]int{-1, 1, 2, 3, 5}).Draw(t, "consecutive failures"),
		FailureRatio:        ratio("failure ratio"),
		SlowRatio:           ratio("slow ratio"),
		SlowAfter:           duration("slow after", 0, 3*ms, 10*ms, 95*ms, math.MaxInt64),
		MinRequests:         rapid.IntRange(1, 6).Draw(t, "min requests"),
		Window:              duration("window", 5, 95, 10*ms, 99*ms, 100*ms, 1000*ms, math.MaxInt64),
		OpenFor:             duration("open for", 1, ms, 10*ms, 50*ms, 1000*ms),
		OpenGrowth:          rapid.SampledFrom([]float64{1, 1.5, 2, 10}).Draw(t, "growth"),
		Jitter:              rapid.SampledFrom([]float64{0, 0, 0.25, 1}).Draw(t, "jitter"),
		Probes:              rapid.IntRange(1, 3).Draw(t, "probes"),
		ProbeSuccesses:      rapid.IntRange(1, 3).Draw(t, "successes"),
		ProbeTimeout:        duration("probe timeout", 1, 5*ms, 20*ms, 100*ms, math.MaxInt64),
		Ramp:                duration("ramp", 0, 0, 10*ms, 100*ms),
	}}
	p.MaxOpenFor = math.MaxInt64
	if n := rapid.SampledFrom([]time.Duration{1, 3, 8, 0}).Draw(t, "max open for"); n > 0 {
		p.MaxOpenFor = n * p.OpenFor
	}
	if rapid.IntRange(0, 2).Draw(t, "trip when") == 0 {
		atLeast := func(name string) int { return rapid.IntRange(0, 4).Draw(t, name) }
		requests, failures, slow, run := atLeast("requests"), atLeast("failures"), atLeast("slow"), atLeast("run")
		p.TripWhen = func(n circuit.Counts) bool {
			return n.Requests >= requests && n.Failures >= failures && n.Slow >= slow && n.ConsecutiveFailures >= run
		}
	}
	p.eighths = rapid.SliceOfN(rapid.IntRange(0, 7), 1, 5).Draw(t, "random eighths")
	return p
}

func (p policy) config() circuit.Config { return p.Config }

// chance returns the random numbers in turn, and counts them.
func (p policy) chance(drawn *int) func() float64 {
	return func() float64 {
		*drawn++
		return float64(p.eighths[*drawn%len(p.eighths)]) / 8
	}
}

// turn changes the mood of the host.
func (mc *machine) turn(t *rapid.T) { mc.mood = rapid.IntRange(0, len(moods)-1).Draw(t, "mood") }

// moods are what a host answers.
var moods = [][]circuit.Outcome{
	{circuit.Success, circuit.Failure, circuit.Ignored, 7},
	{circuit.Success, circuit.Success, circuit.Success, circuit.Success, circuit.Success, circuit.Ignored},
	{circuit.Failure, circuit.Failure, circuit.Failure, circuit.Failure, circuit.Failure, circuit.Ignored},
}

func (mc *machine) drawVerdict(t *rapid.T) circuit.Verdict {
	v := circuit.Verdict{
		Outcome: rapid.SampledFrom(moods[mc.mood]).Draw(t, "outcome"),
		Whole:   rapid.Bool().Draw(t, "whole"),
	}
	if v.Outcome != circuit.Success {
		v.ErrorType = rapid.SampledFrom([]string{"500", "body", "timeout"}).Draw(t, "error type")
		v.Detail = v.ErrorType
		v.Broken = rapid.Bool().Draw(t, "broken")
		v.RetryAfter = rapid.SampledFrom([]time.Duration{0, 0, 0, 1, 20 * time.Millisecond, math.MaxInt64}).Draw(t, "retry after")
	}
	return v
}

// pass lets time pass: some, or up to a moment at which something happens, or
// the one next to it.
func (mc *machine) pass(t *rapid.T) {
	moment := rapid.SampledFrom(mc.moments()).Draw(t, "moment") + time.Duration(rapid.IntRange(-1, 1).Draw(t, "next to"))
	mc.now = max(mc.now, moment)
}

func (mc *machine) moments() []time.Duration {
	cfg, m := mc.model.cfg, mc.model
	width := max(1, cfg.Window/10)
	moments := []time.Duration{
		mc.now + 1,
		mc.now + width,
		(mc.now/width + 1) * width, // the next bucket
		mc.now + 10*width,
		mc.now + cfg.Window,
		mc.now + cfg.OpenFor,
		mc.now + cfg.MaxOpenFor,
		mc.now + cfg.Ramp/3,
		m.current().until,
	}
	for _, patience := range []time.Duration{cfg.SlowAfter, cfg.ProbeTimeout} {
		moments = append(moments, mc.now+patience)
		for _, r := range m.requests {
			if r.in == m.current() && !r.over {
				moments = append(moments, r.at+patience)
				break
			}
		}
	}
	if m.current().state == circuit.Open {
		moments = append(moments, m.current().until, m.current().until, m.current().until, m.current().until)
	}
	return slices.DeleteFunc(moments, func(at time.Duration) bool { return at < mc.now || at > mc.now+time.Hour })
}

func (mc *machine) ready(t *rapid.T) {
	mayProbe := rapid.IntRange(0, 4).Draw(t, "may probe") > 0
	want, wantWake, wantOK := mc.model.ready(mc.now, mayProbe)
	mc.act(func(by *circuit.Cause) {
		got, wake, changed, ok := mc.circuit.Ready(by, mc.now, mayProbe)
		want.Detail = mc.detail(!wantOK)
		if got != want || wake != wantWake || ok != wantOK || ok != (changed == nil) {
			t.Fatalf("at %v Ready returned %+v, %v, %v, %v, want %+v, %v, %v", mc.now, got, wake, changed, ok, want, wantWake, wantOK)
		}
		mc.changed, mc.probing = changed, mayProbe
	})
}

// read compares what the two say of themselves.
func (mc *machine) read(t *rapid.T) {
	if mc.model.evicted {
		return
	}
	want := mc.model.snapshot(mc.now)
	mc.act(func(by *circuit.Cause) {
		got := mc.circuit.Snapshot(by, mc.now)
		want.Detail, want.Config = mc.detail(true), got.Config
		if !reflect.DeepEqual(want, got) {
			t.Fatalf("snapshot at %v (-want +got):\n%s", mc.now, cmp.Diff(want, got))
		}
	})
}

// check compares after each action what can be seen without being noticed.
func (mc *machine) check(t *rapid.T) {
	if mc.watchful && !mc.model.evicted {
		mc.read(t)
	}
	withoutDetail := func(want, got circuit.Event) bool {
		hasDetail := got.Detail != ""
		got.Detail, got.ErrorType, got.RetryAfter = "", "", 0
		return hasDetail && want == got
	}
	if !slices.EqualFunc(mc.model.events, mc.told, withoutDetail) {
		t.Fatalf("events by %v (-want +got; each must have a detail):\n%s", mc.now, cmp.Diff(mc.model.events, []circuit.Event(mc.told)))
	}
	if !slices.Equal(mc.told, mc.caused) {
		t.Fatalf("events of the causes differ from those recorded (-recorded +caused):\n%s", cmp.Diff([]circuit.Event(mc.told), mc.caused))
	}
	if !slices.Equal(mc.model.asked, mc.asked) {
		t.Fatalf("what TripWhen was asked (-want +got):\n%s", cmp.Diff(mc.model.asked, mc.asked))
	}
	if mc.drawn.got != mc.drawn.want {
		t.Fatalf("%d random numbers were used, want %d", mc.drawn.got, mc.drawn.want)
	}
	if want := mc.model.current().state; mc.circuit.State() != want {
		t.Fatalf("State is %v, want %v", mc.circuit.State(), want)
	}
	mc.checkWaiting(t)
}

// checkWaiting makes sure that nobody waits forever: what time alone does not
// change must be told.
func (mc *machine) checkWaiting(t *rapid.T) {
	if mc.changed == nil {
		return
	}
	select {
	case <-mc.changed:
		mc.changed = nil
		return
	default:
	}
	s := mc.model.current()
	if s.state == circuit.Open && !mc.model.forced && s.until <= mc.now {
		return // by time
	}
	if s.state == circuit.Closed {
		t.Fatalf("who waits is not told that the circuit has closed")
	}
	if _, ok := mc.model.admissible(mc.now, mc.probing); ok {
		t.Fatalf("who waits is not told that a request would be admitted")
	}
}

// admissible says whether a request would be admitted.
func (m *model) admissible(now time.Duration, mayProbe bool) (circuit.Refusal, bool) {
	s := m.current()
	r := circuit.Refusal{State: s.state}
	switch {
	case s.state == circuit.Closed:
		return r, s.until <= now || m.rand() < 0.1+0.9*float64(now-(s.until-m.cfg.Ramp))/float64(m.cfg.Ramp)
	case m.forced:
		return r, false
	case s.state == circuit.Open && now < s.until:
		r.RetryAfter = s.until - now
		return r, false
	case s.state == circuit.Open:
		r.State = circuit.HalfOpen
		return r, mayProbe
	}
	probes := 0
	for _, p := range m.requests {
		probes += one(p.in == s && !p.over)
	}
	return r, mayProbe && probes < m.cfg.Probes
}

func (m *model) begin(now time.Duration, mayProbe bool) (*request, circuit.Refusal, circuit.Decision) {
	m.notice(now)
	m.askTripWhen()
	if m.evicted {
		return nil, circuit.Refusal{}, circuit.Gone
	}
	if m.current().state != circuit.Closed {
		m.used = now
	}
	if r, ok := m.admissible(now, mayProbe); !ok {
		m.refused++
		return nil, r, circuit.Refused
	}
	if s := m.current(); s.state == circuit.Open {
		m.enter(&stay{state: circuit.HalfOpen, since: s.until, reason: circuit.OpenElapsed}, now)
	}
	r := &request{in: m.current(), at: now}
	m.requests = append(m.requests, r)
	return r, circuit.Refusal{}, circuit.Admitted
}

// ready is admissible, without chance, and when to ask again.
func (m *model) ready(now time.Duration, mayProbe bool) (r circuit.Refusal, wake time.Duration, ok bool) {
	m.notice(now)
	if m.evicted || m.current().state == circuit.Closed {
		return circuit.Refusal{}, 0, true
	}
	r, ok = m.admissible(now, mayProbe)
	if ok {
		return circuit.Refusal{}, 0, true
	}
	wake = r.RetryAfter
	for _, p := range m.requests {
		if left := m.cfg.ProbeTimeout - (now - p.at); p.in == m.current() && !p.over && (wake == 0 || left < wake) {
			wake = left
		}
	}
	return r, wake, false
}

func (m *model) finish(now time.Duration, r *request, v circuit.Verdict) bool {
	if r.over {
		return false
	}
	r.over = r.in == m.current() && now-r.at <= m.patience() // in time
	m.notice(now)
	r.over = true
	if r.timedOut {
		return false
	}
	r.outcome = v.Outcome
	r.failed = v.Outcome == circuit.Failure
	r.stale = r.in != m.current()
	if r.failed {
		m.types = append(m.types, v.ErrorType)
	}
	defer m.askTripWhen()
	if !r.stale && r.in.state == circuit.HalfOpen {
		m.used = now
	}
	switch {
	case r.stale:
	case r.failed:
		if !m.inWindow(r, now) { // else it is in already, as slow
			r.slow = false
			m.countIn(r, now)
		}
		if v.Broken && m.brokeTogether(r, now) {
			m.noted = append(m.noted, now)
			m.ask(now, v.RetryAfter)
			return true
		}
		m.failure(now, circuit.ProbeFailed, v.RetryAfter)
	case r.outcome == circuit.Success:
		m.success(now, r, v.Whole)
	}
	return true
}

func (m *model) success(now time.Duration, r *request, whole bool) {
	if r.in.state == circuit.HalfOpen {
		if m.cfg.SlowRatio > 0 && now-r.at > m.cfg.SlowAfter {
			r.failed = true
			m.failure(now, circuit.ProbeFailed, 0)
			return
		}
		if m.counts(now).Requests == m.cfg.ProbeSuccesses {
			closed := &stay{state: circuit.Closed, since: now, reason: circuit.ProbeSucceeded}
			if m.cfg.Ramp > 0 {
				closed.until = now + m.cfg.Ramp
			}
			m.enter(closed, now)
		}
		return
	}
	if !r.slow {
		m.countIn(r, now)
	}
	if whole {
		r.in.marks = append(r.in.marks, unmoved)
	}
}

// home is the stay in which the body of a response counts: that of the request,
// or the closed one that it led to as a probe. A stale one counts nowhere.
func (m *model) home(r *request) *stay {
	for i, s := range m.stays[1:] {
		if m.stays[i] == r.in && s.reason == circuit.ProbeSucceeded && !r.stale {
			return s
		}
	}
	return r.in
}

func (m *model) bodyEnded(r *request) {
	if s := m.home(r); !r.stale {
		s.marks = append(s.marks, unmoved)
	}
}

func (m *model) bodyFailed(now time.Duration, r *request, v circuit.Verdict) bool {
	if m.evicted {
		return false
	}
	m.notice(now)
	defer m.askTripWhen()
	m.types = append(m.types, v.ErrorType)
	if m.home(r) != m.current() || r.stale {
		return true
	}
	r.failed = true
	if v.Broken && m.brokeTogether(r, now) {
		m.noted = append(m.noted, now)
		m.ask(now, v.RetryAfter)
		return true
	}
	m.failure(now, circuit.ProbeFailed, v.RetryAfter)
	return true
}

// brokeTogether says that r was under way when a failure was last added to the
// run, within the last second.
func (m *model) brokeTogether(r *request, now time.Duration) bool {
	s, number := m.home(r), 0
	for i, other := range m.requests {
		if other.in == s && slices.Index(m.requests, r) >= i {
			number++
		}
	}
	if r.in != s {
		number = 0 // a probe began before
	}
	return s.last != nil && number <= s.last.begun && now-s.last.at < time.Second
}

func (m *model) force(now time.Duration, to circuit.State) (first, ok bool) {
	m.notice(now)
	if m.evicted {
		return false, false
	}
	if m.current().state != to {
		m.enter(&stay{state: to, since: now, reason: circuit.Forced}, now)
	}
	m.toAsk = nil
	if to == circuit.Closed {
		m.current().until = 0
	}
	first, m.forced = !m.forced, true
	return first, true
}

func (m *model) reset(now time.Duration) (wasForced bool) {
	m.notice(now)
	if m.evicted {
		return false
	}
	next := &stay{state: circuit.Closed, since: now, reason: circuit.WasReset}
	if m.current().state == circuit.Closed {
		m.stays, m.toAsk = append(m.stays, next), nil
	} else {
		m.enter(next, now)
	}
	wasForced, m.forced, m.noted = m.forced, false, nil
	return wasForced
}

func (m *model) evict(now time.Duration, lastResort bool) bool {
	if m.evicted || m.forced || m.inFlight() > 0 || !m.dispensable(now, lastResort) {
		return false
	}
	m.evicted = true
	return true
}

func (m *model) dispensable(now time.Duration, lastResort bool) bool {
	s := m.current()
	if s.state != circuit.Closed {
		opened := s
		if s.state == circuit.HalfOpen {
			opened = m.stays[len(m.stays)-2]
		}
		return saturated(float64(now)-float64(max(opened.until, m.used))) >= m.cfg.MaxOpenFor
	}
	for _, at := range m.noted {
		if now-at < m.cfg.Window || m.run() > 0 && now-at < m.cfg.OpenFor {
			return false
		}
	}
	return s.until <= now && (m.run() == 0 || lastResort)
}

func (m *model) snapshot(now time.Duration) circuit.Snapshot {
	m.notice(now)
	s := circuit.Snapshot{
		State:    m.current().state,
		Forced:   m.forced,
		Since:    m.current().since,
		Counts:   m.counts(now),
		Totals:   m.totals(),
		InFlight: m.inFlight(),
	}
	switch {
	case s.State != circuit.Open || s.Forced:
	case now < m.current().until:
		s.Until = m.current().until
	default:
		s.State, s.Since = circuit.HalfOpen, m.current().until
	}
	return s
}
