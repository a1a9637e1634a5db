package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// telemetry is the OpenTelemetry SDK, exporting into memory.
type telemetry struct {
	meters  *sdkmetric.MeterProvider
	reader  *sdkmetric.ManualReader
	tracers *sdktrace.TracerProvider
	spans   *tracetest.InMemoryExporter
}

func newTelemetry() *telemetry {
	t := &telemetry{reader: sdkmetric.NewManualReader(), spans: tracetest.NewInMemoryExporter()}
	t.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(t.reader))
	t.tracers = sdktrace.NewTracerProvider(sdktrace.WithSyncer(t.spans))
	return t
}

func (t *telemetry) shutdown() {
	_ = t.meters.Shutdown(context.Background())
	_ = t.tracers.Shutdown(context.Background())
}

// A sample is a value of a metric as it is exported.
type sample struct {
	Metric     string         `json:"metric"`
	Attributes map[string]any `json:"attributes"`
	Value      int64          `json:"value"`
}

// samples returns what the breaker exports now.
func (t *telemetry) samples() ([]sample, error) {
	var data metricdata.ResourceMetrics
	if err := t.reader.Collect(context.Background(), &data); err != nil {
		return nil, err
	}
	var samples []sample
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			var points []metricdata.DataPoint[int64]
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				points = d.DataPoints
			case metricdata.Gauge[int64]:
				points = d.DataPoints
			}
			for _, p := range points {
				samples = append(samples, sample{m.Name, attributes(p.Attributes.ToSlice()), p.Value})
			}
		}
	}
	return samples, nil
}

func attributes(kvs []attribute.KeyValue) map[string]any {
	m := make(map[string]any, len(kvs))
	for _, kv := range kvs {
		m[string(kv.Key)] = kv.Value.AsInterface()
	}
	return m
}

// metricRows are the samples as a table, but for those that no host has.
func metricRows(samples []sample) []tableRow {
	metrics := map[string]map[string]map[string]string{} // cells by name, then by label
	for _, s := range samples {
		host, ok := s.Attributes["server.address"].(string)
		if !ok {
			continue
		}
		rows := metrics[s.Metric]
		if rows == nil {
			rows = map[string]map[string]string{}
			metrics[s.Metric] = rows
		}
		if rows[s.label()] == nil {
			rows[s.label()] = map[string]string{}
		}
		rows[s.label()][host] = fmt.Sprint(s.Value)
	}
	var table []tableRow
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		table = append(table, tableRow{label: name})
		for _, label := range slices.Sorted(maps.Keys(metrics[name])) {
			table = append(table, tableRow{label, metrics[name][label]})
		}
	}
	return table
}

// label tells the samples of a metric and a host apart.
func (s sample) label() string {
	a := func(name string) string {
		value, _ := s.Attributes[name].(string)
		return value
	}
	switch {
	case a("error.type") != "":
		return a("circuit_breaker.outcome") + " " + a("error.type")
	case a("circuit_breaker.outcome") != "":
		return a("circuit_breaker.outcome")
	case a("circuit_breaker.previous_state") != "":
		return a("circuit_breaker.previous_state") + " -> " + a("circuit_breaker.state")
	}
	return a("circuit_breaker.state")
}
