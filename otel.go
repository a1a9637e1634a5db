package breakerhttp

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"weak"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

const (
	// The instrumentation scope.
	scopeName    = "github.com/breakerhttp/breakerhttp"
	scopeVersion = "0.1.0"

	nameKey          = attribute.Key("circuit_breaker.name")
	circuitKeyKey    = attribute.Key("circuit_breaker.key")
	stateKey         = attribute.Key("circuit_breaker.state")
	previousStateKey = attribute.Key("circuit_breaker.previous_state")
	outcomeKey       = attribute.Key("circuit_breaker.outcome")
	reasonKey        = attribute.Key("circuit_breaker.reason")
	openForKey       = attribute.Key("circuit_breaker.open_for")
	retryAfterKey    = attribute.Key("circuit_breaker.retry_after")
	errorTypeKey     = attribute.Key("error.type")
	serverAddressKey = attribute.Key("server.address")
	serverPortKey    = attribute.Key("server.port")
)

// metrics are the instruments of a Transport. No request calls one unless it
// changes a state: circuits count their requests, to be read at collection.
type metrics struct {
	name    attribute.KeyValue
	maxKeys int

	status      metric.Int64ObservableGauge
	transitions metric.Int64Counter
	requests    metric.Int64ObservableCounter
	untracked   metric.Int64ObservableCounter
	store       *storeMetrics // nil without a store
	steps       [][2]State    // that are announced

	// mu is taken by newcomers, evictions and collections; by no request to a
	// host that has its circuit.
	mu  sync.Mutex
	own map[string]*series // by key; they stay when the circuit goes
	all []*series          // in a fixed order, since an SDK may have no room for the last; that of _other first
}

// A series is what one or more circuits are recorded as.
type series struct {
	metrics   *metrics
	index     int // in metrics.all
	common    []attribute.KeyValue
	announced atomic.Int32              // of steps
	status    [3][]metric.ObserveOption // by State
	outcomes  [4][]metric.ObserveOption // success, ignored, refused, limited
	past      circuit.Totals            // of evicted circuits; under metrics.mu
}

// newMetrics makes the instruments of t. Their callback holds t weakly: a
// Transport that is garbage must neither live on nor be counted.
func newMetrics(t *Transport, c *config) *metrics {
	provider := c.meterProvider
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	meter := provider.Meter(scopeName, metric.WithInstrumentationVersion(scopeVersion))
	m := &metrics{name: nameKey.String(c.name), maxKeys: c.maxMetricKeys, own: map[string]*series{}, steps: steps[:]}
	m.newSeries(m.name, serverAddressKey.String("_other"))
	if c.store != nil {
		m.steps = append(m.steps, [2]State{StateOpen, StateClosed}) // another process has probed
	}

	var errs [5]error
	m.status, errs[0] = meter.Int64ObservableGauge("circuit_breaker.status", metric.WithUnit("{circuit}"),
		metric.WithDescription("Circuits in this state."))
	m.transitions, errs[1] = meter.Int64Counter("circuit_breaker.transitions", metric.WithUnit("{transition}"),
		metric.WithDescription("Changes of a circuit's state."))
	m.requests, errs[2] = meter.Int64ObservableCounter("circuit_breaker.requests", metric.WithUnit("{request}"),
		metric.WithDescription("Requests by what became of them."))
	m.untracked, errs[3] = meter.Int64ObservableCounter("circuit_breaker.untracked", metric.WithUnit("{request}"),
		metric.WithDescription("Requests sent without a circuit, for want of room."))
	if c.store != nil {
		m.store, errs[4] = newStoreMetrics(t, meter, m.name)
	}
	transport := weak.Make(t)
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		if t := transport.Value(); t != nil {
			t.observe(o)
		}
		return nil
	}, m.status, m.requests, m.untracked)
	if err := errors.Join(append(errs[:], err)...); err != nil {
		otel.Handle(err)
	}
	if registration != nil {
		runtime.AddCleanup(t, func(r metric.Registration) { _ = r.Unregister() }, registration)
	}
	return m
}

// seriesOf returns the series of a circuit's key.
func (m *metrics) seriesOf(key string) *series {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.own[key]; ok {
		return s
	}
	if len(m.all) > m.maxKeys {
		return m.all[0]
	}
	common := m.address(key)
	// Two origins may have one address: http and https on the same port.
	i := slices.IndexFunc(m.all, func(s *series) bool { return slices.Equal(s.common, common) })
	if i < 0 {
		i = len(m.all)
		m.newSeries(common...)
	}
	m.own[key] = m.all[i]
	return m.all[i]
}

// address is the attributes that everything about a circuit has.
func (m *metrics) address(key string) []attribute.KeyValue {
	if host, port, ok := addressOf(key); ok {
		return []attribute.KeyValue{m.name, serverAddressKey.String(host), serverPortKey.Int(port)}
	}
	return []attribute.KeyValue{m.name, circuitKeyKey.String(key)}
}

func (m *metrics) newSeries(common ...attribute.KeyValue) {
	s := &series{metrics: m, index: len(m.all), common: common}
	m.all = append(m.all, s)
	for state := range s.status {
		s.status[state] = []metric.ObserveOption{s.with(stateKey.String(State(state).String()))}
	}
	for i, outcome := range []string{"success", "ignored", "refused", "limited"} {
		s.outcomes[i] = []metric.ObserveOption{s.with(outcomeKey.String(outcome))}
	}
}

// with returns the common attributes and more.
func (s *series) with(more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(append(more, s.common...)...))
}

// steps are the transitions of an ordinary life.
var steps = [...][2]State{
	{StateClosed, StateOpen},
	{StateOpen, StateHalfOpen},
	{StateHalfOpen, StateClosed},
	{StateHalfOpen, StateOpen},
}

// eagerSeries is how many series announce all steps at once. Later ones announce only
// the first until they open: the SDK keeps 2000 sets of attributes an instrument.
const eagerSeries = 300

// announce adds 0 to the transitions of a new circuit, so that the first is an increase.
func (s *series) announce() {
	n := 1
	if s.index < eagerSeries {
		n = len(s.metrics.steps)
	}
	s.announceSteps(n)
}

func (s *series) announceSteps(n int) {
	done := int(s.announced.Swap(int32(n)))
	for _, step := range s.metrics.steps[min(done, n):n] {
		s.addTransition(context.Background(), 0, step[0], step[1])
	}
}

func (s *series) addTransition(ctx context.Context, n int64, from, to State) {
	s.metrics.transitions.Add(ctx, n, s.with(previousStateKey.String(from.String()), stateKey.String(to.String())))
}

// retire keeps the totals of a circuit that is evicted.
func (s *series) retire(totals circuit.Totals) { s.add(&s.past, totals) }

// add adds the totals of a circuit to a sum that began as the past. An error
// type that has found room, or none, does so for ever: else a counter would fall.
func (s *series) add(sum *circuit.Totals, totals circuit.Totals) {
	s.metrics.mu.Lock()
	defer s.metrics.mu.Unlock()
	for _, f := range totals.Failures {
		s.past.Fail(f.Type, 0)
	}
	for _, f := range s.past.Failures[len(sum.Failures):] {
		sum.Fail(f.Type, 0)
	}
	sum.Add(totals)
}

// An observation is what is recorded of a series at a collection.
type observation struct {
	*series
	totals circuit.Totals
	states [3]int64
}

// observe records the state and the totals of every circuit.
func (t *Transport) observe(o metric.Observer) {
	var hosts []*host
	var all []observation
	// A circuit is either among the hosts or in the past of its series, else
	// a counter would fall.
	t.hosts.Locked(func(live []*host) { hosts, all = live, t.metrics.observations() })
	for _, h := range hosts {
		by := circuit.Cause{Context: context.Background()}
		s := h.circuit.Snapshot(&by)
		h.emitRead(&by)
		sum := &all[h.series.index]
		sum.add(&sum.totals, s.Totals)
		sum.states[s.State]++
	}
	for i := range all {
		all[i].record(o)
	}
	o.ObserveInt64(t.metrics.untracked, int64(t.untracked.Load()), metric.WithAttributes(t.metrics.name))
}

// observations begins with the totals of evicted circuits.
func (m *metrics) observations() []observation {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]observation, len(m.all))
	for i, s := range m.all {
		all[i] = observation{series: s, totals: s.past}
		all[i].totals.Failures = slices.Clone(s.past.Failures)
	}
	return all
}

// limited is the outcome that is recorded only where there is one.
const limited = 3

func (sum *observation) record(o metric.Observer) {
	m := sum.metrics
	if sum.states != [3]int64{} { // it has circuits now
		for state, n := range sum.states {
			o.ObserveInt64(m.status, n, sum.status[state]...)
		}
	}
	if sum.announced.Load() == 0 {
		return // the series of the other circuits, while there are none
	}
	for i, n := range []uint64{sum.totals.Success, sum.totals.Ignored, sum.totals.Refused, sum.totals.Limited} {
		if n == 0 && i == limited {
			continue // few hosts ever limit, and the SDK has no room for a series of each
		}
		o.ObserveInt64(m.requests, int64(n), sum.outcomes[i]...)
	}
	for _, f := range sum.totals.Failures {
		o.ObserveInt64(m.requests, int64(f.Count), sum.with(outcomeKey.String("failure"), errorTypeKey.String(f.Type)))
	}
}

// recordTransition records a transition in metrics, and on the span of the request
// that caused it.
func (h *host) recordTransition(ctx context.Context, e circuit.Event) {
	from, to := State(e.From), State(e.To)
	if !e.Uncounted {
		h.series.addTransition(ctx, 1, from, to)
	}
	if to == StateOpen {
		h.series.announceSteps(len(h.series.metrics.steps))
	}
	span := trace.SpanFromContext(ctx)
	if e.Untold || !span.IsRecording() {
		return
	}
	attrs := append(h.t.metrics.address(h.key),
		previousStateKey.String(from.String()), stateKey.String(to.String()), reasonKey.String(e.Reason))
	if to == StateOpen && e.OpenFor > 0 {
		attrs = append(attrs, openForKey.Float64(e.OpenFor.Seconds()))
	}
	span.AddEvent("circuit_breaker.state_change", trace.WithAttributes(attrs...))
}

// recordRefusal records a refusal on the request's span.
func (h *host) recordRefusal(req *http.Request, e *OpenError) {
	span := trace.SpanFromContext(req.Context())
	if !span.IsRecording() {
		return
	}
	attrs := append(h.t.metrics.address(h.key), stateKey.String(e.State.String()), errorTypeKey.String(errorTypeOpen))
	if e.RetryAfter > 0 {
		attrs = append(attrs, retryAfterKey.Float64(e.RetryAfter.Seconds()))
	}
	span.AddEvent("circuit_breaker.request.refused", trace.WithAttributes(attrs...))
}
