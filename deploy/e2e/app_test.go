//go:build e2e && linux

package e2e

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/servertest"
)

// exportInterval is the export interval of the applications: 15 s, divided by speed.
const exportInterval = 15 * time.Second / speed

// An app is an application with circuits and the SDK, set up as in production.
type app struct {
	service   string
	transport *breakerhttp.Transport
	client    *http.Client
	spans     *tracetest.SpanRecorder

	exporting sync.Mutex
	export    func()
}

// startApp starts an application that exports to the Collector until t ends.
func (s *stack) startApp(t *testing.T, service string, opts ...breakerhttp.Option) *app {
	t.Helper()
	ctx := context.Background()
	metrics, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpoint(s.otlp), otlpmetrichttp.WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	traces, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpoint(s.otlp), otlptracehttp.WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	a := &app{service: service, spans: tracetest.NewSpanRecorder()}
	res := resource.NewSchemaless(attribute.String("service.name", service), attribute.String("service.instance.id", service+"-1"))
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithResource(res),
		sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metrics, sdkmetric.WithInterval(time.Hour)))) // never: a.every exports
	tp := sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithBatcher(traces), sdktrace.WithSpanProcessor(a.spans))
	t.Cleanup(func() {
		if err := mp.Shutdown(ctx); err != nil {
			t.Errorf("%s: MeterProvider.Shutdown: %v", service, err)
		}
		if err := tp.Shutdown(ctx); err != nil {
			t.Errorf("%s: TracerProvider.Shutdown: %v", service, err)
		}
	})

	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	a.transport, err = breakerhttp.New(base, append(opts, breakerhttp.WithMeterProvider(mp))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { runtime.KeepAlive(a.transport) })
	a.client = &http.Client{
		Transport: otelhttp.NewTransport(a.transport, otelhttp.WithTracerProvider(tp), otelhttp.WithMeterProvider(mp)),
		Timeout:   patience,
	}
	a.export = func() {
		if err := mp.ForceFlush(ctx); err != nil {
			t.Errorf("%s: MeterProvider.ForceFlush: %v", service, err)
		}
		if err := tp.ForceFlush(ctx); err != nil {
			t.Errorf("%s: TracerProvider.ForceFlush: %v", service, err)
		}
	}
	a.every(t, exportInterval, func() { a.unseen(a.export) })
	return a
}

// unseen calls f while nothing is exported.
func (a *app) unseen(f func()) {
	a.exporting.Lock()
	defer a.exporting.Unlock()
	f()
}

// every calls f every d until t ends.
func (a *app) every(t *testing.T, d time.Duration, f func()) {
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(func() { stop(); wg.Wait() })
	wg.Go(func() {
		ticker := time.NewTicker(d)
		defer ticker.Stop()
		for ctx.Err() == nil {
			f()
			select {
			case <-ctx.Done():
			case <-ticker.C:
			}
		}
	})
}

// get sends a request to u and reports whether the answer was a complete 200.
func (a *app) get(u *upstream) bool {
	resp, err := a.client.Get("http://" + u.addr)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}

// host returns the labels that say where u is in the alerts of a.
func (a *app) host(t *testing.T, u *upstream) labels {
	return labels{"job": a.service, "server_address": "127.0.0.1", "server_port": portOf(t, u.addr)}
}

// An upstream is a host that can die and recover.
type upstream struct {
	addr   string
	server *httptest.Server
}

func startUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{addr: servertest.FreeAddr(t)}
	u.revive(t)
	t.Cleanup(u.die)
	return u
}

func (u *upstream) revive(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", u.addr)
	if err != nil {
		t.Fatal(err)
	}
	u.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "alive")
	}))
	u.server.Listener.Close()
	u.server.Listener = l
	u.server.Start()
}

// die closes the upstream and all its connections. It may do so twice.
func (u *upstream) die() {
	u.server.CloseClientConnections()
	u.server.Close()
}
