//go:build e2e && linux

package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// spanOf returns the first span of a that has an event in which the circuit is open.
func (a *app) spanOf(t *testing.T, event string) sdktrace.ReadOnlySpan {
	t.Helper()
	open := attribute.String("circuit_breaker.state", "open")
	for _, span := range a.spans.Ended() {
		for _, e := range span.Events() {
			if e.Name == event && slices.Contains(e.Attributes, open) {
				return span
			}
		}
	}
	t.Fatalf("none of %s's spans has the event %s", a.service, event)
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
	id := span.SpanContext().SpanID().String()
	eventually(t, fmt.Sprintf("the event %s of span %s to arrive at the Collector", event, id), func() error {
		_, printed, found := strings.Cut(string(s.collector.output(t)), "\n    ID             : "+id+"\n")
		if !found {
			return errors.New("got no such span")
		}
		printed, _, _ = strings.Cut(printed, "\nSpan #")
		_, printed, found = strings.Cut(printed, "-> Name: "+event+"\n")
		if !found {
			return errors.New("the span has no such event")
		}
		printed, _, _ = strings.Cut(printed, "\nSpanEvent #")
		for _, attribute := range attributes {
			if !strings.Contains(printed, "-> "+attribute) {
				return fmt.Errorf("the event has no %s: %s", attribute, printed)
			}
		}
		return nil
	})
}
