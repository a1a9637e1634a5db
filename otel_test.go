package breakerhttp_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/breakerhttp/breakerhttp"
)

// metricsOf are all metrics of a circuit in a state.
func metricsOf(address []attribute.KeyValue, state string, transitions, requests map[string]int64) []metricdata.Metrics {
	points := func(values map[string]int64, keys ...attribute.Key) (dp []metricdata.DataPoint[int64]) {
		for joined, n := range values {
			attrs := append([]attribute.KeyValue{}, address...)
			for i, value := range strings.Split(joined, " ") {
				attrs = append(attrs, keys[i].String(value))
			}
			dp = append(dp, metricdata.DataPoint[int64]{Attributes: attribute.NewSet(attrs...), Value: n})
		}
		return dp
	}
	sum := func(dp []metricdata.DataPoint[int64]) metricdata.Sum[int64] {
		return metricdata.Sum[int64]{DataPoints: dp, Temporality: metricdata.CumulativeTemporality, IsMonotonic: true}
	}
	states := map[string]int64{"closed": 0, "open": 0, "half_open": 0}
	states[state] = 1
	return []metricdata.Metrics{
		{
			Name: "circuit_breaker.status", Unit: "{circuit}",
			Data: metricdata.Gauge[int64]{DataPoints: points(states, "circuit_breaker.state")},
		},
		{
			Name: "circuit_breaker.transitions", Unit: "{transition}",
			Data: sum(points(transitions, "circuit_breaker.previous_state", "circuit_breaker.state")),
		},
		{
			Name: "circuit_breaker.requests", Unit: "{request}",
			Data: sum(points(requests, "circuit_breaker.outcome", "error.type")),
		},
		{
			Name: "circuit_breaker.untracked", Unit: "{request}",
			Data: sum([]metricdata.DataPoint[int64]{{Attributes: attribute.NewSet(address[0])}}),
		},
	}
}

// TestMetrics follows one circuit round, and compares all there is at each stop.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, reader := newMetered(t, respondByPath(), breakerhttp.WithName("payments"))
		address := []attribute.KeyValue{
			attribute.String("circuit_breaker.name", "payments"),
			attribute.String("server.address", "a.test"),
			attribute.Int("server.port", 80),
		}
		transitions := map[string]int64{"closed open": 0, "open half_open": 0, "half_open closed": 0, "half_open open": 0}
		requests := map[string]int64{"success": 0, "ignored": 0, "refused": 0}
		want := func(when, state string) {
			t.Helper()
			got := collect(t, reader)
			for i := range got.Metrics {
				if got.Metrics[i].Description == "" {
					t.Errorf("%s has no description", got.Metrics[i].Name)
				}
				got.Metrics[i].Description = ""
			}
			if !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(got.Scope.Version) {
				t.Errorf("scope has version %q, want that of the module", got.Scope.Version)
			}
			all := metricdata.ScopeMetrics{Scope: got.Scope, Metrics: metricsOf(address, state, transitions, requests)}
			if !metricdatatest.AssertEqual(t, all, got, metricdatatest.IgnoreTimestamp(), metricdatatest.IgnoreExemplars()) {
				t.Fatalf("metrics are wrong %s", when)
			}
		}
		times := func(n int, url string) {
			for range n {
				_, _ = get(tr, url)
			}
		}

		times(2, "http://a.test/200")
		requests["success"] = 2
		want("at first", "closed")

		cancelled, cancel := context.WithCancel(context.Background())
		cancel()
		req, _ := http.NewRequestWithContext(cancelled, http.MethodGet, "http://a.test/0", nil)
		_, _ = do(tr, req)
		requests["ignored"] = 1
		times(4, "http://a.test/503")
		times(1, "http://a.test/0")
		times(3, "http://a.test/200")
		requests["failure 503"], requests["failure connection"], requests["refused"] = 4, 1, 3
		transitions["closed open"] = 1
		want("once open", "open")

		time.Sleep(time.Minute)
		want("when the open time is up, though no request has come", "half_open")

		times(1, "http://a.test/503")
		requests["failure 503"]++
		transitions["open half_open"]++
		transitions["half_open open"]++
		want("after a failed probe", "open")

		time.Sleep(time.Minute)
		times(1, "http://a.test/200")
		requests["success"]++
		transitions["open half_open"]++
		transitions["half_open closed"]++
		want("after a good probe", "closed")
	})
}

// TestMetricAddresses: the attributes of a key.
func TestMetricAddresses(t *testing.T) {
	custom := breakerhttp.WithKey(func(req *http.Request) string { return req.Header.Get("Key") })
	for _, tt := range []struct{ url, key, want string }{
		{url: "http://a.test/", want: "server.address=a.test,server.port=80"},
		{url: "https://A.test:443/", want: "server.address=a.test,server.port=443"},
		{url: "http://a.test:8080/", want: "server.address=a.test,server.port=8080"},
		{url: "https://[::1]/", want: "server.address=::1,server.port=443"},
		{url: "http://[0:0::1]:8080/", want: "server.address=::1,server.port=8080"},
		{url: "http://[fe80::1%25eth0]/", want: "server.address=fe80::1%eth0,server.port=80"},
		{key: "https://a.test", want: "server.address=a.test,server.port=443"},
		{key: "https://a.test/", want: "key=https://a.test/"},
		{key: "tenant 7", want: "key=tenant 7"},
	} {
		var opts []breakerhttp.Option
		url := tt.url
		if tt.key != "" {
			opts, url = append(opts, custom), "http://b.test/"
		}
		tr, reader := newMetered(t, respond(200), opts...)
		req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
		req.Header.Set("Key", tt.key)
		_, _ = do(tr, req)
		want := statusOf(tt.want, 1, 0, 0).and(requestsOf(tt.want, 1, 0, 0))
		wantPoints(t, tt.url+tt.key, collectPoints(t, reader).of("status", "requests"), want)
	}
}

// TestLateFailureMetrics: a body that fails is counted on top of the success.
func TestLateFailureMetrics(t *testing.T) {
	tr, reader := newMetered(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
		body := io.MultiReader(strings.NewReader("half"), errorReader{errors.New("cut")})
		return &http.Response{StatusCode: 200, Body: io.NopCloser(body), Request: req}, nil
	}))
	for range 6 { // the fifth opens
		_, _ = get(tr, "http://a.test/")
	}
	wantPoints(t, "requests", collectPoints(t, reader).of("requests"),
		requestsOf(atA, 5, 0, 1).and(failuresOf(atA, "body", 5)))
	wantState(t, tr, "http://a.test", breakerhttp.StateOpen)
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// TestMetricNames: Transports on one provider are told apart by their names.
func TestMetricNames(t *testing.T) {
	reader, mp := newMeter()
	one := newTransport(t, respond(200), breakerhttp.WithMeterProvider(mp), breakerhttp.WithName("one"))
	two := newTransport(t, respond(200), breakerhttp.WithMeterProvider(mp), breakerhttp.WithName("two"))
	_, _ = get(one, "http://a.test/")
	_, _ = get(two, "http://a.test/")
	_, _ = get(two, "http://b.test/")
	got := requestsByName(collect(t, reader))
	if diff := cmp.Diff(map[string]int64{"one": 1, "two": 2}, got); diff != "" {
		t.Errorf("requests by name (-want +got):\n%s", diff)
	}
	runtime.KeepAlive(one)
	runtime.KeepAlive(two)
}

func requestsByName(own metricdata.ScopeMetrics) map[string]int64 {
	got := map[string]int64{}
	for _, m := range own.Metrics {
		if sum, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == "circuit_breaker.requests" {
			for _, p := range sum.DataPoints {
				name, _ := p.Attributes.Value("circuit_breaker.name")
				got[name.AsString()] += p.Value
			}
		}
	}
	return got
}
