package contract

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// A model is a Transport by the book. It keeps every request for ever, and has no lock, no queue and
// no fast path. Times are since the Transport was made.
type model struct {
	policyOf func(key string) breakerhttp.Policy
	bound    int
	hosts    map[string]*host
	events   []event
	steps    int // orders what happens at one time

	// jittered says how long that event opens the circuit: d and a random share of it.
	jittered func(event int, d time.Duration) time.Duration

	// asTold puts hosts in the order in which the Transport was told of what is new about them.
	asTold func([]*host) []*host

	// breaksTripWhen reports that TripWhen has not returned.
	breaksTripWhen func() bool
}

type event struct {
	host    *host
	at      time.Duration
	openFor span // if chance moves it
	worded  bool // the Transport has shown its detail
	breakerhttp.Transition
}

type host struct {
	key         string
	given       breakerhttp.Policy
	policy      breakerhttp.Policy // with every default filled in
	adaptive    *adaptive          // nil if policy is not
	generations []*generation
	calls       []*call // in the order in which they began
	totals      breakerhttp.Totals
	failures    []time.Duration // since the latest reset
	level       int             // failed probes in a row
	lastOpen    time.Duration   // the latest open time
	used        time.Duration   // when the latest request came that was not refused before its time, or the latest probe ended
	asks        []ask           // what TripWhen is still to be asked
	forced      bool
	limited     bool          // it is open because the host asked for less
	hastened    bool          // it may probe because others have recovered
	spared      time.Duration // from more of that, until then
	fall        fall
	gone        bool // evicted

	// Of the latest opening, as the Transport words it. That is unknown until it shows it.
	detail        string
	detailUnknown bool
}

// A fall is the latest opening from closed, and whether that was by an error of the network.
type fall struct {
	by bool
	at time.Duration
}

// A generation is a stay in one state.
type generation struct {
	state breakerhttp.State
	since time.Duration
	until time.Duration // the end of the open time, or of the ramp
	run   int           // failures in a row
	led   *generation   // the closed one that this half-open one led to

	// The latest broken connection that was added to run.
	brokenAt   time.Duration
	brokenStep int // 0 if none was
}

// A call is an admitted request.
type call struct {
	host     *host
	gen      *generation // it was admitted in
	at       time.Duration
	timed    bool // it matters when the answer comes
	step     int
	over     bool // base has returned
	stale    bool // gen was over by then
	timedOut bool // a probe that was given up
	slow     bool // it hung for SlowAfter
	failed   bool // at once or in its body
	outcome  breakerhttp.Outcome
	inWindow bool
	counted  time.Duration // when it came into the window
}

// An ask is a question for TripWhen.
type ask struct {
	at      time.Duration
	counts  breakerhttp.Counts
	verdict verdict
}

func (m *model) add(key string, now time.Duration) *host {
	given := m.policyOf(key)
	h := &host{key: key, given: given, policy: complete(given), generations: []*generation{{state: breakerhttp.StateClosed, since: now}}}
	if given.Adaptive {
		h.adaptive = newAdaptive(now)
	}
	m.hosts[key] = h
	return h
}

func (h *host) now() *generation { return h.generations[len(h.generations)-1] }

func (m *model) step() int {
	m.steps++
	return m.steps
}

// The way of a request.

func (h *host) refusal(state breakerhttp.State) *breakerhttp.OpenError {
	return &breakerhttp.OpenError{Key: h.key, State: state}
}

// admissible says what a request with that time to its deadline is told now. By chance says that it
// could as well be the contrary.
func (m *model) admissible(h *host, now time.Duration, mayProbe bool, left time.Duration) (refusal *breakerhttp.OpenError, byChance bool) {
	g := h.now()
	switch {
	case h.forced && g.state == breakerhttp.StateOpen:
		return h.refusal(g.state), false
	case h.forced:
		return nil, false
	case h.policy.MaxInFlight > 0 && g.state == breakerhttp.StateClosed && h.inFlight() >= h.policy.MaxInFlight:
		refusal = h.refusal(g.state)
		refusal.Reason = fmt.Sprintf("%d in flight", h.policy.MaxInFlight)
		return refusal, false
	case h.adaptive != nil:
		return m.admissibleAdaptive(h, now, mayProbe, left)
	case g.state == breakerhttp.StateClosed && now < g.until:
		return h.refusal(g.state), true // it ramps
	case g.state == breakerhttp.StateClosed:
		return nil, false
	case g.state == breakerhttp.StateOpen && now < g.until:
		refusal = h.refusal(g.state)
		refusal.RetryAfter = g.until - now
		return refusal, false
	case mayProbe && (g.state == breakerhttp.StateOpen || h.probes() < h.policy.Probes):
		return nil, false
	}
	return h.refusal(breakerhttp.StateHalfOpen), false
}

func (h *host) probes() (n int) {
	_, n = h.requests(h.now())
	return n
}

// admit begins a request that may be sent.
func (m *model) admit(h *host, now time.Duration) *call {
	switch g := h.now(); {
	case h.adaptive != nil:
		m.admitAdaptive(h, now)
	case g.state == breakerhttp.StateOpen:
		m.enter(h, &generation{state: breakerhttp.StateHalfOpen, since: g.until}, now, breakerhttp.Transition{Reason: "open_elapsed"})
	}
	c := &call{host: h, gen: h.now(), at: now, timed: h.patience() < math.MaxInt64, step: m.step()}
	h.calls = append(h.calls, c)
	return c
}

// finish takes the verdict. It returns false if the body is not to be judged.
func (m *model) finish(c *call, now time.Duration, v verdict) bool {
	h := c.host
	defer m.askTripWhen(h)
	c.over = c.waits() && now-c.at <= h.patience() // in time
	m.notice(h, now)
	c.over = true
	if c.timedOut {
		return false
	}
	c.stale = c.gen != h.now()
	if !c.stale && c.gen.state != breakerhttp.StateClosed {
		h.used = now
	}
	c.outcome = v.outcome
	defer m.holdOff(c, now, v)
	if h.adaptive != nil {
		defer m.endAdaptive(c, now, v)
	}
	switch v.outcome {
	case breakerhttp.Ignored:
		h.totals.Ignored++
	case breakerhttp.Limited:
		h.totals.Limited++
	case breakerhttp.Failure:
		h.totals.Failure++
		if !c.stale {
			c.failed = true
			if !c.isIn(now) {
				c.slow, c.inWindow, c.counted = false, true, now
			}
			m.fail(c, now, v)
		}
	case breakerhttp.Success:
		h.totals.Success++
		switch {
		case c.stale:
		case c.gen.state == breakerhttp.StateOpen:
			if v.whole {
				c.gen.run = 0
			}
			if h.tooSlow(now - c.at) {
				c.failed = true
				m.fail(c, now, verdict{})
			}
		case c.gen.state == breakerhttp.StateHalfOpen && h.tooSlow(now-c.at):
			c.failed = true // the probe, not the response
			m.fail(c, now, verdict{})
		default:
			m.succeed(c, now, v)
		}
	}
	return v.outcome == breakerhttp.Success && !v.whole
}

func (h *host) tooSlow(took time.Duration) bool {
	return h.policy.SlowRatio > 0 && took > h.policy.SlowAfter
}

// holdOff opens the circuit for as long as a healthy host has asked for.
func (m *model) holdOff(c *call, now time.Duration, v verdict) {
	h := c.host
	d := min(v.retryAfter, h.maxRetryAfter())
	if v.outcome != breakerhttp.Limited || d <= 0 || c.stale || h.forced || h.now().state == breakerhttp.StateOpen {
		return
	}
	if h.now().state == breakerhttp.StateClosed {
		h.fall = fall{}
	}
	m.enter(h, &generation{state: breakerhttp.StateOpen, since: now, until: now + d}, now, breakerhttp.Transition{Reason: "limited", OpenFor: d})
	h.limited = true
	if h.adaptive != nil {
		h.adaptive.due = exactly(now + d)
	}
}

// closeLimited closes the circuit when the time that the host has asked for is over.
func (m *model) closeLimited(h *host) {
	at := h.now().until
	if h.adaptive != nil {
		h.adaptive.opened = at // earlier trouble is over
		m.recover(h, at, "open_elapsed")
		return
	}
	m.close(h, at, "open_elapsed")
}

func (m *model) close(h *host, at time.Duration, reason breakerhttp.Reason) *generation {
	g := &generation{state: breakerhttp.StateClosed, since: at}
	if h.policy.Ramp > 0 {
		g.until = at + h.policy.Ramp
	}
	m.enter(h, g, at, breakerhttp.Transition{Reason: reason})
	return g
}

func (m *model) succeed(c *call, now time.Duration, v verdict) {
	h := c.host
	if c.gen.state == breakerhttp.StateHalfOpen {
		if h.counts(now).Requests >= h.policy.ProbeSuccesses {
			fell := h.fall.by
			c.gen.led = m.close(h, now, "probe_succeeded")
			if fell {
				m.sympathize(h, now)
			}
		}
		return
	}
	if !c.slow {
		c.inWindow, c.counted = true, now
	}
	if v.whole {
		c.gen.run = 0
	}
}

// heir is the generation in which the end of a body counts, or nil.
func (c *call) heir() *generation {
	switch {
	case c.stale, c.failed: // a probe that was too slow
		return nil
	case c.gen.led != nil:
		return c.gen.led
	}
	return c.gen
}

func (m *model) bodyEnded(c *call) {
	if g := c.heir(); g != nil {
		g.run = 0
	}
}

func (m *model) bodyFailed(c *call, now time.Duration, v verdict) {
	h := c.host
	if h.gone {
		return
	}
	m.notice(h, now)
	h.totals.Failure++
	if c.heir() == h.now() {
		c.failed = true
		m.fail(c, now, v)
	}
	m.askTripWhen(h)
}

// What the passing of time does.

// patience is how long base may take to answer.
func (h *host) patience() time.Duration {
	switch {
	case h.now().state == breakerhttp.StateHalfOpen:
		return h.policy.ProbeTimeout
	case h.now().state == breakerhttp.StateClosed && h.policy.SlowAfter > 0 && (h.policy.SlowRatio > 0 || h.policy.TripWhen != nil):
		return h.policy.SlowAfter
	}
	return math.MaxInt64
}

// waits reports whether it matters when the answer to c comes.
func (c *call) waits() bool { return c.timed && c.gen == c.host.now() && !c.over && !c.slow }

// notice does what the passing of time has done to h, the oldest first.
func (m *model) notice(h *host, now time.Duration) {
	for {
		i := slices.IndexFunc(h.calls, (*call).waits)
		if i < 0 || now-h.calls[i].at < h.patience() {
			break
		}
		c := h.calls[i]
		at := c.at + h.patience()
		if h.now().state != breakerhttp.StateHalfOpen {
			c.slow, c.inWindow, c.counted = true, true, at
			m.askRules(h, at, verdict{})
			continue
		}
		for _, d := range h.calls {
			if d.waits() && d.at == c.at && d != c { // they hang together
				d.timedOut, d.failed = true, true
				h.totals.Failure++
				h.now().run++
			}
		}
		c.timedOut, c.failed = true, true
		h.totals.Failure++
		m.fail(c, at, verdict{})
	}
	if h.limited && !h.forced && now >= h.now().until {
		m.closeLimited(h)
	}
	m.tell(h, now)
}

// The rules.

func (h *host) windowed() bool {
	return h.policy.FailureRatio > 0 || h.policy.SlowRatio > 0 || h.policy.TripWhen != nil
}

// isIn reports whether the bucket of c is one of the latest ten.
func (c *call) isIn(now time.Duration) bool {
	bucket := c.host.policy.Window / 10
	return c.inWindow && now/bucket-c.counted/bucket < 10
}

func (h *host) counts(now time.Duration) breakerhttp.Counts {
	n := breakerhttp.Counts{ConsecutiveFailures: h.now().run}
	window := h.windowed() && h.now().state == breakerhttp.StateClosed
	for _, c := range h.calls {
		judged := c.timedOut || c.over && c.outcome != breakerhttp.Ignored && c.outcome != breakerhttp.Limited
		if c.gen != h.now() || window && !c.isIn(now) || !window && !judged {
			continue
		}
		n.Requests++
		if c.failed {
			n.Failures++
		}
		if window && c.slow {
			n.Slow++
		}
	}
	return n
}

func (m *model) fail(c *call, at time.Duration, v verdict) {
	h := c.host
	h.failures = append(h.failures, at)
	grew := m.addToRun(c, at, v)
	switch {
	case h.adaptive != nil && h.now().state == breakerhttp.StateOpen:
		return
	case h.adaptive != nil && m.runGrew(h, at, grew, v):
		return
	case h.now().state == breakerhttp.StateClosed:
		m.askRules(h, at, v)
		return
	}
	if !h.hastened {
		h.grow()
	}
	reason := breakerhttp.Reason("probe_failed")
	if c.timedOut {
		reason = "probe_timeout"
	}
	m.open(h, at, reason, v.retryAfter)
}

// addToRun counts what breaks together once.
func (m *model) addToRun(c *call, at time.Duration, v verdict) (grew bool) {
	g := c.host.now()
	if v.broken && c.step < g.brokenStep && at-g.brokenAt < time.Second {
		return false
	}
	g.brokenAt, g.brokenStep = at, m.step()
	g.run++
	return true
}

func (m *model) askRules(h *host, at time.Duration, v verdict) {
	p, n := h.policy, h.counts(at)
	met := func(part int, ratio float64) bool {
		return ratio > 0 && n.Requests >= p.MinRequests && float64(part) >= ratio*float64(n.Requests)
	}
	var reason breakerhttp.Reason
	switch {
	case h.forced:
		return
	case h.adaptive == nil && v.outcome == breakerhttp.Failure && p.ConsecutiveFailures > 0 && n.ConsecutiveFailures >= p.ConsecutiveFailures:
		reason = "consecutive_failures"
	case met(n.Failures, p.FailureRatio):
		reason = "failure_ratio"
	case met(n.Slow, p.SlowRatio):
		reason = "slow_ratio"
	case p.TripWhen != nil:
		h.asks = append(h.asks, ask{at, n, v})
		return
	default:
		return
	}
	m.trip(h, at, reason, n, v)
}

// askTripWhen asks what is to be asked. Reads leave that to the next request.
func (m *model) askTripWhen(h *host) {
	for len(h.asks) > 0 {
		q := h.asks[0]
		h.asks = h.asks[1:]
		if m.breaksTripWhen() {
			return
		}
		if h.policy.TripWhen(q.counts) {
			m.trip(h, q.at, "trip_when", q.counts, q.verdict)
		}
	}
}

func (m *model) trip(h *host, at time.Duration, reason breakerhttp.Reason, counts breakerhttp.Counts, v verdict) {
	if h.adaptive != nil {
		m.tripAdaptive(h, at, reason, counts, v)
		return
	}
	p, closedFor := h.policy, at-h.now().since
	h.level = int(max(0, int64(h.level)-int64(closedFor/p.MaxOpenFor)))
	if closedFor < h.lastOpen {
		h.grow()
	}
	m.open(h, at, reason, v.retryAfter)
	m.events[len(m.events)-1].Counts = counts
	h.fall = fall{v.network, at}
}

func (h *host) grow() {
	if h.grown() < h.policy.MaxOpenFor {
		h.level++
	}
}

func (h *host) grown() time.Duration {
	d := float64(h.policy.OpenFor) * math.Pow(h.policy.OpenGrowth, float64(h.level))
	return time.Duration(min(d, float64(h.policy.MaxOpenFor)))
}

func (m *model) open(h *host, at time.Duration, reason breakerhttp.Reason, retryAfter time.Duration) {
	d := min(max(h.grown(), retryAfter), h.policy.MaxOpenFor)
	if h.policy.Jitter > 0 {
		d = m.jittered(len(m.events), d)
	}
	h.lastOpen = d
	m.enter(h, &generation{state: breakerhttp.StateOpen, since: at, until: at + d}, at, breakerhttp.Transition{Reason: reason, OpenFor: d})
}

func (m *model) enter(h *host, g *generation, at time.Duration, e breakerhttp.Transition) {
	e.Key, e.From, e.To, e.Counts = h.key, h.now().state, g.state, h.counts(at)
	m.record(event{host: h, at: at, Transition: e})
	h.stay(g)
}

func (m *model) record(e event) {
	e.Seq = uint64(len(m.events) + 1)
	m.events = append(m.events, e)
}

func (h *host) stay(g *generation) {
	h.generations = append(h.generations, g)
	h.asks, h.limited = nil, false
	if g.state != breakerhttp.StateHalfOpen {
		h.hastened = false
	}
	if g.state == breakerhttp.StateClosed {
		h.spared = 0
	}
}

// sympathize lets the circuits that fell together with h, which a probe has closed, probe now.
func (m *model) sympathize(h *host, now time.Duration) {
	var others []*host
	for _, other := range m.hosts {
		if apart := other.fall.at - h.fall.at; other != h && other.fall.by && -10*time.Second <= apart && apart <= 10*time.Second {
			others = append(others, other)
		}
	}
	if len(others) < 2 {
		return
	}
	for _, other := range m.asTold(others) {
		m.hasten(other, now)
	}
}

func (m *model) hasten(h *host, now time.Duration) {
	m.notice(h, now)
	g, a := h.now(), h.adaptive
	if g.state != breakerhttp.StateOpen || h.forced || h.limited || a != nil && a.probing || now < h.spared {
		return
	}
	h.spared = now + 10*time.Second
	switch {
	case a == nil && now < g.until:
		g.until, h.hastened, h.lastOpen = now, true, now-g.since
	case a != nil && now < a.due.to:
		a.due = span{min(a.due.from, now), now}
		h.hastened = true
	}
}

// What people do.

func (m *model) force(key string, now time.Duration, to breakerhttp.State) {
	h := m.hosts[key]
	if h == nil {
		h = m.add(key, now)
	}
	m.notice(h, now)
	m.forget(h, now)
	if h.now().state == breakerhttp.StateClosed && to == breakerhttp.StateOpen {
		h.fall = fall{}
	}
	if h.now().state != to {
		m.enter(h, &generation{state: to, since: now}, now, breakerhttp.Transition{Reason: "forced"})
	}
	if to == breakerhttp.StateClosed {
		h.now().until = 0 // no ramp
	}
	h.forced, h.asks = true, nil
}

func (m *model) reset(h *host, now time.Duration) {
	m.notice(h, now)
	m.forget(h, now)
	next := &generation{state: breakerhttp.StateClosed, since: now}
	if h.now().state == breakerhttp.StateClosed {
		h.stay(next)
	} else {
		m.enter(h, next, now, breakerhttp.Transition{Reason: "reset"})
	}
	h.forced, h.level, h.lastOpen, h.failures, h.asks = false, 0, 0, nil, nil
}

// setPolicy is a change of the policy. One that is not as Adaptive as before knows nothing yet.
func (m *model) setPolicy(h *host, now time.Duration, given breakerhttp.Policy) {
	m.notice(h, now)
	old, wasWindowed, g := h.policy, h.windowed(), h.now()
	h.given, h.policy = given, complete(given)
	for _, c := range h.calls {
		if !wasWindowed || old.Window != h.policy.Window {
			c.inWindow = false
		}
		if g.state == breakerhttp.StateClosed && h.patience() == math.MaxInt64 {
			c.timed = false
		}
	}
	if h.policy.TripWhen == nil {
		h.asks = nil
	}
	if given.Adaptive != old.Adaptive {
		h.adaptive, h.level, h.lastOpen = nil, 0, 0
		if given.Adaptive {
			h.adaptive = newAdaptive(now)
			h.adaptive.answers = int(h.totals.Success)
		}
	}
	switch {
	case g.state == breakerhttp.StateClosed && now < g.until:
		g.until = min(g.until, now+h.policy.Ramp)
	case g.state == breakerhttp.StateOpen && !h.forced && h.policy.MaxOpenFor < old.MaxOpenFor:
		most := g.since + h.policy.MaxOpenFor
		if g.until > most && !h.limited {
			h.lastOpen = h.policy.MaxOpenFor
		}
		g.until = min(g.until, most)
		if a := h.adaptive; a != nil {
			a.due = span{min(a.due.from, most), min(a.due.to, most)}
		}
	}
}

// waitReady says what WaitReady returns for a context with this deadline, when, and whether any
// other answer will do because something happens just then.
func (m *model) waitReady(h *host, now, deadline time.Duration, mayProbe bool) (at time.Duration, tie bool, err error) {
	for {
		m.notice(h, now)
		refusal, byChance := m.admissible(h, now, mayProbe, never)
		switch {
		case refusal == nil || byChance:
			return now, false, nil
		case refusal.RetryAfter > 0 && deadline < now+refusal.RetryAfter:
			return now, false, refusal
		}
		next := now + refusal.RetryAfter
		if next == now {
			next = deadline + 1
			for _, c := range h.calls {
				if c.waits() && h.now().state == breakerhttp.StateHalfOpen {
					next = min(next, c.at+h.policy.ProbeTimeout)
				}
			}
		}
		if next >= deadline {
			return deadline, next == deadline, context.DeadlineExceeded
		}
		now = next
	}
}

func (m *model) snapshot(h *host, epoch time.Time, now time.Duration) breakerhttp.Snapshot {
	m.notice(h, now)
	g := h.now()
	s := breakerhttp.Snapshot{
		Key:      h.key,
		State:    g.state,
		Forced:   h.forced,
		Since:    epoch.Add(g.since),
		Reason:   h.detail,
		Counts:   h.counts(now),
		Totals:   h.totals,
		InFlight: h.inFlight(),
		Policy:   h.policy,
	}
	s.Policy.TripWhen = nil // cannot be compared
	switch a := h.adaptive; {
	case a == nil:
	case g.state == breakerhttp.StateClosed:
		s.Limit = int(a.limit)
	case h.forced || h.limited:
	case a.probing:
		s.State, s.Since = breakerhttp.StateHalfOpen, epoch.Add(a.probedAt.from)
		return s
	default:
		g = &generation{state: g.state, since: g.since, until: a.due.from}
	}
	switch {
	case g.state != breakerhttp.StateOpen || h.forced:
	case now < g.until:
		s.Until = epoch.Add(g.until)
	default:
		s.State, s.Since = breakerhttp.StateHalfOpen, epoch.Add(g.until)
	}
	return s
}

func (h *host) inFlight() (n int) {
	for _, c := range h.calls {
		if !c.over {
			n++
		}
	}
	return n
}

// Eviction.

// unforced is the number of hosts that count towards the bound.
func (m *model) unforced() (n int) {
	for _, h := range m.hosts {
		if !h.forced {
			n++
		}
	}
	return n
}

// mayGo reports whether h may make room for another host, and whether it must if no other does.
func (h *host) mayGo(now time.Duration) (may, must bool) {
	g := h.now()
	if h.forced || h.inFlight() > 0 {
		return false, false
	}
	if g.state != breakerhttp.StateClosed {
		up := exactly(g.until)
		switch {
		case g.state == breakerhttp.StateHalfOpen:
			up = exactly(g.since)
		case h.adaptive != nil && !h.limited:
			up = h.adaptive.due
		}
		up = up.atLeast(h.used)
		return now >= up.from+h.policy.MaxOpenFor, now >= up.to+h.policy.MaxOpenFor
	}
	if now < g.until {
		return false, false // it ramps
	}
	for _, at := range h.failures {
		if now-at < h.policy.Window || g.run > 0 && now-at < h.policy.OpenFor {
			return false, false
		}
	}
	return true, true
}

// goesLast reports whether h may go only where no other may.
func (h *host) goesLast() bool { return h.now().state == breakerhttp.StateClosed && h.now().run > 0 }
