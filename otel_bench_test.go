package breakerhttp_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/breakerhttp/breakerhttp"
)

// BenchmarkCollect measures a collection over many circuits, one in ten of
// which has failures.
func BenchmarkCollect(b *testing.B) {
	for _, n := range []int{500, 10_000} {
		b.Run(fmt.Sprintf("circuits=%d", n), func(b *testing.B) {
			reader := sdkmetric.NewManualReader()
			mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
			tr, err := breakerhttp.New(respondByPath(), breakerhttp.WithMeterProvider(mp))
			if err != nil {
				b.Fatal(err)
			}
			for i := range n {
				_, _ = get(tr, fmt.Sprintf("http://host%d.test/200", i))
				if i%10 == 0 {
					_, _ = get(tr, fmt.Sprintf("http://host%d.test/503", i))
				}
			}
			collectLoop(b, reader)
			b.ReportMetric(float64(n), "circuits")
			runtime.KeepAlive(tr)
		})
	}
}

// BenchmarkCollectFloor is what the SDK itself takes for as many observations
// as 500 circuits make.
func BenchmarkCollectFloor(b *testing.B) {
	reader := sdkmetric.NewManualReader()
	meter := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("floor")
	gauge, _ := meter.Int64ObservableGauge("gauge", metric.WithUnit("{circuit}"), metric.WithDescription("Circuits in this state."))
	counter, _ := meter.Int64ObservableCounter("counter", metric.WithUnit("{request}"), metric.WithDescription("Requests by what became of them."))
	sync, _ := meter.Int64Counter("sync", metric.WithUnit("{transition}"))
	var sets []metric.MeasurementOption
	for i := range 500 {
		for j := range 4 {
			o := metric.WithAttributeSet(attribute.NewSet(
				attribute.String("circuit_breaker.name", "default"),
				attribute.String("server.address", fmt.Sprintf("host%d.test", i)),
				attribute.Int("server.port", 80),
				attribute.Int("circuit_breaker.state", j),
			))
			if j < 3 {
				sets = append(sets, o)
			}
			sync.Add(context.Background(), 0, o)
		}
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, s := range sets {
			o.ObserveInt64(gauge, 1, s)
			o.ObserveInt64(counter, 1, s)
		}
		return nil
	}, gauge, counter)
	if err != nil {
		b.Fatal(err)
	}
	collectLoop(b, reader)
}

func collectLoop(b *testing.B, reader *sdkmetric.ManualReader) {
	var rm metricdata.ResourceMetrics
	b.ReportAllocs()
	for b.Loop() {
		if err := reader.Collect(context.Background(), &rm); err != nil {
			b.Fatal(err)
		}
	}
}

// respondByPath answers /503 with that status, and /0 with an error.
func respondByPath() roundTripFunc {
	return func(req *http.Request) (*http.Response, error) {
		status, err := strconv.Atoi(strings.TrimPrefix(req.URL.Path, "/"))
		if err != nil || status == 0 {
			return nil, io.ErrUnexpectedEOF
		}
		return respond(status)(req)
	}
}
