package breakerhttp_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/breakerhttp/breakerhttp"
)

// A tally is what circuit_breaker.requests reports: a count for each outcome,
// as in "ignored" or "failure timeout".
type tally map[string]int64

// newTally returns an option, and a function that collects what the Transport
// made with it reports.
func newTally(t *testing.T) (breakerhttp.Option, func() tally) {
	reader, provider := newMeter()
	return breakerhttp.WithMeterProvider(provider), func() tally {
		t.Helper()
		got := tally{}
		for _, m := range collect(t, reader).Metrics {
			if sum, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == "circuit_breaker.requests" {
				got.add(sum.DataPoints)
			}
		}
		return got
	}
}

func (y tally) add(points []metricdata.DataPoint[int64]) {
	for _, p := range points {
		attr := func(key attribute.Key) string {
			v, _ := p.Attributes.Value(key)
			return v.AsString()
		}
		what := strings.TrimSpace(attr("circuit_breaker.outcome") + " " + attr("error.type"))
		if p.Value != 0 {
			y[what] += p.Value
		}
	}
}

// totals are what Snapshot must say of the same requests.
func (y tally) totals() (sum breakerhttp.Totals) {
	for what, n := range y {
		switch outcome, _, _ := strings.Cut(what, " "); outcome {
		case "success":
			sum.Success += uint64(n)
		case "failure":
			sum.Failure += uint64(n)
		case "ignored":
			sum.Ignored += uint64(n)
		case "refused":
			sum.Refused += uint64(n)
		}
	}
	return sum
}

// A witness remembers what its base was given and has returned.
type witness struct {
	base http.RoundTripper
	req  *http.Request
	resp *http.Response
	err  error
}

func (w *witness) RoundTrip(req *http.Request) (*http.Response, error) {
	w.req = req
	w.resp, w.err = w.base.RoundTrip(req)
	return w.resp, w.err
}

// judged sends req through a new Transport, reads the answer, and returns how
// that was counted. It checks that the Transport hands on what base returned.
func judged(t *testing.T, base http.RoundTripper, req *http.Request, opts ...breakerhttp.Option) tally {
	t.Helper()
	seen := &witness{base: base}
	option, collect := newTally(t)
	tr := newTransport(t, seen, append(opts, option)...)
	resp, err := tr.RoundTrip(req)
	if resp != seen.resp || err != seen.err { //nolint:errorlint // the very same is wanted
		t.Errorf("got %v, %v; base returned %v, %v", resp, err, seen.resp, seen.err)
	}
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	counted := collect()
	for s := range tr.Snapshots() {
		if want := counted.totals(); s.Totals != want || s.InFlight != 0 {
			t.Errorf("Snapshot: got totals %+v, %d in flight; want those of the metric, %+v, and 0", s.Totals, s.InFlight, want)
		}
	}
	return counted
}

// newRequest returns a GET.
func newRequest(t *testing.T, ctx context.Context, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatalf("NewRequest: %v", err)
	}
	return req
}
