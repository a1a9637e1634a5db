package e2e

import (
	"context"
	"io"
	"maps"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/breakerhttp/breakerhttp"
)

// awsemf is the configuration of the exporter, so far as our file uses it. The exporter itself is
// not in the Collector of the test.
type awsemf struct {
	Namespace                     string                 `yaml:"namespace"`
	LogGroupName                  string                 `yaml:"log_group_name"`
	LogRetention                  int                    `yaml:"log_retention"`
	ResourceToTelemetryConversion struct{ Enabled bool } `yaml:"resource_to_telemetry_conversion"`
	DimensionRollupOption         string                 `yaml:"dimension_rollup_option"`
	MetricDeclarations            []declaration          `yaml:"metric_declarations"`
	MetricDescriptors             []descriptor           `yaml:"metric_descriptors"`
}

// A declaration says which data points become metrics, and with which dimensions.
type declaration struct {
	MetricNameSelectors []string   `yaml:"metric_name_selectors"`
	LabelMatchers       []matcher  `yaml:"label_matchers"`
	Dimensions          [][]string `yaml:"dimensions"`
}

type matcher struct {
	LabelNames []string `yaml:"label_names"`
	Regex      string   `yaml:"regex"` // on the values, joined by semicolons
}

type descriptor struct {
	MetricName string             `yaml:"metric_name"`
	Unit       types.StandardUnit `yaml:"unit"`
	Overwrite  bool               `yaml:"overwrite"`
}

func readAWSEMF(t *testing.T) awsemf {
	t.Helper()
	var config struct {
		Receivers, Processors, Service any
		Exporters                      struct{ AWSEMF awsemf }
	}
	readYAML(t, "../cloudwatch/collector.yaml", &config)
	e := config.Exporters.AWSEMF
	if !e.ResourceToTelemetryConversion.Enabled || e.DimensionRollupOption != "NoDimensionRollup" || e.LogGroupName == "" || e.LogRetention == 0 {
		t.Errorf("got %+v, want service.name as a dimension, no roll-up, and a log group with a retention", e)
	}
	return e
}

// has reports whether the exporter is configured to write a metric with these dimensions, in a unit
// that CloudWatch knows.
func (e awsemf) has(metric string, dimensions labels) bool {
	names := slices.Sorted(maps.Keys(dimensions))
	declared := slices.ContainsFunc(e.MetricDeclarations, func(d declaration) bool {
		return d.selects(metric, dimensions) && slices.ContainsFunc(d.Dimensions, func(set []string) bool {
			return slices.Equal(slices.Sorted(slices.Values(set)), names)
		})
	})
	return declared && slices.ContainsFunc(e.MetricDescriptors, func(d descriptor) bool {
		return d.MetricName == metric && d.Overwrite && slices.Contains(d.Unit.Values(), d.Unit)
	})
}

func (d declaration) selects(metric string, l labels) bool {
	return slices.ContainsFunc(d.MetricNameSelectors, func(s string) bool { return regexp.MustCompile(s).MatchString(metric) }) &&
		slices.ContainsFunc(d.LabelMatchers, func(m matcher) bool {
			var values []string
			for _, name := range m.LabelNames {
				values = append(values, l[name])
			}
			return regexp.MustCompile(m.Regex).MatchString(strings.Join(values, ";"))
		})
}

// A datum is a data point that a Transport has reported.
type datum struct {
	metric string
	labels labels
	value  int64
}

// reportOpening returns what a Transport reports when the circuit for https://api.example.com is
// open. The status must be a gauge: the exporter turns every cumulative sum into differences, which
// are 0 while a circuit stays open.
func reportOpening(t *testing.T, opts ...breakerhttp.Option) (all []datum) {
	t.Helper()
	reader := sdkmetric.NewManualReader()
	tr, err := breakerhttp.New(deadBase{}, append(opts, breakerhttp.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))))...)
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequest(http.MethodGet, "https://api.example.com", nil)
	for range 5 {
		_, _ = tr.RoundTrip(req)
	}
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	runtime.KeepAlive(tr)
	for _, m := range rm.ScopeMetrics[0].Metrics {
		var points []metricdata.DataPoint[int64]
		switch data := m.Data.(type) {
		case metricdata.Gauge[int64]:
			points = data.DataPoints
		case metricdata.Sum[int64]:
			if m.Name == "circuit_breaker.status" {
				t.Errorf("%s is a sum, want a gauge", m.Name)
			}
			points = data.DataPoints
		}
		for _, p := range points {
			d := datum{metric: m.Name, labels: labels{}, value: p.Value}
			for _, attr := range p.Attributes.ToSlice() {
				d.labels[string(attr.Key)] = attr.Value.String()
			}
			all = append(all, d)
		}
	}
	return all
}

// deadBase fails every request.
type deadBase struct{}

func (deadBase) RoundTrip(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }
