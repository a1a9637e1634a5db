package breakerhttp_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/pipetest"
)

// TestSpanOrders: inside otelhttp the events are on its client span, outside on
// the caller's.
func TestSpanOrders(t *testing.T) {
	for _, inside := range []bool{true, false} {
		t.Run(fmt.Sprintf("inside=%v", inside), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := pipetest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					if req.URL.Path == "/broken" {
						w.Header().Set("Content-Length", "100")
					}
					_, _ = io.WriteString(w, "body")
				}))
				tc, tp := newTracer()
				policy := breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: 1})
				traced := func(rt http.RoundTripper) http.RoundTripper {
					return otelhttp.NewTransport(rt, otelhttp.WithTracerProvider(tp))
				}
				var rt http.RoundTripper
				if inside {
					rt = traced(newTransport(t, srv.Transport, policy))
				} else {
					rt = newTransport(t, traced(srv.Transport), policy)
				}
				// send also returns the error.type of the client span.
				send := func(what, url string, sent bool, want ...event) (errorType string) {
					t.Helper()
					caller := tc.during(url, func(req *http.Request) { _, _ = do(rt, req) })
					client := tc.childOf(caller)
					if (client != nil) != (inside || sent) {
						t.Fatalf("%s: got client span %v, sent is %v", what, client, sent)
					}
					if !inside {
						wantEvents(t, what+", caller", caller, want...)
						want = nil
					}
					if client != nil {
						wantEvents(t, what+", client", client, want...)
						set := attribute.NewSet(client.Attributes()...)
						v, _ := set.Value("error.type")
						errorType = v.AsString()
					}
					if inside {
						wantEvents(t, what+", caller", caller)
					}
					return errorType
				}
				send("good", "http://a.test/", true)
				send("broken off", "http://a.test/broken", true,
					changed("closed", "open", "consecutive_failures", "circuit_breaker.open_for", 60.0))
				got := send("refused", "http://a.test/", false, refusedIn("open", "circuit_breaker.retry_after", 60.0))
				if want := map[bool]string{true: "circuit_open"}[inside]; got != want {
					t.Errorf("refused: got error.type %q on the client span, want %q", got, want)
				}
				time.Sleep(time.Minute)
				send("probe", "http://a.test/", true,
					changed("open", "half_open", "open_elapsed"), changed("half_open", "closed", "probe_succeeded"))
			})
		})
	}
}

// TestDurationOrders: the durations of otelhttp are of what was sent, or of all
// that was asked for.
func TestDurationOrders(t *testing.T) {
	reader, mp := newMeter()
	measured := func(rt http.RoundTripper) http.RoundTripper {
		return otelhttp.NewTransport(rt, otelhttp.WithMeterProvider(mp))
	}
	for _, c := range []struct {
		order string
		rt    http.RoundTripper
		want  uint64
	}{
		{"breakerhttp, otelhttp", newTransport(t, measured(respond(503))), 5},
		{"otelhttp, breakerhttp", measured(newTransport(t, respond(503))), 10},
	} {
		before := durations(t, reader)
		for range 10 {
			_, _ = get(c.rt, "http://a.test/") // the first five open the circuit
		}
		if got := durations(t, reader) - before; got != c.want {
			t.Errorf("%s: got %d durations of 10 requests, want %d", c.order, got, c.want)
		}
	}
}

// durations is how many requests http.client.request.duration has counted.
func durations(t *testing.T, reader *sdkmetric.ManualReader) (n uint64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		t.Fatalf("Collect: %v", err)
	}
	for _, s := range all.ScopeMetrics {
		for _, m := range s.Metrics {
			if h, ok := m.Data.(metricdata.Histogram[float64]); ok && m.Name == "http.client.request.duration" {
				for _, p := range h.DataPoints {
					n += p.Count
				}
			}
		}
	}
	return n
}
