package breakerhttp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"pgregory.net/rapid"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/pipetest"
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
		{
			Name: "circuit_breaker.unguarded", Unit: "{request}",
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
		req := newRequest(t, cancelled, "http://a.test/0")
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
		req := newRequest(t, context.Background(), url)
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
		return &http.Response{StatusCode: 200, Body: io.NopCloser(body), ContentLength: -1, Request: req}, nil
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

const scopeName = "github.com/breakerhttp/breakerhttp"

// atA is the address of http://a.test.
const atA = "server.address=a.test,server.port=80"

// newMeter returns an SDK to send metrics to, and what reads them from it.
func newMeter(opts ...sdkmetric.Option) (*sdkmetric.ManualReader, *sdkmetric.MeterProvider) {
	reader := sdkmetric.NewManualReader()
	return reader, sdkmetric.NewMeterProvider(append(opts, sdkmetric.WithReader(reader))...)
}

// newMetered returns a Transport, and what reads its metrics.
func newMetered(t *testing.T, base http.RoundTripper, opts ...breakerhttp.Option) (*breakerhttp.Transport, *sdkmetric.ManualReader) {
	t.Helper()
	reader, mp := newMeter()
	tr := newTransport(t, base, append(opts, breakerhttp.WithMeterProvider(mp))...)
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

// A spy passes on what is asked of an SDK, and takes notes.
type spy struct {
	metric.MeterProvider
	callback     metric.Callback
	unregistered atomic.Bool
	calls        atomic.Int64 // of counters and spans
}

func (s *spy) Meter(name string, opts ...metric.MeterOption) metric.Meter {
	return spyMeter{s.MeterProvider.Meter(name, opts...), s}
}

type spyMeter struct {
	metric.Meter
	*spy
}

func (m spyMeter) Int64Counter(name string, opts ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	c, err := m.Meter.Int64Counter(name, opts...)
	return spyCounter{c, m.spy}, err
}

func (m spyMeter) RegisterCallback(f metric.Callback, of ...metric.Observable) (metric.Registration, error) {
	m.callback = f
	r, err := m.Meter.RegisterCallback(f, of...)
	return spyRegistration{r, m.spy}, err
}

type spyCounter struct {
	metric.Int64Counter
	*spy
}

func (c spyCounter) Add(ctx context.Context, n int64, opts ...metric.AddOption) {
	c.calls.Add(1)
	c.Int64Counter.Add(ctx, n, opts...)
}

type spyRegistration struct {
	metric.Registration
	*spy
}

func (r spyRegistration) Unregister() error {
	defer r.unregistered.Store(true)
	return r.Registration.Unregister()
}

type spySpan struct {
	tracenoop.Span
	*spy
}

func (s spySpan) IsRecording() bool { s.calls.Add(1); return true }

func (s spySpan) AddEvent(string, ...trace.EventOption) { s.calls.Add(1) }

// A slowObserver holds a collection up until it is released.
type slowObserver struct {
	noop.Observer
	entered, release chan struct{}
}

func (o *slowObserver) ObserveInt64(metric.Int64Observable, int64, ...metric.ObserveOption) {
	select {
	case o.entered <- struct{}{}:
		<-o.release
	case <-o.release:
	}
}

// TestSuccessCallsNothing: a request that succeeds calls no instrument and no
// span, and costs no allocation more than without an SDK.
func TestSuccessCallsNothing(t *testing.T) {
	for name, p := range map[string]breakerhttp.Policy{
		"default": {},
		"ratio":   {FailureRatio: 0.5},
		"slow":    {SlowRatio: 0.5, SlowAfter: time.Second},
	} {
		_, mp := newMeter()
		s := &spy{MeterProvider: mp}
		resp := &http.Response{StatusCode: 200, Body: http.NoBody}
		tr := newTransport(t, roundTripFunc(func(*http.Request) (*http.Response, error) { return resp, nil }),
			breakerhttp.WithMeterProvider(s), breakerhttp.WithPolicy(p))
		ctx := trace.ContextWithSpan(context.Background(), spySpan{spy: s})
		req := newRequest(t, ctx, "http://a.test/")
		_, _ = tr.RoundTrip(req) // makes the circuit, and announces its transitions
		before := s.calls.Load()
		allocs := testing.AllocsPerRun(1000, func() { _, _ = tr.RoundTrip(req) })
		if got := s.calls.Load() - before; got != 0 {
			t.Errorf("%s: got %d calls, want 0", name, got)
		}
		if allocs != 0 && !raceEnabled { // the race detector makes sync.Pool allocate
			t.Errorf("%s: got %v allocations, want 0", name, allocs)
		}
		tr.ForceOpen("http://a.test")
		_, _ = tr.RoundTrip(req)
		if got := s.calls.Load() - before; got != 3 { // the transition; the refusal's event
			t.Errorf("%s: once open: got %d calls, want 3", name, got)
		}
	}
}

// TestNewHostsCallNothing: at the bound, a caller that sends each request to a new host costs no
// instrument a call, and the SDK no memory.
func TestNewHostsCallNothing(t *testing.T) {
	_, mp := newMeter()
	s := &spy{MeterProvider: mp}
	tr := newTransport(t, respondByPath(), breakerhttp.WithMeterProvider(s),
		breakerhttp.WithMaxCircuits(10), breakerhttp.WithMaxMetricKeys(20))
	for i := range 100 {
		_, _ = get(tr, fmt.Sprintf("http://host%d.test/200", i))
	}
	if got := s.calls.Load(); got > 20*4 {
		t.Errorf("got %d calls for 100 hosts, want those of the first 20 series at most", got)
	}
}

// TestCollectionAllocations: the Transport's own part of a collection allocates
// nothing for a circuit without failures.
func TestCollectionAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	_, mp := newMeter()
	s := &spy{MeterProvider: mp}
	tr := newTransport(t, respondByPath(), breakerhttp.WithMeterProvider(s), breakerhttp.WithMaxMetricKeys(50))
	for i := range 100 {
		_, _ = get(tr, fmt.Sprintf("http://host%d.test/200", i))
	}
	if n := testing.AllocsPerRun(10, func() { _ = s.callback(context.Background(), noop.Observer{}) }); n > 20 {
		t.Errorf("got %v allocations for 100 circuits, want at most 20 in all", n)
	}
}

// TestDroppedTransport: who drops a Transport drops its series.
func TestDroppedTransport(t *testing.T) {
	reader, mp := newMeter()
	s := &spy{MeterProvider: mp}
	func() {
		tr := newDroppable(t, respondByPath(), breakerhttp.WithMeterProvider(s))
		_, _ = get(tr, "http://a.test/200")
		want := requestsOf(atA, 1, 0, 0).and(statusOf(atA, 1, 0, 0)).and(points{"untracked ": 0})
		wantPoints(t, "in use", collectPoints(t, reader).of("requests", "status", "untracked"), want)
		runtime.KeepAlive(tr)
	}()
	waitUntil(t, "the callback is unregistered", s.unregistered.Load)
	wantPoints(t, "dropped", collectPoints(t, reader).of("requests", "status", "untracked"), points{})
}

// TestGlobalProvider: the same with a global provider that is set later. That
// can be done once a process, so it is done in one of its own.
func TestGlobalProvider(t *testing.T) {
	if os.Getenv("GLOBAL_PROVIDER") == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestGlobalProvider$", "-test.count=1")
		cmd.Env = append(os.Environ(), "GLOBAL_PROVIDER=1", "GORACE=atexit_sleep_ms=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		return
	}
	dropped := newDroppable(t, respondByPath(), breakerhttp.WithName("dropped"))
	tr := newTransport(t, respondByPath())
	_, _ = get(tr, "http://a.test/200")
	_, _ = get(dropped, "http://a.test/200")
	reader, mp := newMeter()
	gone := new(atomic.Bool)
	runtime.AddCleanup(dropped, func(gone *atomic.Bool) { gone.Store(true) }, gone)
	otel.SetMeterProvider(mp)
	later := newTransport(t, respondByPath(), breakerhttp.WithName("later"))
	_, _ = get(later, "http://a.test/200")
	want := func(want map[string]int64) {
		t.Helper()
		if diff := cmp.Diff(want, requestsByName(collect(t, reader))); diff != "" {
			t.Errorf("requests by name (-want +got):\n%s", diff)
		}
	}
	want(map[string]int64{"default": 1, "dropped": 1, "later": 1})
	runtime.KeepAlive(dropped)
	waitUntil(t, "the Transport is collected", gone.Load)
	want(map[string]int64{"default": 1, "later": 1})
}

// TestCollectionBlocksNobody: while a collection is held up, requests go on.
func TestCollectionBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, mp := newMeter()
		s := &spy{MeterProvider: mp}
		o := &slowObserver{entered: make(chan struct{}), release: make(chan struct{})}
		held := make(chan bool) // the hook is
		var probing atomic.Bool
		tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
			if probing.Load() && req.URL.Path == "/hang" {
				<-req.Context().Done()
				return nil, req.Context().Err()
			}
			return respondByPath()(req)
		}), breakerhttp.WithMeterProvider(s), breakerhttp.WithPolicy(breakerhttp.Policy{ProbeTimeout: time.Second}),
			breakerhttp.WithTransitionHook(func(_ context.Context, tr breakerhttp.Transition) {
				if tr.Reason == "probe_timeout" {
					held <- true
					held <- true
				}
			}))
		requests := func(when string) {
			t.Helper()
			for host, want := range map[string]bool{"well": true, "dead": false, "new " + when: true} {
				_, err := get(tr, "http://"+strings.ReplaceAll(host, " ", "-")+".test/200")
				if (err == nil) != want {
					t.Errorf("%s: %s: got error %v, want none: %v", when, host, err, want)
				}
			}
		}
		_, _ = get(tr, "http://well.test/200")
		for range 5 {
			_, _ = get(tr, "http://dead.test/503")
		}
		go func() { _ = s.callback(context.Background(), o) }()
		<-o.entered
		requests("while observing")
		close(o.release)

		time.Sleep(time.Minute)
		probing.Store(true)
		ctx, cancel := context.WithCancel(context.Background())
		hung := newRequest(t, ctx, "http://dead.test/hang")
		go func() { _, _ = do(tr, hung) }()
		time.Sleep(2 * time.Second)
		go func() { _ = s.callback(context.Background(), noop.Observer{}) }()
		<-held
		requests("while the hook runs")
		<-held
		cancel()
		synctest.Wait()
	})
}

// TestCollectionNotices: a collection that finds a probe timed out, or a request
// slow, opens the circuit, counts that, and calls the hook, which may use the
// Transport. So may TripWhen.
func TestCollectionNotices(t *testing.T) {
	for reason, p := range map[string]breakerhttp.Policy{
		"probe_timeout": {ConsecutiveFailures: 1, OpenFor: time.Second, ProbeTimeout: time.Second},
		"slow_ratio":    {SlowRatio: 0.5, SlowAfter: time.Second, MinRequests: 1},
	} {
		t.Run(reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reader, mp := newMeter()
				var tr *breakerhttp.Transport
				var hooked []string
				answer := make(chan int)
				tr = newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
					if req.URL.Path == "/hang" {
						return respond(<-answer)(req)
					}
					return respondByPath()(req)
				}), breakerhttp.WithMeterProvider(mp), breakerhttp.WithPolicy(p),
					breakerhttp.WithTransitionHook(func(_ context.Context, c breakerhttp.Transition) {
						if string(c.Reason) == reason {
							hooked = append(hooked, c.Key+" "+c.From.String()+" "+c.To.String())
							wantState(t, tr, "http://a.test", breakerhttp.StateOpen)
							tr.ForceOpen("http://b.test") // has a transition itself
							_, _ = get(tr, "http://new.test/200")
						}
					}))
				from, want := "closed", transitionsOf(atA, 1, 0, 0, 0).and(requestsOf(atA, 0, 0, 0))
				if reason == "probe_timeout" {
					_, _ = get(tr, "http://a.test/503")
					time.Sleep(time.Second)
					from, want = "half_open", transitionsOf(atA, 1, 1, 0, 1).and(requestsOf(atA, 0, 0, 0)).
						and(failuresOf(atA, "503", 1)).and(failuresOf(atA, "timeout", 1))
				}
				go func() { _, _ = get(tr, "http://a.test/hang") }()
				time.Sleep(1500 * time.Millisecond)
				got := collectPoints(t, reader).matching(atA)
				wantPoints(t, "metrics", got, want.and(statusOf(atA, 0, 1, 0)))
				if diff := cmp.Diff([]string{"http://a.test " + from + " open"}, hooked); diff != "" {
					t.Errorf("hook (-want +got):\n%s", diff)
				}
				answer <- 200
			})
		})
	}
}

// TestReadsAskNobody: a collection and a Snapshot count a request that hangs, but leave it to the next
// request to ask TripWhen about it.
func TestReadsAskNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reading := true
		answer := make(chan int)
		tr, reader := newMetered(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
			return respond(<-answer)(req)
		}), breakerhttp.WithPolicy(breakerhttp.Policy{SlowAfter: time.Second, TripWhen: func(c breakerhttp.Counts) bool {
			if reading {
				panic("TripWhen is called by a read")
			}
			return c.Slow == 6
		}}))
		for range 6 {
			go func() { _, _ = get(tr, host) }()
		}
		time.Sleep(time.Second)
		collect(t, reader)
		if got := snapshot(t, tr, host); got.Counts.Slow != 6 || got.State != breakerhttp.StateClosed {
			t.Errorf("got %+v, want closed with 6 slow requests", got)
		}
		reading = false
		_, err := get(tr, host)
		wantRefused(t, err)
		for range 6 {
			answer <- 200
		}
	})
}

// port80 is the address of an http URL's host.
func port80(host string) string { return "server.address=" + host + ",server.port=80" }

const other = "server.address=_other"

// transitionsOf are the announced transitions of an address.
func transitionsOf(address string, opened, tried, closed, reopened int64) points {
	return points{
		series("transitions", address, "previous_state=closed", "state=open"):      opened,
		series("transitions", address, "previous_state=open", "state=half_open"):   tried,
		series("transitions", address, "previous_state=half_open", "state=closed"): closed,
		series("transitions", address, "previous_state=half_open", "state=open"):   reopened,
	}
}

// TestOneName: the gauge of several Transports with one name on one provider is their sum.
func TestOneName(t *testing.T) {
	reader, mp := newMeter()
	first := newTransport(t, respondByPath(), breakerhttp.WithMeterProvider(mp))
	second := newDroppable(t, respondByPath(), breakerhttp.WithMeterProvider(mp))
	for range 5 {
		_, _ = get(first, "http://a.test/503")
	}
	_, _ = get(second, "http://a.test/200")
	got := collectPoints(t, reader)
	wantPoints(t, "status", got.of("status"), statusOf(atA, 1, 1, 0))
	wantPoints(t, "requests", got.of("requests"), requestsOf(atA, 1, 0, 0).and(failuresOf(atA, "503", 5)))
	runtime.KeepAlive(second)
	second = nil
	waitUntil(t, "the second Transport is collected", func() bool {
		runtime.GC()
		return len(collectPoints(t, reader).of("requests").matching("success")) == 1 &&
			collectPoints(t, reader)[series("status", atA, "state=closed")] == 0
	})
}

// TestOneNameAndEviction: the counters of several Transports with one name do not fall when one of them
// evicts a circuit.
func TestOneNameAndEviction(t *testing.T) {
	reader, mp := newMeter()
	bound := []breakerhttp.Option{breakerhttp.WithMeterProvider(mp), breakerhttp.WithMaxCircuits(1)}
	first := newTransport(t, respondByPath(), bound...)
	second := newTransport(t, respondByPath(), bound...)
	visit := func(tr *breakerhttp.Transport, url string) {
		for range 2 { // the first look at a used circuit gives it a second chance
			_, _ = get(tr, url)
		}
	}
	check := func(what string, want points) {
		t.Helper()
		wantPoints(t, what, collectPoints(t, reader).of("requests").matching(atA), want)
	}
	visit(first, "http://a.test/200")
	visit(second, "http://a.test/200")
	check("both", requestsOf(atA, 4, 0, 0))
	visit(first, "http://b.test/200")
	check("one", requestsOf(atA, 4, 0, 0))
	visit(second, "http://a.test/200")
	check("that counts on", requestsOf(atA, 6, 0, 0))
	visit(second, "http://b.test/200")
	check("none", points{})
	visit(first, "http://a.test/200")
	check("back again", requestsOf(atA, 2, 0, 0))
}

// TestNewDuringACollection: the SDK lets a new instrument wait for the end of a collection, which must
// not wait for the new Transport.
func TestNewDuringACollection(t *testing.T) {
	reader, mp := newMeter()
	collecting, making := make(chan struct{}), make(chan struct{})
	meter := mp.Meter("user")
	gauge, err := meter.Int64ObservableGauge("user")
	if err != nil {
		t.Fatal(err)
	}
	_, err = meter.RegisterCallback(func(context.Context, metric.Observer) error {
		close(collecting)
		<-making
		return nil
	}, gauge)
	if err != nil {
		t.Fatal(err)
	}
	newTransport(t, respondByPath(), breakerhttp.WithMeterProvider(mp))
	done := make(chan struct{}, 2)
	go func() { collectPoints(t, reader); done <- struct{}{} }()
	<-collecting
	go func() {
		newTransport(t, respondByPath(), breakerhttp.WithMeterProvider(&meterSpy{mp, making}))
		done <- struct{}{}
	}()
	for range cap(done) {
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("the collection and the new Transport wait for each other")
		}
	}
}

// A meterSpy says when a meter is asked for.
type meterSpy struct {
	metric.MeterProvider
	asked chan struct{}
}

func (s *meterSpy) Meter(name string, opts ...metric.MeterOption) metric.Meter {
	close(s.asked)
	return s.MeterProvider.Meter(name, opts...)
}

// TestDryRunIsSeen: wherever a dry run reports, it says that it is one.
func TestDryRunIsSeen(t *testing.T) {
	tc, _ := newTracer()
	reader, mp := newMeter()
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	tr := newTransport(t, respond(503), breakerhttp.WithDryRun(), breakerhttp.WithMeterProvider(mp),
		breakerhttp.WithTransitionHook(breakerhttp.LogTransitions(logger)))
	real := newTransport(t, respond(200), breakerhttp.WithMeterProvider(mp))
	_, _ = get(real, "http://b.test")
	var events []event
	for range 6 {
		events = append(events, eventsOf(tc.get(tr, "http://a.test"))...)
	}
	for name := range collectPoints(t, reader) {
		if marked := strings.Contains(name, "dry_run=true"); marked == strings.Contains(name, "b.test") && !strings.HasPrefix(name, "un") {
			t.Errorf("%s: marked as a dry run: %v", name, marked)
		}
	}
	for _, name := range []string{"untracked", "unguarded"} { // of both Transports
		wantPoints(t, name, collectPoints(t, reader).of(name), points{series(name): 0, series(name, "dry_run=true"): 0})
	}
	if len(events) != 2 {
		t.Fatalf("got events %+v, want an opening and a refusal", events)
	}
	for _, e := range events {
		if e.Attrs["circuit_breaker.dry_run"] != true {
			t.Errorf("the event %+v is not marked", e)
		}
	}
	if got := tr.Transitions()[0]; !got.DryRun {
		t.Errorf("the transition is not marked: %+v", got)
	}
	if got := snapshot(t, tr, "http://a.test"); !got.DryRun {
		t.Errorf("the snapshot is not marked: %+v", got)
	}
	if got := log.String(); !strings.Contains(got, "dry run: circuit open") || strings.Contains(got, "WARN") {
		t.Errorf("the log says %s", got)
	}
	if got := snapshot(t, real, "http://b.test"); got.DryRun {
		t.Errorf("a snapshot of the other Transport is marked: %+v", got)
	}
}

// TestForeignBytes: keys of any bytes leave the process as valid UTF-8, and two stay two.
func TestForeignBytes(t *testing.T) {
	var log bytes.Buffer
	tr, reader := newMetered(t, respond(200), breakerhttp.WithName("a\xffb"),
		breakerhttp.WithKey(func(req *http.Request) string { return req.Header.Get("X-Tenant") }),
		breakerhttp.WithTransitionHook(breakerhttp.LogTransitions(slog.New(slog.NewTextHandler(&log, nil)))))
	for _, tenant := range []string{"\xff", "\xfe", "ok", `\xff`} {
		req := newRequest(t, t.Context(), host)
		req.Header["X-Tenant"] = []string{tenant}
		_, _ = do(tr, req)
	}
	keys := map[string]bool{}
	for name := range collectPoints(t, reader).of("status") {
		if !utf8.ValidString(name) {
			t.Errorf("%q is no valid UTF-8", name)
		}
		keys[name] = true
	}
	for _, m := range collect(t, reader).Metrics {
		if text := fmt.Sprint(m.Data); !utf8.ValidString(text) {
			t.Errorf("%s: %q is no valid UTF-8", m.Name, text)
		}
	}
	if len(keys) != 4*3 {
		t.Errorf("got %d series of the status, want three for each of four keys: %v", len(keys), keys)
	}
	for s := range tr.Snapshots() {
		text, err := json.Marshal(s)
		if err != nil || !utf8.Valid(text) {
			t.Errorf("%q: got %q, %v, want valid UTF-8", s.Key, text, err)
		}
		var back breakerhttp.Snapshot
		if err := json.Unmarshal(text, &back); err != nil || back.Key != s.Key {
			t.Errorf("%q comes back as %q, %v", s.Key, back.Key, err)
		}
	}
	tc, _ := newTracer()
	tr.ForceOpen("\xff")
	ctx, span := tc.Start(t.Context(), "call")
	req := newRequest(t, ctx, host)
	req.Header["X-Tenant"] = []string{"\xff"}
	_, err := do(tr, req)
	span.End()
	for what, text := range map[string]string{
		"the error": err.Error(), "the log": log.String(), "events": fmt.Sprint(eventsOf(tc.spans.Ended()[0])),
	} {
		if text == "" || !utf8.ValidString(text) {
			t.Errorf("%s: %q, want valid UTF-8", what, text)
		}
	}
}

// TestUnguarded: requests without a key are counted.
func TestUnguarded(t *testing.T) {
	tr, reader := newMetered(t, respond(200), breakerhttp.WithKey(func(*http.Request) string { return "" }))
	wantPoints(t, "at first", collectPoints(t, reader).of("unguarded"), points{"unguarded ": 0})
	for range 3 {
		_, _ = get(tr, host)
	}
	wantPoints(t, "then", collectPoints(t, reader).of("unguarded"), points{"unguarded ": 3})
}

// TestMaxMetricKeys: circuits beyond the bound are added up.
func TestMaxMetricKeys(t *testing.T) {
	tr, reader := newMetered(t, respondByPath(), breakerhttp.WithMaxMetricKeys(1))
	wantPoints(t, "without a circuit", collectPoints(t, reader), points{"untracked ": 0, "unguarded ": 0})

	_, _ = get(tr, "http://own.test/200")
	want := statusOf(port80("own.test"), 1, 0, 0).and(requestsOf(port80("own.test"), 1, 0, 0)).
		and(transitionsOf(port80("own.test"), 0, 0, 0, 0)).and(points{"untracked ": 0, "unguarded ": 0})
	wantPoints(t, "with one circuit", collectPoints(t, reader), want)

	for host, paths := range map[string]string{"a": "200 200", "b": "200", "c": "503 503 503 503 503 503", "d": "500 200"} {
		for path := range strings.FieldsSeq(paths) {
			_, _ = get(tr, "http://"+host+".test/"+path)
		}
	}
	want = want.and(statusOf(other, 3, 1, 0)).and(requestsOf(other, 4, 0, 1)).and(transitionsOf(other, 1, 0, 0, 0)).
		and(failuresOf(other, "503", 5)).and(failuresOf(other, "500", 1))
	wantPoints(t, "with five circuits", collectPoints(t, reader), want)

	none, mp := newMeter()
	tr = newTransport(t, respondByPath(), breakerhttp.WithMeterProvider(mp), breakerhttp.WithMaxMetricKeys(0))
	_, _ = get(tr, "http://a.test/200")
	wantPoints(t, "with no series of their own", collectPoints(t, none).of("status"), statusOf(other, 1, 0, 0))
}

// TestEvictedSeries: the series of an evicted circuit end, and their place is free
// for another.
func TestEvictedSeries(t *testing.T) {
	tr, reader := newMetered(t, respondByPath(),
		breakerhttp.WithMaxMetricKeys(1), breakerhttp.WithMaxCircuits(1))
	visit := func(host string) {
		t.Helper()
		for range 2 { // the first look at a used circuit gives it a second chance
			_, _ = get(tr, "http://"+host+"/200")
		}
		if _, ok := tr.Snapshot("http://" + host); !ok {
			t.Fatalf("there is no circuit of %s", host)
		}
	}
	check := func(what string, want points) {
		t.Helper()
		wantPoints(t, what, collectPoints(t, reader).of("status", "requests", "untracked"), want.and(points{"untracked ": 0}))
	}
	for i := range 10 {
		name := fmt.Sprintf("host%d.test", i)
		visit(name)
		check(name, requestsOf(port80(name), 2, 0, 0).and(statusOf(port80(name), 1, 0, 0)))
	}
	visit("host0.test")
	check("once back", requestsOf(port80("host0.test"), 2, 0, 0).and(statusOf(port80("host0.test"), 1, 0, 0)))
	for i := range 10 { // without a collection in between
		visit(fmt.Sprintf("host%d.test", i))
	}
	check("ten later", requestsOf(port80("host9.test"), 2, 0, 0).and(statusOf(port80("host9.test"), 1, 0, 0)))
}

// TestSeriesThatComeBack: between two collections a circuit goes, another takes the place of its series,
// and it comes back. For the reader its series has gone on, so it does not fall.
func TestSeriesThatComeBack(t *testing.T) {
	tr, reader := newMetered(t, respondByPath(), breakerhttp.WithMaxMetricKeys(2), breakerhttp.WithMaxCircuits(2))
	visit := func(hosts ...string) {
		for _, host := range hosts {
			for range 2 { // the first look at a used circuit gives it a second chance
				_, _ = get(tr, "http://"+host+"/200")
			}
		}
	}
	visit("a.test", "b.test")
	last := collectPoints(t, reader)
	for range 3 {
		visit("c.test", "a.test", "b.test", "c.test", "a.test")
		now := collectPoints(t, reader)
		for name, n := range last.of("requests") {
			if got, ok := now[name]; ok && got < n {
				t.Errorf("%s fell from %d to %d", name, n, got)
			}
		}
		if now.of("requests").matching(atA)[series("requests", atA, "outcome=success")] <= last[series("requests", atA, "outcome=success")] {
			t.Errorf("a.test does not count on: %v after %v", now.of("requests"), last.of("requests"))
		}
		last = now
	}
}

// TestLateFailureOfEvictedCircuit: it changes the series of no other circuit.
func TestLateFailureOfEvictedCircuit(t *testing.T) {
	tr, reader := newMetered(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(errorReader{errors.New("cut")}), ContentLength: -1, Request: req}, nil
	}), breakerhttp.WithMaxCircuits(1))
	send := func(url string) *http.Response {
		req := newRequest(t, context.Background(), url)
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatalf("%s: got error %v", url, err)
		}
		return resp
	}
	resp := send("http://a.test/")
	defer resp.Body.Close()
	defer send("http://b.test/").Body.Close()
	if _, ok := tr.Snapshot("http://a.test"); ok {
		t.Fatal("the circuit is still there")
	}
	_, _ = io.ReadAll(resp.Body)
	want := requestsOf(port80("b.test"), 1, 0, 0)
	wantPoints(t, "requests", collectPoints(t, reader).of("requests"), want)
}

// TestLateFailureBeforeItsCircuitComesBack: it is in the series of its host.
func TestLateFailureBeforeItsCircuitComesBack(t *testing.T) {
	tr, reader := newMetered(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(errorReader{errors.New("cut")}), ContentLength: -1, Request: req}, nil
	}), breakerhttp.WithMaxCircuits(1))
	send := func(url string) io.ReadCloser {
		resp, err := tr.RoundTrip(newRequest(t, t.Context(), url))
		if err != nil {
			t.Fatalf("%s: got error %v", url, err)
		}
		return resp.Body
	}
	body := send("http://a.test/")
	_ = send("http://b.test/").Close()
	_, _ = io.ReadAll(body)
	_ = send("http://a.test/").Close()
	want := requestsOf(atA, 2, 0, 0).and(failuresOf(atA, "body", 1))
	wantPoints(t, "requests", collectPoints(t, reader).of("requests"), want)
}

// TestUntracked: where there is no room for a circuit, that is counted.
func TestUntracked(t *testing.T) {
	tr, reader := newMetered(t, respondByPath(), breakerhttp.WithMaxCircuits(1))
	for range 5 {
		_, _ = get(tr, "http://a.test/503")
	}
	for range 3 {
		_, _ = get(tr, "http://b.test/200")
	}
	got := collectPoints(t, reader)
	wantPoints(t, "untracked", got.of("untracked"), points{"untracked ": 3})
	wantPoints(t, "requests", got.of("requests"), requestsOf(atA, 0, 0, 0).and(failuresOf(atA, "503", 5)))
}

// TestOneAddress: two origins may have the same one. Then the gauge counts.
func TestOneAddress(t *testing.T) {
	tr, reader := newMetered(t, respondByPath(), breakerhttp.WithMaxMetricKeys(2))
	_, _ = get(tr, "https://a.test:80/200")
	_, _ = get(tr, "http://b.test/200")
	wantPoints(t, "status", collectPoints(t, reader).of("status"),
		statusOf(atA, 1, 0, 0).and(statusOf(port80("b.test"), 1, 0, 0)))
	tr.ForceOpen("http://a.test")
	wantPoints(t, "the series are full", collectPoints(t, reader).of("status"),
		statusOf(atA, 1, 1, 0).and(statusOf(port80("b.test"), 1, 0, 0)))

	tr, reader = newMetered(t, respondByPath())
	_, _ = get(tr, "https://a.test:80/200")
	_, _ = get(tr, "http://a.test/200")
	tr.ForceOpen("http://a.test")
	wantPoints(t, "status", collectPoints(t, reader).of("status"), statusOf(atA, 1, 1, 0))
	wantPoints(t, "requests", collectPoints(t, reader).of("requests"), requestsOf(atA, 2, 0, 0))
}

// neverFalls fails if a counter has fallen or gone since it was seen last.
func neverFalls(t rapid.TB, last, now points) {
	t.Helper()
	for name, n := range last.of("requests", "transitions", "untracked") {
		if got, ok := now[name]; !ok || got < n {
			t.Errorf("%s fell from %d to %d (there: %v)", name, n, got, ok)
		}
	}
}

// TestErrorTypes: an upstream that keeps inventing status codes makes few
// series, and none of them falls when circuits come and go.
func TestErrorTypes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, reader := newMetered(t, respondByPath(), breakerhttp.WithMaxMetricKeys(0),
			breakerhttp.WithMaxCircuits(4), breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: 1 << 30, Window: time.Second}))
		var last points
		for i := range 60 {
			for code := range 10 {
				_, _ = get(tr, fmt.Sprintf("http://host%d.test/%d", i%8, 500+(i*10+code)%100))
			}
			now := collectPoints(t, reader)
			neverFalls(t, last, now)
			last = now
			time.Sleep(700 * time.Millisecond)
		}
		failures := map[string]int64{}
		types := map[string]int{}
		for name, n := range last.of("requests") {
			if strings.Contains(name, "outcome=failure") {
				_, address, _ := strings.Cut(name, "server.address=")
				failures[address] += n
				types[address]++
			}
		}
		if diff := cmp.Diff(map[string]int{"_other": 16}, types); diff != "" {
			t.Errorf("error types (-want +got):\n%s", diff)
		}
		if sum := failures["_other"]; sum != 600-last["untracked "] {
			t.Errorf("got %d failures, want %d", sum, 600-last["untracked "])
		}
		if n := last[series("requests", other, "outcome=failure", "error.type=_OTHER")]; n == 0 {
			t.Error("no failure is of the type _OTHER")
		}
	})
}

// TestSDKLimit: by default, the SDK's 2000 sets of attributes an instrument are
// enough; and where they are not, it adds up the same ones each time.
func TestSDKLimit(t *testing.T) {
	tr, reader := newMetered(t, respondByPath())
	for i := range 700 {
		_, _ = get(tr, fmt.Sprintf("http://host%d.test/200", i))
	}
	for range 5 {
		_, _ = get(tr, "http://host499.test/500")
	}
	got := collectPoints(t, reader)
	for name := range got {
		if strings.Contains(name, "overflow") {
			t.Errorf("the SDK has no room: %s", name)
		}
	}
	wantPoints(t, "the last of 500", got.of("transitions").matching("host499"), transitionsOf(port80("host499.test"), 1, 0, 0, 0))
	wantPoints(t, "the last of 500", got.of("status").matching("host499"), statusOf(port80("host499.test"), 0, 1, 0))
	wantPoints(t, "the others", got.of("status").matching(other), statusOf(other, 200, 0, 0))
	wantPoints(t, "the others", got.of("transitions").matching(other), transitionsOf(other, 0, 0, 0, 0))

	reader, mp := newMeter(sdkmetric.WithCardinalityLimit(50))
	tr = newTransport(t, respondByPath(), breakerhttp.WithMeterProvider(mp), breakerhttp.WithMaxMetricKeys(30))
	var last points
	for range 20 {
		for i := range 40 {
			_, _ = get(tr, fmt.Sprintf("http://host%d.test/%d", i, []int{200, 500}[i/20]))
		}
		now := collectPoints(t, reader)
		neverFalls(t, last, now)
		last = now
	}
}

// A metricsModel counts by the book: what a caller saw goes to the series of the
// host, and nothing is ever taken back.
type metricsModel struct {
	tr        *breakerhttp.Transport
	maxKeys   int
	slots     []string          // the hosts with series of their own
	addresses map[string]string // of the hosts met
	stays     map[string]int    // how often a host got a series
	gone      []string          // the hosts with series whose circuits have gone, in that order
	shown     map[string]bool   // the hosts whose series a collection has shown
	ended     map[string]points // what such series had when they ended, until a collection shows none of their host
	counts    points
	late      []lateBody
}

// A lateBody is yet to be read, and will fail.
type lateBody struct {
	io.ReadCloser
	host, address string
	stay          int
}

// met returns the address of a host that has a circuit.
func (m *metricsModel) met(host string) string {
	address, ok := m.addresses[host]
	if !ok {
		address = other
		places := len(m.slots)
		slot := m.slot()
		if slot >= 0 {
			address = port80(host)
			m.slots[slot] = host
		}
		if slot < 0 || slot == places { // others are announced at the next collection
			m.counts = transitionsOf(address, 0, 0, 0, 0).and(m.counts)
		}
		m.addresses[host] = address
		m.stays[host]++
	}
	return address
}

// slot finds a place: a new one, a free one, or that of a host without a circuit.
func (m *metricsModel) slot() int {
	if len(m.slots) < m.maxKeys {
		m.slots = append(m.slots, "")
		return len(m.slots) - 1
	}
	if i := slices.Index(m.slots, ""); i >= 0 {
		return i
	}
	m.look()
	if len(m.gone) == 0 {
		return -1
	}
	i := slices.Index(m.slots, m.gone[0])
	m.end(i)
	return i
}

// look notices which circuits have gone.
func (m *metricsModel) look() {
	has := func(host string) bool { _, ok := m.tr.Snapshot("http://" + host); return ok }
	m.gone = slices.DeleteFunc(m.gone, has)
	for _, host := range m.slots {
		if host != "" && !has(host) && !slices.Contains(m.gone, host) {
			m.gone = append(m.gone, host)
		}
	}
}

// end ends the series of a host without a circuit. That of its transitions goes on.
func (m *metricsModel) end(slot int) {
	host := m.slots[slot]
	for name, n := range m.counts.of("requests").matching(port80(host)) {
		delete(m.counts, name)
		if m.shown[host] {
			if m.ended[host] == nil {
				m.ended[host] = points{}
			}
			m.ended[host][name] += n
		}
	}
	m.shown[host] = false
	m.slots[slot] = ""
	m.gone = slices.DeleteFunc(m.gone, func(h string) bool { return h == host })
	delete(m.addresses, host)
}

func (m *metricsModel) count(metric, host string, attrs ...string) {
	m.counts[series(metric, append(attrs, m.met(host))...)]++
}

// hook is for [breakerhttp.WithTransitionHook].
func (m *metricsModel) hook(_ context.Context, tr breakerhttp.Transition) {
	host := strings.TrimPrefix(tr.Key, "http://")
	m.count("transitions", host, "previous_state="+tr.From.String(), "state="+tr.To.String())
}

// want is all that a collection must show.
func (m *metricsModel) want() points {
	for host := range m.addresses {
		if _, ok := m.tr.Snapshot("http://" + host); ok {
			continue
		}
		if slot := slices.Index(m.slots, host); slot >= 0 {
			m.end(slot)
		}
		delete(m.addresses, host)
	}
	for s := range m.tr.Snapshots() {
		address := m.met(strings.TrimPrefix(s.Key, "http://"))
		m.counts = requestsOf(address, 0, 0, 0).and(transitionsOf(address, 0, 0, 0, 0)).and(m.counts)
	}
	want := maps.Clone(m.counts)
	for host, ended := range m.ended {
		if !slices.Contains(m.slots, host) {
			delete(m.ended, host)
		} else {
			for name, n := range ended {
				want[name] += n
			}
		}
	}
	for _, host := range m.slots {
		m.shown[host] = true
	}
	for s := range m.tr.Snapshots() {
		address := m.met(strings.TrimPrefix(s.Key, "http://"))
		want = statusOf(address, 0, 0, 0).and(want)
		want[series("status", address, "state="+s.State.String())]++
	}
	return want
}

// asks is for a host that is about to be met: without a circuit it may get a series of its own now.
func (m *metricsModel) asks(host string) {
	if _, ok := m.tr.Snapshot("http://" + host); !ok && m.addresses[host] == other {
		delete(m.addresses, host)
	}
}

func (m *metricsModel) send(ctx context.Context, host, path string) {
	m.asks(host)
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/"+path, nil)
	resp, err := m.tr.RoundTrip(req)
	m.look()
	switch _, tracked := m.tr.Snapshot("http://" + host); {
	case !tracked:
		m.counts["untracked "]++
	case errors.Is(err, breakerhttp.ErrOpen):
		m.count("requests", host, "outcome=refused")
	case ctx.Err() != nil:
		m.count("requests", host, "outcome=ignored")
	case err != nil:
		m.count("requests", host, "outcome=failure", "error.type=connection")
	case resp.StatusCode >= 500:
		m.count("requests", host, "outcome=failure", "error.type="+path)
	default:
		m.count("requests", host, "outcome=success")
		m.late = append(m.late, lateBody{resp.Body, host, m.met(host), m.stays[host]})
	}
}

// lateByPath is respondByPath with bodies that fail.
func lateByPath(req *http.Request) (*http.Response, error) {
	resp, err := respondByPath()(req)
	if err == nil {
		resp.Body, resp.ContentLength = io.NopCloser(errorReader{io.ErrUnexpectedEOF}), -1
	}
	return resp, err
}

// TestMetricsModel collects after whatever has happened to a few hosts, while
// their circuits come and go, and compares every series with the model.
func TestMetricsModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, func(t *rapid.T) { // which would ask a *testing.T for what a bubble forbids
			reader, mp := newMeter()
			m := &metricsModel{addresses: map[string]string{}, stays: map[string]int{}, shown: map[string]bool{}, ended: map[string]points{}, counts: points{"untracked ": 0, "unguarded ": 0}}
			m.maxKeys = rapid.IntRange(0, 4).Draw(t, "maxKeys")
			tr, err := breakerhttp.New(roundTripFunc(lateByPath), breakerhttp.WithMeterProvider(mp),
				breakerhttp.WithMaxMetricKeys(m.maxKeys),
				breakerhttp.WithMaxCircuits(rapid.IntRange(1, 4).Draw(t, "maxCircuits")),
				breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: 2, Window: time.Second, OpenFor: 2 * time.Second}),
				breakerhttp.WithTransitionHook(m.hook))
			if err != nil {
				t.Fatal(err)
			}
			m.tr = tr
			host := func(t *rapid.T) string { return fmt.Sprintf("host%d.test", rapid.IntRange(0, 6).Draw(t, "host")) }
			t.Repeat(map[string]func(*rapid.T){
				"send": func(t *rapid.T) {
					path := rapid.SampledFrom([]string{"200", "200", "500", "503", "0"}).Draw(t, "path")
					for range rapid.IntRange(1, 3).Draw(t, "times") {
						m.send(context.Background(), host(t), path)
					}
				},
				"cancel": func(t *rapid.T) {
					ctx, cancel := context.WithCancel(context.Background())
					cancel()
					m.send(ctx, host(t), "0")
				},
				"read": func(t *rapid.T) {
					if len(m.late) > 0 {
						b := m.late[0]
						m.late = m.late[1:]
						// A series that has ended counts nothing more.
						if m.addresses[b.host] != "" && m.stays[b.host] == b.stay || b.address == other {
							m.counts[series("requests", b.address, "outcome=failure", "error.type=body")]++
						}
						_, _ = io.ReadAll(b)
					}
				},
				"force": func(t *rapid.T) {
					host := host(t)
					m.asks(host)
					m.met(host)
					rapid.SampledFrom([]func(string){tr.ForceOpen, tr.ForceClosed}).Draw(t, "to")("http://" + host)
				},
				"reset": func(t *rapid.T) { tr.Reset("http://" + host(t)) },
				"wait":  func(t *rapid.T) { time.Sleep(time.Duration(rapid.IntRange(1, 3000).Draw(t, "ms")) * time.Millisecond) },
				"":      func(t *rapid.T) { wantPoints(t, "metrics", collectPoints(t, reader), m.want()) },
			})
		})
	})
}

// TestConcurrentCollection: with two readers at work, no counter falls while
// circuits come and go, and in the end every request is there once.
func TestConcurrentCollection(t *testing.T) {
	first, second := sdkmetric.NewManualReader(), sdkmetric.NewManualReader()
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(first), sdkmetric.WithReader(second))
	tr := newTransport(t, roundTripFunc(lateByPath), breakerhttp.WithMeterProvider(mp),
		breakerhttp.WithMaxMetricKeys(0), breakerhttp.WithMaxCircuits(6),
		breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: 1 << 30, Window: time.Microsecond}))
	var late atomic.Int64
	var senders, readers sync.WaitGroup
	for i := range 4 {
		senders.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for range 1500 {
				url := fmt.Sprintf("http://host%d.test/%d", random.IntN(20), []int{200, 500 + random.IntN(40)}[random.IntN(2)])
				req := newRequest(t, context.Background(), url)
				if resp, err := tr.RoundTrip(req); err == nil && resp.StatusCode == 200 {
					_, _ = io.ReadAll(resp.Body)
					late.Add(1)
				}
			}
		})
	}
	done := make(chan struct{})
	for _, reader := range []sdkmetric.Reader{first, second} {
		readers.Go(func() {
			var last points
			for stop := false; !stop; {
				select {
				case <-done:
					stop = true
				default:
				}
				now := collectPoints(t, reader)
				neverFalls(t, last, now)
				last = now
			}
			var sum int64
			for _, n := range last.of("requests") {
				sum += n
			}
			untracked := last["untracked "]
			if want := 4*1500 + late.Load(); sum < want-2*untracked || sum > want-untracked {
				t.Errorf("got %d requests in all, want %d except for %d untracked", sum, want, untracked)
			}
		})
	}
	senders.Wait()
	close(done)
	readers.Wait()
}

// An event is one of a span: its name, and its attributes without
// "circuit_breaker.".
type event struct {
	Name  string
	Attrs map[string]any
}

// changed is the event of a transition. It has more attributes in pairs.
func changed(from, to, reason string, more ...any) event {
	return newEvent("circuit_breaker.state_change",
		append([]any{"circuit_breaker.previous_state", from, "circuit_breaker.state", to, "circuit_breaker.reason", reason}, more...))
}

// refusedIn is the event of a refusal.
func refusedIn(state string, more ...any) event {
	return newEvent("circuit_breaker.request.refused",
		append([]any{"circuit_breaker.state", state, "error.type", "circuit_open"}, more...))
}

func newEvent(name string, pairs []any) event {
	e := event{name, map[string]any{"circuit_breaker.name": "default", "server.address": "a.test", "server.port": int64(80)}}
	for i := 0; i < len(pairs); i += 2 {
		e.Attrs[pairs[i].(string)] = pairs[i+1]
	}
	return e
}

// eventsOf are the events of this package on a span.
func eventsOf(span sdktrace.ReadOnlySpan) (events []event) {
	for _, e := range span.Events() {
		got := event{e.Name, map[string]any{}}
		for _, kv := range e.Attributes {
			if _, ok := got.Attrs[string(kv.Key)]; ok {
				got.Attrs[string(kv.Key)] = "twice"
			} else {
				got.Attrs[string(kv.Key)] = kv.Value.AsInterface()
			}
		}
		events = append(events, got)
	}
	return events
}

// A tracer sends requests, each with a span.
type tracer struct {
	trace.Tracer
	spans *tracetest.SpanRecorder
}

func newTracer(opts ...sdktrace.TracerProviderOption) (*tracer, *sdktrace.TracerProvider) {
	spans := tracetest.NewSpanRecorder()
	tp := sdktrace.NewTracerProvider(append(opts, sdktrace.WithSpanProcessor(spans))...)
	return &tracer{tp.Tracer("test"), spans}, tp
}

// get returns the span of a request. It ends as soon as RoundTrip has returned.
func (tc *tracer) get(rt http.RoundTripper, url string) sdktrace.ReadOnlySpan {
	return tc.during(url, func(req *http.Request) { _, _ = rt.RoundTrip(req) })
}

func (tc *tracer) during(url string, send func(*http.Request)) sdktrace.ReadOnlySpan {
	ctx, span := tc.Start(context.Background(), "caller")
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	send(req)
	span.End()
	return tc.ended(func(s sdktrace.ReadOnlySpan) bool {
		return s.SpanContext().SpanID() == span.SpanContext().SpanID()
	})
}

// childOf returns the client's span, or nil.
func (tc *tracer) childOf(caller sdktrace.ReadOnlySpan) sdktrace.ReadOnlySpan {
	return tc.ended(func(s sdktrace.ReadOnlySpan) bool { return s.Parent().SpanID() == caller.SpanContext().SpanID() })
}

func (tc *tracer) ended(is func(sdktrace.ReadOnlySpan) bool) sdktrace.ReadOnlySpan {
	for _, s := range tc.spans.Ended() {
		if is(s) {
			return s
		}
	}
	return nil
}

func wantEvents(t *testing.T, what string, span sdktrace.ReadOnlySpan, want ...event) {
	t.Helper()
	if diff := cmp.Diff(want, eventsOf(span)); diff != "" {
		t.Errorf("%s: events (-want +got):\n%s", what, diff)
	}
}

// TestSpanEvents: the span of the request that changed or was refused something
// tells so.
func TestSpanEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tc, _ := newTracer()
		tr := newTransport(t, respondByPath(), breakerhttp.WithMaxMetricKeys(0), // events have an address all the same
			breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: 1500 * time.Millisecond, ConsecutiveFailures: 2, Ramp: time.Hour}))
		wantEvents(t, "success", tc.get(tr, "http://a.test/200"))
		wantEvents(t, "first failure", tc.get(tr, "http://a.test/503"))
		wantEvents(t, "second failure", tc.get(tr, "http://a.test/503"),
			changed("closed", "open", "consecutive_failures", "circuit_breaker.open_for", 1.5))
		time.Sleep(250 * time.Millisecond)
		wantEvents(t, "refused", tc.get(tr, "http://a.test/200"), refusedIn("open", "circuit_breaker.retry_after", 1.25))
		time.Sleep(2 * time.Second)
		wantEvents(t, "failed probe", tc.get(tr, "http://a.test/503"), changed("open", "half_open", "open_elapsed"),
			changed("half_open", "open", "probe_failed", "circuit_breaker.open_for", 1.5))
		time.Sleep(2 * time.Second)
		wantEvents(t, "good probe", tc.get(tr, "http://a.test/200"), changed("open", "half_open", "open_elapsed"),
			changed("half_open", "closed", "probe_succeeded"))
		for refused := false; !refused; { // nine in ten
			span := tc.get(tr, "http://a.test/200")
			if refused = len(span.Events()) > 0; refused {
				wantEvents(t, "ramping", span, refusedIn("closed"))
			}
		}
		tr.ForceOpen("http://a.test")
		wantEvents(t, "forced", tc.get(tr, "http://a.test/200"), refusedIn("open"))
	})
}

// TestSpanOfHungProbe: a change that no request was there for goes to the one
// that notices, besides its own refusal.
func TestSpanOfHungProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tc, _ := newTracer()
		answer := make(chan int)
		tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
			return respond(<-answer)(req)
		}), breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: 1, OpenFor: time.Minute, ProbeTimeout: time.Second}))
		go func() { answer <- 500 }()
		_ = tc.get(tr, "http://a.test/")
		time.Sleep(time.Minute)
		probe := make(chan sdktrace.ReadOnlySpan)
		go func() { probe <- tc.get(tr, "http://a.test/") }()
		synctest.Wait()
		wantEvents(t, "during the probe", tc.get(tr, "http://a.test/"), refusedIn("half_open"))
		time.Sleep(11 * time.Second)
		got := eventsOf(tc.get(tr, "http://a.test/"))
		slices.SortFunc(got, func(a, b event) int { return strings.Compare(a.Name, b.Name) })
		want := []event{
			refusedIn("open", "circuit_breaker.retry_after", 50.0),
			changed("half_open", "open", "probe_timeout", "circuit_breaker.open_for", 60.0),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("after it: events (-want +got):\n%s", diff)
		}
		answer <- 200
		wantEvents(t, "the probe", <-probe, changed("open", "half_open", "open_elapsed"))
	})
}

// TestSpanOfCustomKey: events have the key where there is no address.
func TestSpanOfCustomKey(t *testing.T) {
	tc, _ := newTracer()
	tr := newTransport(t, respond(200), breakerhttp.WithName("crm"),
		breakerhttp.WithKey(func(*http.Request) string { return "tenant 7" }))
	tr.ForceOpen("tenant 7")
	wantEvents(t, "refused", tc.get(tr, "http://a.test/"), event{"circuit_breaker.request.refused", map[string]any{
		"circuit_breaker.name": "crm", "circuit_breaker.key": "tenant 7",
		"circuit_breaker.state": "open", "error.type": "circuit_open",
	}})
}

// TestExemplars: a transition leads to the trace of the request that caused it.
func TestExemplars(t *testing.T) {
	reader, mp := newMeter()
	tc, _ := newTracer()
	tr := newTransport(t, respondByPath(), breakerhttp.WithMeterProvider(mp), breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: 2}))
	_ = tc.get(tr, "http://a.test/503")
	span := tc.get(tr, "http://a.test/503")
	want := span.SpanContext().TraceID()
	var got [][]byte
	for _, m := range collect(t, reader).Metrics {
		if sum, ok := m.Data.(metricdata.Sum[int64]); ok {
			for _, p := range sum.DataPoints {
				for _, e := range p.Exemplars {
					if to, _ := p.Attributes.Value(attribute.Key("circuit_breaker.state")); to.AsString() != "open" || e.Value != 1 {
						t.Errorf("got an exemplar of %v with value %d", p.Attributes, e.Value)
					}
					got = append(got, e.TraceID)
				}
			}
		}
	}
	if diff := cmp.Diff([][]byte{want[:]}, got); diff != "" {
		t.Errorf("traces of exemplars (-want +got):\n%s", diff)
	}
}

// TestSpanOrders: inside otelhttp the events are on its client span, outside on
// the caller's.
func TestSpanOrders(t *testing.T) {
	for _, inside := range []bool{true, false} {
		t.Run(fmt.Sprintf("inside=%v", inside), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := pipetest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					if req.URL.Path == "/broken" {
						w.Header().Set("Content-Length", "100")
					}
					_, _ = io.WriteString(w, "body")
				}))
				tc, tp := newTracer()
				policy := breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: 1})
				traced := func(rt http.RoundTripper) http.RoundTripper {
					return otelhttp.NewTransport(rt, otelhttp.WithTracerProvider(tp))
				}
				var rt http.RoundTripper
				if inside {
					rt = traced(newTransport(t, srv.Transport, policy))
				} else {
					rt = newTransport(t, traced(srv.Transport), policy)
				}
				// send also returns the error.type of the client span.
				send := func(what, url string, sent bool, want ...event) (errorType string) {
					t.Helper()
					caller := tc.during(url, func(req *http.Request) { _, _ = do(rt, req) })
					client := tc.childOf(caller)
					if (client != nil) != (inside || sent) {
						t.Fatalf("%s: got client span %v, sent is %v", what, client, sent)
					}
					if !inside {
						wantEvents(t, what+", caller", caller, want...)
						want = nil
					}
					if client != nil {
						wantEvents(t, what+", client", client, want...)
						set := attribute.NewSet(client.Attributes()...)
						v, _ := set.Value("error.type")
						errorType = v.AsString()
					}
					if inside {
						wantEvents(t, what+", caller", caller)
					}
					return errorType
				}
				send("good", "http://a.test/", true)
				send("broken off", "http://a.test/broken", true,
					changed("closed", "open", "consecutive_failures", "circuit_breaker.open_for", 60.0))
				got := send("refused", "http://a.test/", false, refusedIn("open", "circuit_breaker.retry_after", 60.0))
				if want := map[bool]string{true: "circuit_open"}[inside]; got != want {
					t.Errorf("refused: got error.type %q on the client span, want %q", got, want)
				}
				time.Sleep(time.Minute)
				send("probe", "http://a.test/", true,
					changed("open", "half_open", "open_elapsed"), changed("half_open", "closed", "probe_succeeded"))
			})
		})
	}
}

// TestDurationOrders: the durations of otelhttp are of what was sent, or of all
// that was asked for.
func TestDurationOrders(t *testing.T) {
	reader, mp := newMeter()
	measured := func(rt http.RoundTripper) http.RoundTripper {
		return otelhttp.NewTransport(rt, otelhttp.WithMeterProvider(mp))
	}
	for _, c := range []struct {
		order string
		rt    http.RoundTripper
		want  uint64
	}{
		{"breakerhttp, otelhttp", newTransport(t, measured(respond(503))), 5},
		{"otelhttp, breakerhttp", measured(newTransport(t, respond(503))), 10},
	} {
		before := durations(t, reader)
		for range 10 {
			_, _ = get(c.rt, "http://a.test/") // the first five open the circuit
		}
		if got := durations(t, reader) - before; got != c.want {
			t.Errorf("%s: got %d durations of 10 requests, want %d", c.order, got, c.want)
		}
	}
}

// durations is how many requests http.client.request.duration has counted.
func durations(t *testing.T, reader *sdkmetric.ManualReader) (n uint64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		t.Fatalf("Collect: %v", err)
	}
	for _, s := range all.ScopeMetrics {
		for _, m := range s.Metrics {
			if h, ok := m.Data.(metricdata.Histogram[float64]); ok && m.Name == "http.client.request.duration" {
				for _, p := range h.DataPoints {
					n += p.Count
				}
			}
		}
	}
	return n
}

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
