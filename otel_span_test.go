package breakerhttp_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/breakerhttp/breakerhttp"
)

// An event is one of a span: its name, and its attributes without
// "circuit_breaker.".
type event struct {
	Name  string
	Attrs map[string]any
}

// changed is the event of a transition. It has more attributes in pairs.
func changed(from, to, reason string, more ...any) event {
	return newEvent("circuit_breaker.state_change",
		append([]any{"circuit_breaker.previous_state", from, "circuit_breaker.state", to, "circuit_breaker.reason", reason}, more...))
}

// refusedIn is the event of a refusal.
func refusedIn(state string, more ...any) event {
	return newEvent("circuit_breaker.request.refused",
		append([]any{"circuit_breaker.state", state, "error.type", "circuit_open"}, more...))
}

func newEvent(name string, pairs []any) event {
	e := event{name, map[string]any{"circuit_breaker.name": "default", "server.address": "a.test", "server.port": int64(80)}}
	for i := 0; i < len(pairs); i += 2 {
		e.Attrs[pairs[i].(string)] = pairs[i+1]
	}
	return e
}

// eventsOf are the events of this package on a span.
func eventsOf(span sdktrace.ReadOnlySpan) (events []event) {
	for _, e := range span.Events() {
		got := event{e.Name, map[string]any{}}
		for _, kv := range e.Attributes {
			if _, ok := got.Attrs[string(kv.Key)]; ok {
				got.Attrs[string(kv.Key)] = "twice"
			} else {
				got.Attrs[string(kv.Key)] = kv.Value.AsInterface()
			}
		}
		events = append(events, got)
	}
	return events
}

// A tracer sends requests, each with a span.
type tracer struct {
	trace.Tracer
	spans *tracetest.SpanRecorder
}

func newTracer(opts ...sdktrace.TracerProviderOption) (*tracer, *sdktrace.TracerProvider) {
	spans := tracetest.NewSpanRecorder()
	tp := sdktrace.NewTracerProvider(append(opts, sdktrace.WithSpanProcessor(spans))...)
	return &tracer{tp.Tracer("test"), spans}, tp
}

// get returns the span of a request. It ends as soon as RoundTrip has returned.
func (tc *tracer) get(rt http.RoundTripper, url string) sdktrace.ReadOnlySpan {
	return tc.during(url, func(req *http.Request) { _, _ = rt.RoundTrip(req) })
}

func (tc *tracer) during(url string, send func(*http.Request)) sdktrace.ReadOnlySpan {
	ctx, span := tc.Start(context.Background(), "caller")
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	send(req)
	span.End()
	return tc.ended(func(s sdktrace.ReadOnlySpan) bool {
		return s.SpanContext().SpanID() == span.SpanContext().SpanID()
	})
}

// childOf returns the client's span, or nil.
func (tc *tracer) childOf(caller sdktrace.ReadOnlySpan) sdktrace.ReadOnlySpan {
	return tc.ended(func(s sdktrace.ReadOnlySpan) bool { return s.Parent().SpanID() == caller.SpanContext().SpanID() })
}

func (tc *tracer) ended(is func(sdktrace.ReadOnlySpan) bool) sdktrace.ReadOnlySpan {
	for _, s := range tc.spans.Ended() {
		if is(s) {
			return s
		}
	}
	return nil
}

func wantEvents(t *testing.T, what string, span sdktrace.ReadOnlySpan, want ...event) {
	t.Helper()
	if diff := cmp.Diff(want, eventsOf(span)); diff != "" {
		t.Errorf("%s: events (-want +got):\n%s", what, diff)
	}
}

// TestSpanEvents: the span of the request that changed or was refused something
// tells so.
func TestSpanEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tc, _ := newTracer()
		tr := newTransport(t, respondByPath(), breakerhttp.WithMaxMetricKeys(0), // events have an address all the same
			breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: 1500 * time.Millisecond, ConsecutiveFailures: 2, Ramp: time.Hour}))
		wantEvents(t, "success", tc.get(tr, "http://a.test/200"))
		wantEvents(t, "first failure", tc.get(tr, "http://a.test/503"))
		wantEvents(t, "second failure", tc.get(tr, "http://a.test/503"),
			changed("closed", "open", "consecutive_failures", "circuit_breaker.open_for", 1.5))
		time.Sleep(250 * time.Millisecond)
		wantEvents(t, "refused", tc.get(tr, "http://a.test/200"), refusedIn("open", "circuit_breaker.retry_after", 1.25))
		time.Sleep(2 * time.Second)
		wantEvents(t, "failed probe", tc.get(tr, "http://a.test/503"), changed("open", "half_open", "open_elapsed"),
			changed("half_open", "open", "probe_failed", "circuit_breaker.open_for", 1.5))
		time.Sleep(2 * time.Second)
		wantEvents(t, "good probe", tc.get(tr, "http://a.test/200"), changed("open", "half_open", "open_elapsed"),
			changed("half_open", "closed", "probe_succeeded"))
		for refused := false; !refused; { // nine in ten
			span := tc.get(tr, "http://a.test/200")
			if refused = len(span.Events()) > 0; refused {
				wantEvents(t, "ramping", span, refusedIn("closed"))
			}
		}
		tr.ForceOpen("http://a.test")
		wantEvents(t, "forced", tc.get(tr, "http://a.test/200"), refusedIn("open"))
	})
}

// TestSpanOfHungProbe: a change that no request was there for goes to the one
// that notices, besides its own refusal.
func TestSpanOfHungProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tc, _ := newTracer()
		answer := make(chan int)
		tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
			return respond(<-answer)(req)
		}), breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: 1, OpenFor: time.Minute, ProbeTimeout: time.Second}))
		go func() { answer <- 500 }()
		_ = tc.get(tr, "http://a.test/")
		time.Sleep(time.Minute)
		probe := make(chan sdktrace.ReadOnlySpan)
		go func() { probe <- tc.get(tr, "http://a.test/") }()
		synctest.Wait()
		wantEvents(t, "during the probe", tc.get(tr, "http://a.test/"), refusedIn("half_open"))
		time.Sleep(11 * time.Second)
		got := eventsOf(tc.get(tr, "http://a.test/"))
		slices.SortFunc(got, func(a, b event) int { return strings.Compare(a.Name, b.Name) })
		want := []event{
			refusedIn("open", "circuit_breaker.retry_after", 50.0),
			changed("half_open", "open", "probe_timeout", "circuit_breaker.open_for", 60.0),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("after it: events (-want +got):\n%s", diff)
		}
		answer <- 200
		wantEvents(t, "the probe", <-probe, changed("open", "half_open", "open_elapsed"))
	})
}

// TestSpanOfCustomKey: events have the key where there is no address.
func TestSpanOfCustomKey(t *testing.T) {
	tc, _ := newTracer()
	tr := newTransport(t, respond(200), breakerhttp.WithName("crm"),
		breakerhttp.WithKey(func(*http.Request) string { return "tenant 7" }))
	tr.ForceOpen("tenant 7")
	wantEvents(t, "refused", tc.get(tr, "http://a.test/"), event{"circuit_breaker.request.refused", map[string]any{
		"circuit_breaker.name": "crm", "circuit_breaker.key": "tenant 7",
		"circuit_breaker.state": "open", "error.type": "circuit_open",
	}})
}

// TestExemplars: a transition leads to the trace of the request that caused it.
func TestExemplars(t *testing.T) {
	reader, mp := newMeter()
	tc, _ := newTracer()
	tr := newTransport(t, respondByPath(), breakerhttp.WithMeterProvider(mp), breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: 2}))
	_ = tc.get(tr, "http://a.test/503")
	span := tc.get(tr, "http://a.test/503")
	want := span.SpanContext().TraceID()
	var got [][]byte
	for _, m := range collect(t, reader).Metrics {
		if sum, ok := m.Data.(metricdata.Sum[int64]); ok {
			for _, p := range sum.DataPoints {
				for _, e := range p.Exemplars {
					if to, _ := p.Attributes.Value(attribute.Key("circuit_breaker.state")); to.AsString() != "open" || e.Value != 1 {
						t.Errorf("got an exemplar of %v with value %d", p.Attributes, e.Value)
					}
					got = append(got, e.TraceID)
				}
			}
		}
	}
	if diff := cmp.Diff([][]byte{want[:]}, got); diff != "" {
		t.Errorf("traces of exemplars (-want +got):\n%s", diff)
	}
}
