//go:build e2e && linux

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// opening returns the span of the request that opened a's circuit first.
func (a *app) opening(t *testing.T) sdktrace.ReadOnlySpan {
	t.Helper()
	for _, span := range a.spans.Ended() {
		for _, e := range span.Events() {
			for _, attr := range e.Attributes {
				if attr.Key == "circuit_breaker.state" && attr.Value.AsString() == "open" && e.Name == "circuit_breaker.state_change" {
					return span
				}
			}
		}
	}
	t.Fatalf("none of %s's spans has the event of an opening circuit", a.service)
	return nil
}

// waitForExemplar waits until Prometheus has span as an exemplar of a series.
func (s *stack) waitForExemplar(t *testing.T, series string, span sdktrace.ReadOnlySpan, since time.Time) {
	t.Helper()
	want := labels{"trace_id": span.SpanContext().TraceID().String(), "span_id": span.SpanContext().SpanID().String()}
	eventually(t, fmt.Sprintf("the exemplar %v of %s", want, series), func() error {
		all, err := s.prometheus.exemplars(series, since)
		if err == nil && !slices.ContainsFunc(all, want.in) {
			err = fmt.Errorf("got %v", all)
		}
		return err
	})
}

// waitForEvent waits until the Collector has printed span with an event and its
// attributes.
func (s *stack) waitForEvent(t *testing.T, span sdktrace.ReadOnlySpan, event string, attributes ...string) {
	t.Helper()
	id := ": " + span.SpanContext().SpanID().String() + "\n"
	eventually(t, fmt.Sprintf("the event %s of span%s to arrive at the Collector", event, id), func() error {
		for printed := range strings.SplitSeq(string(s.collector.output(t)), "\nSpan #") {
			if !strings.Contains(printed, id) {
				continue
			}
			_, printed, found := strings.Cut(printed, "-> Name: "+event+"\n")
			if !found {
				return fmt.Errorf("the span has no such event")
			}
			printed, _, _ = strings.Cut(printed, "\nSpanEvent #")
			for _, attribute := range attributes {
				if !strings.Contains(printed, "-> "+attribute) {
					return fmt.Errorf("the event has no %s: %s", attribute, printed)
				}
			}
			return nil
		}
		return fmt.Errorf("no such span in %s", s.collector.log)
	})
}
