package breakerhttp

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/breakerhttp/breakerhttp/internal/fleet"
)

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
