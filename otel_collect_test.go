package breakerhttp_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"

	"github.com/breakerhttp/breakerhttp"
)

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
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://a.test/", nil)
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
	runtime.KeepAlive(tr)
}

// TestDroppedTransport: who drops a Transport drops its series.
func TestDroppedTransport(t *testing.T) {
	reader, mp := newMeter()
	s := &spy{MeterProvider: mp}
	func() {
		tr := newTransport(t, respondByPath(), breakerhttp.WithMeterProvider(s))
		_, _ = get(tr, "http://a.test/200")
		want := requestsOf(atA, 1, 0, 0).and(statusOf(atA, 1, 0, 0)).and(points{"untracked ": 0})
		wantPoints(t, "in use", collectPoints(t, reader).of("requests", "status", "untracked"), want)
		runtime.KeepAlive(tr)
	}()
	waitUntil(t, "the callback is unregistered", s.unregistered.Load)
	wantPoints(t, "dropped", collectPoints(t, reader).of("requests", "status", "untracked"), points{})
}

// waitUntil waits for the garbage collector, and for what it sets off.
func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 500 {
		runtime.GC()
		if done() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("it never happens that %s", what)
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
	dropped := newTransport(t, respondByPath(), breakerhttp.WithName("dropped"))
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
	runtime.KeepAlive(tr)
	runtime.KeepAlive(later)
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
		hung, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://dead.test/hang", nil)
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
		"trip_when":     {SlowRatio: 1, SlowAfter: time.Second},
	} {
		t.Run(reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reader, mp := newMeter()
				var tr *breakerhttp.Transport
				if reason == "trip_when" {
					p.TripWhen = func(c breakerhttp.Counts) bool {
						wantState(t, tr, "http://a.test", breakerhttp.StateClosed)
						return c.Slow > 0
					}
				}
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
