package breakerhttp_test

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
)

// A spy passes on what is asked of an SDK, and takes notes.
type spy struct {
	metric.MeterProvider
	callback     metric.Callback
	unregistered atomic.Bool
	calls        atomic.Int64 // of counters and spans
}

func (s *spy) Meter(name string, opts ...metric.MeterOption) metric.Meter {
	return spyMeter{s.MeterProvider.Meter(name, opts...), s}
}

type spyMeter struct {
	metric.Meter
	*spy
}

func (m spyMeter) Int64Counter(name string, opts ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	c, err := m.Meter.Int64Counter(name, opts...)
	return spyCounter{c, m.spy}, err
}

func (m spyMeter) RegisterCallback(f metric.Callback, of ...metric.Observable) (metric.Registration, error) {
	m.callback = f
	r, err := m.Meter.RegisterCallback(f, of...)
	return spyRegistration{r, m.spy}, err
}

type spyCounter struct {
	metric.Int64Counter
	*spy
}

func (c spyCounter) Add(ctx context.Context, n int64, opts ...metric.AddOption) {
	c.calls.Add(1)
	c.Int64Counter.Add(ctx, n, opts...)
}

type spyRegistration struct {
	metric.Registration
	*spy
}

func (r spyRegistration) Unregister() error {
	defer r.unregistered.Store(true)
	return r.Registration.Unregister()
}

type spySpan struct {
	tracenoop.Span
	*spy
}

func (s spySpan) IsRecording() bool { s.calls.Add(1); return true }

func (s spySpan) AddEvent(string, ...trace.EventOption) { s.calls.Add(1) }

// A slowObserver holds a collection up until it is released.
type slowObserver struct {
	noop.Observer
	entered, release chan struct{}
}

func (o *slowObserver) ObserveInt64(metric.Int64Observable, int64, ...metric.ObserveOption) {
	select {
	case o.entered <- struct{}{}:
		<-o.release
	case <-o.release:
	}
}
