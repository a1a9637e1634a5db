package e2e

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	prometheusclient "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/breakerhttp/breakerhttp"
)

// TestExporter scrapes a process that contains the exporter for Prometheus. The series have the
// names and labels that the alerts ask for.
func TestExporter(t *testing.T) {
	registry := prometheusclient.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	if err != nil {
		t.Fatal(err)
	}
	provider := metric.NewMeterProvider(metric.WithReader(exporter))
	transport, err := breakerhttp.New(nil, breakerhttp.WithName("shop"), breakerhttp.WithMeterProvider(provider))
	if err != nil {
		t.Fatal(err)
	}
	transport.ForceOpen("https://api.example.com")

	answer := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).
		ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []struct {
		name, value string
		labels      []string
	}{
		{"circuit_breaker_status", "1", []string{`circuit_breaker_state="open"`}},
		{"circuit_breaker_transitions_total", "1", []string{`circuit_breaker_previous_state="closed"`, `circuit_breaker_state="open"`}},
		{"circuit_breaker_requests_total", "0", []string{`circuit_breaker_outcome="refused"`}},
	} {
		labels := append(want.labels, `circuit_breaker_name="shop"`, `server_address="api.example.com"`, `server_port="443"`)
		if got := sampleOf(answer.Body.String(), want.name, labels); got != want.value {
			t.Errorf("%s with %v: got %q, want %q, in\n%s", want.name, labels, got, want.value, answer.Body)
		}
	}
}

// sampleOf returns the value of the series of a name that has all the labels.
func sampleOf(metrics, name string, labels []string) string {
lines:
	for line := range strings.Lines(metrics) {
		if !strings.HasPrefix(line, name+"{") {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(line, label) {
				continue lines
			}
		}
		return strings.TrimSpace(line[strings.LastIndex(line, "}")+1:])
	}
	return ""
}
