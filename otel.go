package breakerhttp

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
	"github.com/breakerhttp/breakerhttp/internal/fleet"
	"github.com/breakerhttp/breakerhttp/internal/keytext"
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
	dryRunKey        = attribute.Key("circuit_breaker.dry_run")
)

// metrics are the instruments of a Transport, and the series of its circuits. A request calls an
// instrument only if it changes a circuit's state. Circuits count their requests themselves, and a
// collection reads the counts.
type metrics struct {
	*collector
	transport []attribute.KeyValue // attributes of all series and events of the Transport
	maxKeys   int
	store     *storeMetrics // nil without a store
	steps     [][2]State    // transitions, from and to, that new series initialize

	// New circuits, evictions and collections take mu. A request to a host that has a circuit does
	// not.
	mu        sync.Mutex
	byAddress map[address]*series // series that have not ended
	all       []*series           // in a fixed order, because an SDK drops the last ones; that of _other first
	free      list.List           // series without circuits; in front the one that lost its circuit first

	eager atomic.Int32 // series that have initialized all steps at once
}

// newMetrics sets t.metrics, and has them collected.
func newMetrics(t *Transport, c *config) {
	provider := c.meterProvider
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	m := &metrics{
		transport: []attribute.KeyValue{nameKey.String(keytext.Encode(c.name))},
		maxKeys:   c.maxMetricKeys,
		byAddress: map[address]*series{},
		steps:     steps[:],
	}
	if c.dryRun {
		m.transport = append(m.transport, dryRunKey.Bool(true))
	}
	m.all = []*series{{metrics: m, address: otherAddress}}
	if c.store != nil {
		m.steps = append(m.steps, [2]State{StateOpen, StateClosed}) // another process has probed
		meter := provider.Meter(scopeName, metric.WithInstrumentationVersion(scopeVersion))
		var err error
		if m.store, err = newStoreMetrics(t, meter, m.transport...); err != nil {
			otel.Handle(err)
		}
	}
	collect(t, m, collectorKey{provider, c.name, c.dryRun})
}

// with returns the attributes of the Transport, and more.
func (m *metrics) with(more ...attribute.KeyValue) []attribute.KeyValue {
	return slices.Concat(m.transport, more)
}

// recordTransition records a transition in metrics, and on the span of the request
// that caused it.
func (h *host) recordTransition(ctx context.Context, e circuit.Event) {
	from, to := State(e.From), State(e.To)
	if !e.Uncounted {
		h.series.addTransition(ctx, 1, from, to)
	}
	if to == StateOpen {
		h.series.initializeSteps(len(h.series.metrics.steps))
	}
	span := trace.SpanFromContext(ctx)
	if e.Unrecorded || !span.IsRecording() {
		return
	}
	attrs := append(h.attributes(),
		previousStateKey.String(from.String()), stateKey.String(to.String()), reasonKey.String(e.Reason))
	if to == StateOpen && e.OpenFor > 0 {
		attrs = append(attrs, openForKey.Float64(e.OpenFor.Seconds()))
	}
	span.AddEvent("circuit_breaker.state_change", trace.WithAttributes(attrs...))
}

// attributes returns the attributes of all span events about a circuit.
func (h *host) attributes() []attribute.KeyValue {
	return h.t.metrics.with(newAddress(h.key).attributes()...)
}

// recordRefusal records a refusal on the request's span.
func (h *host) recordRefusal(req *http.Request, e *OpenError) {
	if span := trace.SpanFromContext(req.Context()); span.IsRecording() {
		h.addRefusal(span, e)
	}
}

// addRefusal is apart so that the refusals without a span, which are most, do not need its stack.
func (h *host) addRefusal(span trace.Span, e *OpenError) {
	attrs := append(h.attributes(), stateKey.String(e.State.String()), errorTypeKey.String(errorTypeOpen))
	if e.RetryAfter > 0 {
		attrs = append(attrs, retryAfterKey.Float64(e.RetryAfter.Seconds()))
	}
	span.AddEvent("circuit_breaker.request.refused", trace.WithAttributes(attrs...))
}

// storeMetrics are the instruments of the store that circuits are shared through.
type storeMetrics struct {
	common  []attribute.KeyValue
	errors  metric.Int64Counter
	calls   metric.Int64Counter
	paused  metric.Int64ObservableGauge
	results map[storeResult]metric.MeasurementOption
}

// A storeResult is how a call of the store has ended.
type storeResult struct{ operation, result string }

// newStoreMetrics makes the instruments. All series of the counters exist from the start, so that
// monitoring sees the first error as an increase.
func newStoreMetrics(t *Transport, meter metric.Meter, common ...attribute.KeyValue) (*storeMetrics, error) {
	m := &storeMetrics{common: common, results: map[storeResult]metric.MeasurementOption{}}
	var errs [4]error
	m.errors, errs[0] = meter.Int64Counter("circuit_breaker.store.errors", metric.WithUnit("{error}"),
		metric.WithDescription("Failures of the store that circuits are shared through."))
	m.calls, errs[1] = meter.Int64Counter("circuit_breaker.store.calls", metric.WithUnit("{call}"),
		metric.WithDescription("Calls of the store that circuits are shared through, by their results."))
	m.paused, errs[2] = meter.Int64ObservableGauge("circuit_breaker.store.paused", metric.WithUnit("{store}"),
		metric.WithDescription("Stores that are not called for now, because they have failed."))
	for _, operation := range []string{fleet.OpLoad, fleet.OpSwap, fleet.OpRecord, fleet.OpAdopt, fleet.OpWatch} {
		m.errors.Add(context.Background(), 0, m.with(operationKey.String(operation)))
	}
	for _, operation := range []string{fleet.OpLoad, fleet.OpSwap} {
		for _, result := range fleet.Results(operation) {
			attributes := m.with(operationKey.String(operation), resultKey.String(result))
			m.results[storeResult{operation, result}] = attributes
			m.calls.Add(context.Background(), 0, attributes)
		}
	}
	transport := weak.Make(t)
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		if t := transport.Value(); t != nil {
			n := int64(0)
			if t.sharing.fleet.Paused() {
				n = 1
			}
			o.ObserveInt64(m.paused, n, m.with())
		}
		return nil
	}, m.paused)
	errs[3] = err
	if registration != nil {
		runtime.AddCleanup(t, func(r metric.Registration) { _ = r.Unregister() }, registration)
	}
	return m, errors.Join(errs[:]...)
}

const (
	operationKey = attribute.Key("circuit_breaker.store.operation")
	resultKey    = attribute.Key("circuit_breaker.store.result")
)

func (m *storeMetrics) with(more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(append(more, m.common...)...))
}

func (m *storeMetrics) addError(operation string) {
	m.errors.Add(context.Background(), 1, m.with(operationKey.String(operation)))
}

func (m *storeMetrics) addCall(operation, result string) {
	m.calls.Add(context.Background(), 1, m.results[storeResult{operation, result}])
}

// atMostOneASecond limits how often report is called. A panic or Goexit ends nothing but that call.
func atMostOneASecond(now func() time.Duration, report func(error)) func(error) {
	var next atomic.Int64
	return func(err error) {
		now, at := int64(now()), next.Load()
		if now < at || !next.CompareAndSwap(at, now+int64(time.Second)) {
			return
		}
		var reporting sync.WaitGroup
		defer reporting.Wait()
		reporting.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					otel.Handle(fmt.Errorf("breakerhttp: Sharing.OnError panicked: %v", v))
				}
			}()
			report(err)
		})
	}
}
