package breakerhttp_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/pipetest"
)

// TestTransportIsCollected: it owns nothing that keeps it alive.
func TestTransportIsCollected(t *testing.T) {
	collected := make(chan bool)
	func() {
		tr := newDroppable(t, respond(500))
		for range 6 {
			_, _ = get(tr, host)
		}
		runtime.AddCleanup(tr, func(c chan bool) { close(c) }, collected)
	}()
	for range 100 {
		runtime.GC()
		select {
		case <-collected:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Error("the Transport is still alive")
}

// TestDefaults drives the default policy through all states with a real client
// and server: exactly the fifth failure opens, for a minute, and one probe
// closes.
func TestDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newUpstream(http.StatusServiceUnavailable)
		srv := pipetest.NewServer(t, up)
		tr := newTransport(t, srv.Transport)
		client := &http.Client{Transport: tr}
		call := func() (int, error) {
			resp, err := client.Get(srv.URL)
			if err != nil {
				return 0, err
			}
			defer resp.Body.Close()
			return resp.StatusCode, nil
		}
		for i := range 5 {
			wantStateBefore := breakerhttp.StateClosed
			if i > 0 {
				wantState(t, tr, srv.URL, wantStateBefore)
			}
			if status, err := call(); status != 503 || err != nil {
				t.Fatalf("call %d: got %d, %v; want 503", i+1, status, err)
			}
		}
		wantState(t, tr, srv.URL, breakerhttp.StateOpen)
		opened := time.Now()

		time.Sleep(20 * time.Second)
		_, err := call()
		refusal := wantRefused(t, err)
		want := breakerhttp.OpenError{
			Key:        srv.URL,
			State:      breakerhttp.StateOpen,
			RetryAfter: 40 * time.Second,
			Reason:     "5 failures in a row, last: 503 Service Unavailable",
		}
		if *refusal != want {
			t.Errorf("got refusal %+v, want %+v", *refusal, want)
		}
		if got := up.hits.Load(); got != 5 {
			t.Errorf("upstream got %d requests, want 5", got)
		}

		time.Sleep(time.Until(opened.Add(time.Minute)) - time.Nanosecond)
		if _, err := call(); err == nil {
			t.Error("a nanosecond before its time, the circuit admitted a request")
		}
		time.Sleep(time.Nanosecond)
		wantState(t, tr, srv.URL, breakerhttp.StateHalfOpen)
		up.status.Store(http.StatusOK)
		if status, err := call(); status != 200 || err != nil {
			t.Errorf("probe: got %d, %v; want 200", status, err)
		}
		wantState(t, tr, srv.URL, breakerhttp.StateClosed)

		var steps []string
		for _, tr := range tr.Transitions() {
			steps = append(steps, tr.From.String()+">"+tr.To.String()+":"+string(tr.Reason))
		}
		got := strings.Join(steps, " ")
		if want := "closed>open:consecutive_failures open>half_open:open_elapsed half_open>closed:probe_succeeded"; got != want {
			t.Errorf("transitions:\n got %s\nwant %s", got, want)
		}
	})
}

// TestHostsAreApart: one dead host does not touch another.
func TestHostsAreApart(t *testing.T) {
	dead := httptest.NewServer(newUpstream(http.StatusInternalServerError))
	defer dead.Close()
	well := httptest.NewServer(newUpstream(http.StatusOK))
	defer well.Close()
	tr := newTransport(t, nil)
	defer tr.CloseIdleConnections()
	for range 10 {
		_, _ = get(tr, dead.URL)
		if status, err := get(tr, well.URL); status != 200 || err != nil {
			t.Fatalf("healthy host: got %d, %v; want 200", status, err)
		}
	}
	wantState(t, tr, dead.URL, breakerhttp.StateOpen)
	wantState(t, tr, well.URL, breakerhttp.StateClosed)
	want := breakerhttp.Totals{Failure: 5, Refused: 5}
	if got := snapshot(t, tr, dead.URL).Totals; got != want {
		t.Errorf("dead host: got totals %+v, want %+v", got, want)
	}
}

func TestName(t *testing.T) {
	for _, tt := range []struct {
		want string
		opts []breakerhttp.Option
	}{
		{"default", nil},
		{"shop", []breakerhttp.Option{breakerhttp.WithName("shop")}},
	} {
		if got := newTransport(t, respond(200), tt.opts...).Name(); got != tt.want {
			t.Errorf("got name %q, want %q", got, tt.want)
		}
	}
}

// TestWrappedRoundTripper: client-go looks for the base by this method.
func TestWrappedRoundTripper(t *testing.T) {
	base := newBase(t)
	if got := newTransport(t, base).WrappedRoundTripper(); got != http.RoundTripper(base) {
		t.Errorf("got %v, want the base, %v", got, base)
	}
	if got := newTransport(t, nil).WrappedRoundTripper(); got != http.DefaultTransport {
		t.Errorf("got %v, want http.DefaultTransport", got)
	}
}

// TestUnmadeTransport: a Transport that was not made by New says so.
func TestUnmadeTransport(t *testing.T) {
	body := &closeRecorder{Reader: strings.NewReader("x")}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, host, body)
	var tr breakerhttp.Transport
	if _, err := tr.RoundTrip(req); err == nil || !strings.Contains(err.Error(), "must be made by New") {
		t.Errorf("got error %v", err)
	}
	if !body.closed.Load() {
		t.Error("the request body is not closed")
	}
	defer func() {
		if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "must be made by New") {
			t.Errorf("Snapshot panics with %v", v)
		}
	}()
	tr.Snapshot(host)
}

// TestConcurrentHistory: eight callers at once call a dead host, a flapping one, a slow one and many
// new ones, with fewer circuits than hosts, and with a TripWhen and a hook that panic. In whatever
// order that happens, the history keeps the rules.
func TestConcurrentHistory(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &history{seed: seed, last: map[string]breakerhttp.Transition{}, level: map[string]int{}, openFor: map[string]time.Duration{}}
				h.play(t)
			})
		})
	}
}

// A history checks the transitions as the hook is told of them.
type history struct {
	t    *testing.T
	seed uint64

	sent, sentToDead atomic.Int64

	mu      sync.Mutex
	last    map[string]breakerhttp.Transition // by key
	level   map[string]int                    // of growth
	openFor map[string]time.Duration          // the latest
	probes  int                               // of the dead host
}

const (
	deadHost, flappingHost, slowHost = "dead.test", "flapping.test", "slow.test"

	historySlowAfter  = 100 * time.Millisecond
	historyMaxOpenFor = 8 * time.Second
)

type tookKey struct{} // of the request's context: a *time.Duration, set by base

func (h *history) play(t *testing.T) {
	h.t = t
	reader, mp := newMeter()
	tr := newTransport(t, roundTripFunc(h.answer),
		breakerhttp.WithMeterProvider(mp), breakerhttp.WithMaxMetricKeys(0), // all are counted together
		breakerhttp.WithMaxCircuits(4), breakerhttp.WithTransitionHook(h.hook),
		breakerhttp.WithPolicy(breakerhttp.Policy{
			ConsecutiveFailures: 3, SlowRatio: 1, SlowAfter: historySlowAfter, MinRequests: 3,
			TripWhen: func(c breakerhttp.Counts) bool {
				if c.Requests%7 == 6 {
					panic("TripWhen")
				}
				return false
			},
			OpenFor: time.Second, OpenGrowth: 2, MaxOpenFor: historyMaxOpenFor,
		}))
	const callers, calls = 8, 300
	var all sync.WaitGroup
	for caller := range uint64(callers) {
		all.Go(func() {
			random := rand.New(rand.NewPCG(h.seed, caller))
			for range calls {
				host := fmt.Sprintf("new%d.test", random.IntN(1000))
				switch n := random.IntN(10); {
				case n < 1:
					host = deadHost
				case n < 4:
					host = flappingHost
				case n < 6:
					host = slowHost
				}
				h.call(tr, host)
				time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
			}
		})
	}
	all.Wait()
	var counted int64 // of a panic before it is sent, a request is ignored, or not decided at all
	for name, n := range collectPoints(t, reader).of("requests", "untracked") {
		if !strings.Contains(name, "outcome=refused") && !strings.Contains(name, "outcome=ignored") {
			counted += n
		}
	}
	if counted != h.sent.Load() {
		t.Errorf("%d results are counted, want %d", counted, h.sent.Load())
	}
	for s := range tr.Snapshots() {
		if s.InFlight != 0 {
			t.Errorf("%s: %d in flight, want 0", s.Key, s.InFlight)
		}
	}
	// Those that open the circuit, those in flight then, and the probes: no run is forgotten.
	if sent, most := int(h.sentToDead.Load()), 3+callers+h.probes; sent > most {
		t.Errorf("%d requests reached the dead host, want %d at most", sent, most)
	}
}

// answer is the base.
func (h *history) answer(req *http.Request) (*http.Response, error) {
	h.sent.Add(1)
	began := time.Now()
	status, latency := http.StatusOK, 5*time.Millisecond
	switch req.URL.Host {
	case deadHost:
		h.sentToDead.Add(1)
		status = http.StatusServiceUnavailable
	case flappingHost:
		if began.UnixMilli()%1700 < 800 {
			status = http.StatusServiceUnavailable
		}
	case slowHost:
		if began.Second()%4 < 2 {
			latency = 3 * historySlowAfter
		}
	}
	time.Sleep(latency)
	*req.Context().Value(tookKey{}).(*time.Duration) = time.Since(began)
	return respond(status)(req)
}

func (h *history) call(tr *breakerhttp.Transport, host string) {
	defer func() { _ = recover() }() // of TripWhen or the hook
	req := newRequest(h.t, context.WithValue(h.t.Context(), tookKey{}, new(time.Duration)), "http://"+host)
	_, _ = do(tr, req)
}

func (h *history) hook(ctx context.Context, tr breakerhttp.Transition) {
	time.Sleep(time.Duration(tr.Seq%3) * 20 * time.Millisecond) // another transition may overtake this one
	h.mu.Lock()
	defer h.mu.Unlock()
	last, told := h.last[tr.Key]
	h.last[tr.Key] = tr
	if told && (last.To != tr.From || last.Seq >= tr.Seq) || !told && tr.From != breakerhttp.StateClosed {
		h.t.Errorf("%s: %v to %v (%d) after %v to %v (%d)", tr.Key, tr.From, tr.To, tr.Seq, last.From, last.To, last.Seq)
	}
	took, ofRequest := ctx.Value(tookKey{}).(*time.Duration)
	switch {
	case tr.Reason == breakerhttp.ReasonProbeSucceeded && ofRequest && *took > historySlowAfter:
		h.t.Errorf("%s: closed by a probe that took %v", tr.Key, *took)
	case tr.To == breakerhttp.StateHalfOpen && tr.Key == "http://"+deadHost:
		h.probes++
	case tr.To == breakerhttp.StateOpen && tr.Key != "http://"+slowHost: // whose circuit may have been evicted
		h.wantOpenFor(last, tr)
	}
	if tr.Seq%5 == 0 {
		panic("hook")
	}
}

// wantOpenFor computes the open time from the history.
func (h *history) wantOpenFor(last, tr breakerhttp.Transition) {
	if closedFor := tr.At.Sub(last.At); tr.From == breakerhttp.StateClosed {
		h.level[tr.Key] = max(0, h.level[tr.Key]-int(closedFor/historyMaxOpenFor))
		if closedFor < h.openFor[tr.Key] {
			h.level[tr.Key]++
		}
	} else {
		h.level[tr.Key]++
	}
	h.level[tr.Key] = min(h.level[tr.Key], 3) // 8s
	h.openFor[tr.Key] = time.Second << h.level[tr.Key]
	if tr.OpenFor != h.openFor[tr.Key] {
		h.t.Errorf("%s: %v to open, for %v, want %v", tr.Key, tr.From, tr.OpenFor, h.openFor[tr.Key])
	}
}
