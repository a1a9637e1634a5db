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

	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/breakerhttp/breakerhttp"
)

// BenchmarkCollect measures a collection over many circuits, one in ten of which
// has failures: with the SDK, and the Transport's own part of it.
func BenchmarkCollect(b *testing.B) {
	for _, n := range []int{500, 10_000} {
		reader, mp := newMeter()
		s := &spy{MeterProvider: mp}
		tr, err := breakerhttp.New(respondByPath(), breakerhttp.WithMeterProvider(s))
		if err != nil {
			b.Fatal(err)
		}
		for i := range n {
			_, _ = get(tr, fmt.Sprintf("http://host%d.test/200", i))
			if i%10 == 0 {
				_, _ = get(tr, fmt.Sprintf("http://host%d.test/503", i))
			}
		}
		b.Run(fmt.Sprintf("circuits=%d/all", n), func(b *testing.B) {
			b.ReportAllocs()
			var rm metricdata.ResourceMetrics
			for b.Loop() {
				_ = reader.Collect(context.Background(), &rm)
			}
		})
		b.Run(fmt.Sprintf("circuits=%d/own", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = s.callback(context.Background(), noop.Observer{})
			}
		})
		runtime.KeepAlive(tr)
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
