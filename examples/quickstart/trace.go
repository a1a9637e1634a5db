package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// A step of a trace is a span, or an event on one.
type step struct {
	Name       string         `json:"name"`
	Event      bool           `json:"event"`
	At         float64        `json:"at"`                // seconds since the trace began
	Seconds    float64        `json:"seconds,omitempty"` // of a span
	Attributes map[string]any `json:"attributes,omitempty"`
}

// trace returns the trace that shows most: of a request during which its circuit
// opened.
func (t *telemetry) trace() []step {
	spans := t.spans.GetSpans()
	if len(spans) == 0 {
		return nil
	}
	root := slices.MaxFunc(spans, func(a, b tracetest.SpanStub) int { return cmp.Compare(interest(a), interest(b)) })
	since := func(at time.Time) float64 { return at.Sub(root.StartTime).Seconds() }
	var steps []step
	for _, s := range spans {
		if s.SpanContext.TraceID() != root.SpanContext.TraceID() {
			continue
		}
		steps = append(steps, step{
			Name: s.Name, At: since(s.StartTime), Seconds: s.EndTime.Sub(s.StartTime).Seconds(),
			Attributes: attributes(s.Attributes),
		})
		for _, e := range s.Events {
			steps = append(steps, step{Name: e.Name, Event: true, At: since(e.Time), Attributes: attributes(e.Attributes)})
		}
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.At, b.At) })
	return steps
}

// interest is how much a span shows: that its circuit opened, and better still
// that a retry was then refused.
func interest(s tracetest.SpanStub) int {
	opened, refused := 0, 0
	for _, e := range s.Events {
		switch {
		case e.Name == "circuit_breaker.request.refused":
			refused = 1
		case slices.Contains(e.Attributes, attribute.String("circuit_breaker.state", "open")):
			opened = 2
		}
	}
	return opened + refused
}

// The attributes that say the same in each step.
var repeated = []string{
	"circuit_breaker.name", "server.address", "server.port", "url.full", "http.request.method", "network.protocol.version",
}

// traceLines show a trace: spans in bold, events under them.
func traceLines(steps []step, width int) []line {
	if steps == nil {
		return nil
	}
	lines := []line{styled(bold, "The trace of one request")}
	for _, s := range steps {
		head, style := s.Name, bold
		if s.Event {
			head, style = "event "+s.Name, plainText
		} else if s.Seconds > 0 {
			head += fmt.Sprintf(" (%.1fms)", s.Seconds*1000)
		}
		at := fmt.Sprintf("%5.0fms  ", s.At*1000)
		lines = append(lines, line{{faint, at}, {style, head}})
		indent := len(at) + 2
		if width < roomy {
			indent = 4
		}
		for _, t := range wrap(s.details(), width-indent) {
			lines = append(lines, styled(faint, strings.Repeat(" ", indent)+t))
		}
	}
	return lines
}

func (s step) details() string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(s.Attributes)) {
		if slices.Contains(repeated, name) {
			continue
		}
		value := fmt.Sprint(s.Attributes[name])
		if f, ok := s.Attributes[name].(float64); ok {
			value = fmt.Sprintf("%.2f", f)
		}
		pairs = append(pairs, name+"="+value)
	}
	return strings.Join(pairs, " ")
}
