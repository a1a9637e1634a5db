package breakerhttp

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"weak"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// The instrumentation scope.
const (
	scopeName    = "github.com/breakerhttp/breakerhttp"
	scopeVersion = "0.1.0"
)

const (
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

// otherAddress is where the circuits beyond WithMaxMetricKeys are added up.
const otherAddress = "_other"

// metrics are the instruments of a Transport. No request calls one, unless it
// changes a state: requests are counted by their circuits, and read at
// collection.
type metrics struct {
	name    attribute.KeyValue
	maxKeys int

	status      metric.Int64ObservableGauge
	transitions metric.Int64Counter
	requests    metric.Int64ObservableCounter
	untracked   metric.Int64ObservableCounter

	// mu is taken by newcomers, evictions and collections; by no request to a
	// host that has its circuit.
	mu    sync.Mutex
	own   map[string]*series // by key; they stay when the circuit goes
	other *series            // of all further circuits
}

// A series is what one or more circuits are reported as.
type series struct {
	metrics   *metrics
	common    []attribute.KeyValue
	announced atomic.Bool
	status    [3]metric.MeasurementOption // by State
	outcomes  [3]metric.MeasurementOption // success, ignored, refused
	past      circuit.Totals              // of evicted circuits; under metrics.mu
}

// newMetrics makes the instruments of t. Their callback holds t weakly: a
// Transport that is garbage must neither live on nor be counted.
func newMetrics(t *Transport, c *config) *metrics {
	provider := c.meterProvider
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	meter := provider.Meter(scopeName, metric.WithInstrumentationVersion(scopeVersion))
	m := &metrics{name: nameKey.String(c.name), maxKeys: c.maxMetricKeys, own: map[string]*series{}}
	m.other = m.newSeries([]attribute.KeyValue{m.name, serverAddressKey.String(otherAddress)})

	var errs [5]error
	m.status, errs[0] = meter.Int64ObservableGauge("circuit_breaker.status", metric.WithUnit("{circuit}"),
		metric.WithDescription("Circuits in this state."))
	m.transitions, errs[1] = meter.Int64Counter("circuit_breaker.transitions", metric.WithUnit("{transition}"),
		metric.WithDescription("Changes of a circuit's state."))
	m.requests, errs[2] = meter.Int64ObservableCounter("circuit_breaker.requests", metric.WithUnit("{request}"),
		metric.WithDescription("Requests by what became of them."))
	m.untracked, errs[3] = meter.Int64ObservableCounter("circuit_breaker.untracked", metric.WithUnit("{request}"),
		metric.WithDescription("Requests sent without a circuit, for want of room."))
	transport := weak.Make(t)
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		if t := transport.Value(); t != nil {
			t.observe(o)
		}
		return nil
	}, m.status, m.requests, m.untracked)
	errs[4] = err
	if err := errors.Join(errs[:]...); err != nil {
		otel.Handle(err)
	}
	if registration != nil {
		runtime.AddCleanup(t, func(r metric.Registration) { _ = r.Unregister() }, registration)
	}
	return m
}

// seriesOf returns the series of a circuit's key: one of its own, or the other.
func (m *metrics) seriesOf(key string) *series {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.own[key]
	switch {
	case ok:
		return s
	case len(m.own) >= m.maxKeys:
		return m.other
	}
	s = m.newSeries(m.address(key))
	m.own[key] = s
	return s
}

// address is the attributes that everything about a circuit has.
func (m *metrics) address(key string) []attribute.KeyValue {
	if host, port, ok := addressOf(key); ok {
		return []attribute.KeyValue{m.name, serverAddressKey.String(host), serverPortKey.Int(port)}
	}
	return []attribute.KeyValue{m.name, circuitKeyKey.String(key)}
}

func (m *metrics) newSeries(common []attribute.KeyValue) *series {
	s := &series{metrics: m, common: common}
	for state := range s.status {
		s.status[state] = s.with(stateKey.String(State(state).String()))
	}
	for i, outcome := range []string{"success", "ignored", "refused"} {
		s.outcomes[i] = s.with(outcomeKey.String(outcome))
	}
	return s
}

// with returns the common attributes and more.
func (s *series) with(more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(append(more, s.common...)...))
}

// announce adds 0 to the transitions to come, once, so that the first one is
// seen as an increase.
func (s *series) announce() {
	if s.announced.Swap(true) {
		return
	}
	for _, step := range [][2]State{
		{StateClosed, StateOpen},
		{StateOpen, StateHalfOpen},
		{StateHalfOpen, StateClosed},
		{StateHalfOpen, StateOpen},
	} {
		s.addTransition(context.Background(), 0, step[0], step[1])
	}
}

func (s *series) addTransition(ctx context.Context, n int64, from, to State) {
	s.metrics.transitions.Add(ctx, n, s.with(previousStateKey.String(from.String()), stateKey.String(to.String())))
}

// retire keeps the totals of a circuit that is evicted.
func (s *series) retire(totals circuit.Totals) {
	s.metrics.mu.Lock()
	defer s.metrics.mu.Unlock()
	s.past.Add(totals)
}

// An observation is what a series reports at a collection.
type observation struct {
	totals circuit.Totals
	states [3]int64
	live   bool // it has circuits now
}

// observe reports on every circuit.
func (t *Transport) observe(o metric.Observer) {
	m := t.metrics
	sums := map[*series]*observation{}
	var hosts []*host
	// A circuit is either among the hosts or in the past of its series, else
	// a counter would fall.
	t.hosts.Locked(func(all []*host) {
		hosts = all
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, s := range m.own {
			sums[s] = &observation{}
			sums[s].totals.Add(s.past)
		}
		sums[m.other] = &observation{}
		sums[m.other].totals.Add(m.other.past)
	})
	for _, h := range hosts {
		by := circuit.Cause{Context: context.Background()}
		s := h.circuit.Snapshot(&by, t.now())
		h.tell(&by)
		sum := sums[h.series]
		sum.totals.Add(s.Totals)
		sum.states[s.State]++
		sum.live = true
	}
	for s, sum := range sums {
		s.observe(o, sum)
	}
	o.ObserveInt64(m.untracked, int64(t.untracked.Load()), metric.WithAttributes(m.name))
}

func (s *series) observe(o metric.Observer, sum *observation) {
	m := s.metrics
	if sum.live {
		for state, n := range sum.states {
			o.ObserveInt64(m.status, n, s.status[state])
		}
	}
	if !s.announced.Load() {
		return // the other series, while nobody needs it
	}
	for i, n := range []uint64{sum.totals.Success, sum.totals.Ignored, sum.totals.Refused} {
		o.ObserveInt64(m.requests, int64(n), s.outcomes[i])
	}
	for _, f := range sum.totals.Failures {
		o.ObserveInt64(m.requests, int64(f.Count), s.with(outcomeKey.String("failure"), errorTypeKey.String(f.Type)))
	}
}

// tell reports the transitions that a request has caused, in metrics and on its
// span, and calls the hook.
func (h *host) tell(by *circuit.Cause) {
	if len(by.Events) == 0 {
		return
	}
	events := by.Events
	by.Events = nil
	span := trace.SpanFromContext(by.Context)
	for _, e := range events {
		from, to := State(e.From), State(e.To)
		h.series.addTransition(by.Context, 1, from, to)
		if !span.IsRecording() {
			continue
		}
		attrs := append(h.t.metrics.address(h.key),
			previousStateKey.String(from.String()), stateKey.String(to.String()), reasonKey.String(e.Reason))
		if to == StateOpen && e.OpenFor > 0 {
			attrs = append(attrs, openForKey.Float64(e.OpenFor.Seconds()))
		}
		span.AddEvent("circuit_breaker.state_change", trace.WithAttributes(attrs...))
	}
	h.t.journal.callHook(&h.hooks)
}

// refused reports a refusal on the request's span.
func (h *host) refused(req *http.Request, e *OpenError) {
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
