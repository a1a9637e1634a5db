package main

import (
	"context"
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
	nameSDK = "collection of the metrics, by the SDK"
	nameOwn = "collection of the metrics, the part of breakerhttp"
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
	var rm metricdata.ResourceMetrics
	f := &field{}
	f.add(subject{name: nameSDK, send: repeat(func() { must(reader.Collect(context.Background(), &rm)) })})
	f.add(subject{name: nameOwn, send: repeat(func() { must(tap.callback(context.Background(), noop.Observer{})) })})
	f.measure(budget, slowSlice)
	runtime.KeepAlive(t)
	return f, nil
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
