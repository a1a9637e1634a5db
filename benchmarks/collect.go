package main

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/breakerhttp/breakerhttp"
)

const (
	nameSDK      = "collection of the metrics, by the SDK"
	nameOwn      = "collection of the metrics, the part of breakerhttp"
	nameReplayed = "the SDK with the same series, without breakerhttp"
)

// collected measures a collection of the metrics of so many circuits.
func collected(budget time.Duration, circuits int) (*field, error) {
	reader := sdkmetric.NewManualReader()
	tap := &tap{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))}
	t, err := breakerhttp.New(&stub{http.NoBody}, breakerhttp.WithMeterProvider(tap))
	if err != nil {
		return nil, err
	}
	meet(t, hostNames("collected", circuits))
	var rm, again metricdata.ResourceMetrics
	must(reader.Collect(context.Background(), &rm))
	bare, err := replayed(&rm)
	if err != nil {
		return nil, err
	}
	f := &field{}
	f.add(subject{Name: nameSDK, send: repeat(func() { must(reader.Collect(context.Background(), &rm)) })})
	f.add(subject{Name: nameOwn, send: repeat(func() { must(tap.callback(context.Background(), noop.Observer{})) })})
	f.add(subject{Name: nameReplayed, send: repeat(func() { must(bare.Collect(context.Background(), &again)) })})
	f.measure(budget, slowSlice)
	runtime.KeepAlive(t)
	return f, nil
}

// replayed returns an SDK that has the series of a collection, and callbacks that
// only observe them: the least that any collection of them can cost.
func replayed(rm *metricdata.ResourceMetrics) (sdkmetric.Reader, error) {
	reader := sdkmetric.NewManualReader()
	meter := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("replayed")
	var errs []error
	for _, m := range rm.ScopeMetrics[0].Metrics {
		var err error
		switch data := m.Data.(type) {
		case metricdata.Gauge[int64]:
			_, err = meter.Int64ObservableGauge(m.Name, metric.WithInt64Callback(observe(data.DataPoints)))
		case metricdata.Sum[int64]:
			if m.Name == "circuit_breaker.transitions" {
				err = count(meter, m.Name, data.DataPoints)
				break
			}
			_, err = meter.Int64ObservableCounter(m.Name, metric.WithInt64Callback(observe(data.DataPoints)))
		}
		errs = append(errs, err)
	}
	return reader, errors.Join(errs...)
}

func observe(points []metricdata.DataPoint[int64]) metric.Int64Callback {
	series := make([][]metric.ObserveOption, len(points))
	for i, p := range points {
		series[i] = []metric.ObserveOption{metric.WithAttributeSet(p.Attributes)}
	}
	return func(_ context.Context, o metric.Int64Observer) error {
		for _, s := range series {
			o.Observe(1, s...)
		}
		return nil
	}
}

// count adds once to a counter that has no callback.
func count(meter metric.Meter, name string, points []metricdata.DataPoint[int64]) error {
	counter, err := meter.Int64Counter(name)
	for _, p := range points {
		counter.Add(context.Background(), 1, metric.WithAttributeSet(p.Attributes))
	}
	return err
}

func repeat(f func()) func(n int) int {
	return func(n int) int {
		for range n {
			f()
		}
		return 0
	}
}

// A tap lets the callback of a Transport be called without the SDK.
type tap struct {
	metric.MeterProvider
	callback metric.Callback
}

// Meter implements [metric.MeterProvider].
func (t *tap) Meter(name string, opts ...metric.MeterOption) metric.Meter {
	return tappedMeter{t.MeterProvider.Meter(name, opts...), t}
}

type tappedMeter struct {
	metric.Meter
	tap *tap
}

// RegisterCallback implements [metric.Meter].
func (m tappedMeter) RegisterCallback(f metric.Callback, instruments ...metric.Observable) (metric.Registration, error) {
	m.tap.callback = f
	return m.Meter.RegisterCallback(f, instruments...)
}
