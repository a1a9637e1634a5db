package breakerhttp_test

import (
	"context"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"pgregory.net/rapid"

	"github.com/breakerhttp/breakerhttp"
)

const scopeName = "github.com/breakerhttp/breakerhttp"

// atA is the address of http://a.test.
const atA = "server.address=a.test,server.port=80"

// newMeter returns an SDK to send metrics to, and what reads them from it.
func newMeter(opts ...sdkmetric.Option) (*sdkmetric.ManualReader, *sdkmetric.MeterProvider) {
	reader := sdkmetric.NewManualReader()
	return reader, sdkmetric.NewMeterProvider(append(opts, sdkmetric.WithReader(reader))...)
}

// newMetered returns a Transport that lives as long as the test, and what reads
// its metrics: once it is garbage, it has none.
func newMetered(t *testing.T, base http.RoundTripper, opts ...breakerhttp.Option) (*breakerhttp.Transport, *sdkmetric.ManualReader) {
	t.Helper()
	reader, mp := newMeter()
	tr := newTransport(t, base, append(opts, breakerhttp.WithMeterProvider(mp))...)
	t.Cleanup(func() { runtime.KeepAlive(tr) })
	return tr, reader
}

// collect returns the package's own metrics.
func collect(t rapid.TB, reader sdkmetric.Reader) (own metricdata.ScopeMetrics) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		t.Fatalf("Collect: %v", err)
	}
	for _, s := range all.ScopeMetrics {
		if s.Scope.Name == scopeName {
			own = s
		}
	}
	return own
}

// points are the values of series, by their names.
type points map[string]int64

// series is the name of one: the metric and its attributes, in alphabetical
// order and without "circuit_breaker.".
func series(metric string, attrs ...string) string {
	all := strings.Split(strings.Join(attrs, ","), ",")
	slices.Sort(all)
	return metric + " " + strings.Join(all, ",")
}

// collectPoints collects the series of one Transport, whose name they leave out.
func collectPoints(t rapid.TB, reader sdkmetric.Reader) points {
	t.Helper()
	got := points{}
	for _, m := range collect(t, reader).Metrics {
		var data []metricdata.DataPoint[int64]
		switch d := m.Data.(type) {
		case metricdata.Gauge[int64]:
			data = d.DataPoints
		case metricdata.Sum[int64]:
			data = d.DataPoints
		default:
			t.Fatalf("metric %s is a %T", m.Name, d)
		}
		for _, p := range data {
			var attrs []string
			for i := p.Attributes.Iter(); i.Next(); {
				if kv := i.Attribute(); kv.Key != "circuit_breaker.name" {
					attrs = append(attrs, strings.TrimPrefix(string(kv.Key), "circuit_breaker.")+"="+kv.Value.String())
				}
			}
			got[series(strings.TrimPrefix(m.Name, "circuit_breaker."), attrs...)] = p.Value
		}
	}
	return got
}

// of returns the series of some metrics.
func (p points) of(metrics ...string) points {
	found := points{}
	for name, n := range p {
		metric, _, _ := strings.Cut(name, " ")
		if slices.Contains(metrics, metric) {
			found[name] = n
		}
	}
	return found
}

// statusOf is what the gauge shows of an address.
func statusOf(address string, closed, open, halfOpen int64) points {
	return points{
		series("status", address, "state=closed"):    closed,
		series("status", address, "state=half_open"): halfOpen,
		series("status", address, "state=open"):      open,
	}
}

// requestsOf is what is counted for an address.
func requestsOf(address string, success, ignored, refused int64) points {
	return points{
		series("requests", address, "outcome=success"): success,
		series("requests", address, "outcome=ignored"): ignored,
		series("requests", address, "outcome=refused"): refused,
	}
}

// and adds series.
func (p points) and(more points) points {
	all := maps.Clone(p)
	maps.Copy(all, more)
	return all
}

// failuresOf is one series more.
func failuresOf(address, errorType string, n int64) points {
	return points{series("requests", address, "outcome=failure", "error.type="+errorType): n}
}

func wantPoints(t rapid.TB, what string, got, want points) {
	t.Helper()
	if !maps.Equal(want, got) {
		t.Errorf("%s (-want +got):\n%s", what, cmp.Diff(want, got))
	}
}

// matching are the series with this in their name.
func (p points) matching(part string) points {
	found := maps.Clone(p)
	maps.DeleteFunc(found, func(name string, _ int64) bool { return !strings.Contains(name, part) })
	return found
}
