package breakerhttp_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/pipetest"
)

// TestBaseContract: what a base returns against the contract of RoundTripper is
// handed on, and judged with care.
func TestBaseContract(t *testing.T) {
	body := func() io.ReadCloser { return io.NopCloser(strings.NewReader("body")) }
	for _, tt := range []struct {
		name string
		resp *http.Response
		err  error
		want tally
	}{
		{"nothing", nil, nil, tally{"failure connection": 1}},
		{"both", &http.Response{StatusCode: 200, Body: body()}, errRefused, tally{"failure connect": 1}},
		{"both, of a failing status", &http.Response{StatusCode: 503, Body: body()}, errRefused, tally{"failure connect": 1}},
		{"no body", &http.Response{StatusCode: 200}, nil, tally{"success": 1}},
		{"no body of a failure", &http.Response{StatusCode: 503}, nil, tally{"failure 503": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			option, collect := newTally(t)
			tr := newTransport(t, roundTripFunc(func(*http.Request) (*http.Response, error) { return tt.resp, tt.err }), option)
			var before http.Response
			if tt.resp != nil {
				before = *tt.resp
			}
			resp, err := tr.RoundTrip(newRequest(t, t.Context(), "http://a.test"))
			if resp != tt.resp || err != tt.err { //nolint:errorlint // as it is
				t.Errorf("got %v, %v; want %v, %v", resp, err, tt.resp, tt.err)
			}
			if resp != nil && resp.Body != before.Body {
				t.Errorf("the body was replaced: got %T, want %T", resp.Body, before.Body)
			}
			if diff := cmp.Diff(tt.want, collect()); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDryRun(t *testing.T) {
	var hits int
	tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
		hits++
		return respond(500)(req)
	}), breakerhttp.WithDryRun())
	for range 12 {
		if status, err := get(tr, host); status != 500 || err != nil {
			t.Fatalf("got %d, %v; want the upstream's 500", status, err)
		}
	}
	want := breakerhttp.Totals{Failure: 5, Refused: 7}
	if s := snapshot(t, tr, host); hits != 12 || s.Totals != want || s.State != breakerhttp.StateOpen {
		t.Errorf("got %d hits, %v, %+v; want 12, open, %+v", hits, s.State, s.Totals, want)
	}
}

// TestNothingIsAllocated: a request without a body that succeeds on a closed
// circuit costs no allocation, whatever rules are on.
func TestNothingIsAllocated(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool allocate")
	}
	resp := &http.Response{StatusCode: 200, Body: http.NoBody}
	base := roundTripFunc(func(*http.Request) (*http.Response, error) { return resp, nil })
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	for name, p := range map[string]breakerhttp.Policy{
		"default": {},
		"ratio":   {FailureRatio: 0.5},
		"slow":    {SlowRatio: 0.5, SlowAfter: time.Second},
	} {
		tr := newTransport(t, base, breakerhttp.WithPolicy(p))
		for _, ctx := range []context.Context{context.Background(), ctx} {
			req := newRequest(t, ctx, "https://api.a.test/x")
			if n := testing.AllocsPerRun(1000, func() { _, _ = tr.RoundTrip(req) }); n != 0 {
				t.Errorf("%s: got %v allocations, want 0", name, n)
			}
		}
	}
	tr := newTransport(t, base)
	tr.ForceOpen("https://api.a.test")
	req := newRequest(t, ctx, "https://api.a.test/x")
	if n := testing.AllocsPerRun(1000, func() { _, _ = tr.RoundTrip(req) }); n != 1 {
		t.Errorf("refusing: got %v allocations, want 1", n)
	}
}

// A saboteur is base and every function of a Transport's options. All work, but
// for the armed one.
type saboteur struct {
	armed    string
	strike   func()
	status   int
	hooks    int
	request  *closeRecorder
	response *closeRecorder
}

func (s *saboteur) at(place string) {
	if place == s.armed {
		s.strike()
	}
}

func (s *saboteur) RoundTrip(req *http.Request) (*http.Response, error) {
	s.at("base")
	s.response = &closeRecorder{Reader: strings.NewReader("body")}
	return &http.Response{StatusCode: s.status, Body: s.response, Request: req}, nil
}

func (s *saboteur) options() []breakerhttp.Option {
	return []breakerhttp.Option{
		breakerhttp.WithKey(func(*http.Request) string {
			s.at("key func")
			return "key"
		}),
		breakerhttp.WithClassifier(func(a breakerhttp.Attempt) breakerhttp.Outcome {
			s.at("classifier")
			return breakerhttp.DefaultClassifier(a)
		}),
		breakerhttp.WithProbeFilter(func(*http.Request) bool {
			s.at("probe filter")
			return true
		}),
		breakerhttp.WithTransitionHook(func(_ context.Context, tr breakerhttp.Transition) {
			s.hooks++
			s.at("hook " + tr.To.String())
		}),
		breakerhttp.WithFallback(func(req *http.Request, err *breakerhttp.OpenError) (*http.Response, error) {
			s.at("fallback")
			return breakerhttp.ServiceUnavailable(req, err)
		}),
		breakerhttp.WithPolicy(breakerhttp.Policy{
			ConsecutiveFailures: 2,
			ProbeTimeout:        1000 * time.Hour, // gives no slot back in our time
			TripWhen: func(breakerhttp.Counts) bool {
				s.at("TripWhen")
				return false
			},
		}),
	}
}

// send sends a request, and tells how that ended.
func (s *saboteur) send(t *testing.T, tr *breakerhttp.Transport) (status int, recovered any) {
	s.request, s.response = &closeRecorder{Reader: strings.NewReader("body")}, nil
	req := post(t, "http://a.test", nil, 4)
	req.Body = s.request
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { recovered = recover() }()
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Errorf("RoundTrip: %v", err)
			return
		}
		status = resp.StatusCode
		_ = resp.Body.Close()
	}()
	<-done
	return status, recovered
}

// TestPanic: whoever panics, or ends the goroutine, the slot and the bodies come
// back, the panic goes on to the caller, and the circuit works as before.
func TestPanic(t *testing.T) {
	const closed, halfOpen, forced = "closed", "half-open", "forced open"
	strikes := map[string]any{"panic": &struct{}{}, "abort": http.ErrAbortHandler, "runtime.Error": new(runtime.PanicNilError), "Goexit": nil}
	for _, tt := range []struct {
		armed   string
		circuit string
		status  int
		want    tally
		goexit  tally // if it is not want
		body    string
	}{
		{"base", closed, 200, tally{"failure panic": 1}, tally{"ignored": 1}, ""},
		{"base", halfOpen, 200, tally{"failure panic": 1}, tally{"ignored": 1}, ""},
		{"classifier", closed, 200, tally{"ignored": 1}, nil, "response"},
		{"classifier", halfOpen, 503, tally{"ignored": 1}, nil, "response"},
		{"key func", closed, 200, tally{}, nil, "request"},
		{"key func", halfOpen, 200, tally{}, nil, "request"},
		{"probe filter", halfOpen, 200, tally{}, nil, "request"},
		{"hook half_open", halfOpen, 200, tally{"ignored": 1}, nil, "request"},
		{"hook closed", halfOpen, 200, tally{"success": 1}, nil, "response"},
		{"hook open", halfOpen, 503, tally{"failure 503": 1}, nil, "response"},
		{"TripWhen", closed, 503, tally{"failure 503": 1}, nil, "response"},
		{"fallback", forced, 200, tally{"refused": 1}, nil, "request"},
	} {
		for name, value := range strikes {
			t.Run(tt.armed+"/"+tt.circuit+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &saboteur{status: http.StatusServiceUnavailable}
					option, collect := newTally(t)
					tr := newTransport(t, s, append(s.options(), option)...)
					switch tt.circuit {
					case halfOpen:
						_, _ = s.send(t, tr)
						_, _ = s.send(t, tr)
						time.Sleep(time.Minute)
						wantState(t, tr, "key", breakerhttp.StateHalfOpen)
					case forced:
						tr.ForceOpen("key")
					}

					before := collect()
					s.armed, s.status = tt.armed, tt.status
					want := tt.want
					if s.strike = func() { panic(value) }; value == nil {
						s.strike = runtime.Goexit
						if tt.goexit != nil {
							want = tt.goexit
						}
					}
					if status, got := s.send(t, tr); status != 0 || got != value {
						t.Errorf("got status %d and panic %v, want %v", status, got, value)
					}
					if diff := cmp.Diff(want, collect().minus(before)); diff != "" {
						t.Errorf("counted (-want +got):\n%s", diff)
					}
					if got, want := s.hooks, len(tr.Transitions()); got != want {
						t.Errorf("the hook saw %d transitions, want %d", got, want)
					}
					if tt.body == "request" && !s.request.closed.Load() {
						t.Error("the request's body was not closed")
					}
					if tt.body == "response" && !s.response.closed.Load() {
						t.Error("the response's body was not closed")
					}

					s.armed, s.status = "", http.StatusOK
					if tt.circuit == forced {
						tr.Reset("key")
					}
					if sn, ok := tr.Snapshot("key"); ok && sn.InFlight != 0 {
						t.Errorf("%d requests in flight, want 0", sn.InFlight)
					}
					if want["failure panic"]+want["failure 503"] > 0 {
						time.Sleep(time.Minute) // the probe has failed
					}
					if status, _ := s.send(t, tr); status != http.StatusOK {
						t.Errorf("the next request got status %d, want 200", status)
					}
					wantState(t, tr, "key", breakerhttp.StateClosed)
					if got, want := s.hooks, len(tr.Transitions()); got != want {
						t.Errorf("the hook saw %d transitions, want %d", got, want)
					}
				})
			})
		}
	}
}

// TestTripWhenPanicsAboutHungRequests: each of six requests that hang counts, and is in flight no
// more once it has ended, though TripWhen panics whenever it is asked about one.
func TestTripWhenPanicsAboutHungRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		panics := 0
		tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
			time.Sleep(10 * time.Second)
			return respond(500)(req)
		}), breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: -1, SlowAfter: time.Second, TripWhen: func(breakerhttp.Counts) bool {
			panics++
			panic("TripWhen")
		}}))
		for range 6 {
			go func() {
				defer func() { _ = recover() }()
				_, _ = get(tr, host)
			}()
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		got, want := snapshot(t, tr, host), breakerhttp.Totals{Failure: 6}
		if got.Totals != want || got.InFlight != 0 || panics == 0 {
			t.Errorf("got totals %+v, %d in flight and %d panics, want %+v and 0", got.Totals, got.InFlight, panics, want)
		}
	})
}

// minus returns what was counted since before.
func (y tally) minus(before tally) tally {
	since := tally{}
	for what, n := range y {
		if n != before[what] {
			since[what] = n - before[what]
		}
	}
	return since
}

func TestProbeFilter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, respond(200), breakerhttp.WithProbeFilter(func(req *http.Request) bool { return req.Method == http.MethodGet }),
			breakerhttp.WithClassifier(func(a breakerhttp.Attempt) breakerhttp.Outcome {
				if a.Request.Header.Get("Fail") != "" {
					return breakerhttp.Failure
				}
				return breakerhttp.DefaultClassifier(a)
			}))
		send := func(method string, fail bool) error {
			req, _ := http.NewRequestWithContext(context.Background(), method, host, nil)
			if fail {
				req.Header.Set("Fail", "1")
			}
			_, err := tr.RoundTrip(req)
			return err
		}
		for range 5 {
			if err := send(http.MethodPost, true); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if r := wantRefused(t, send(http.MethodPost, false)); r.State != breakerhttp.StateHalfOpen || r.RetryAfter != 0 {
			t.Errorf("got %+v, want half-open without RetryAfter", r)
		}
		if err := send(http.MethodGet, false); err != nil {
			t.Errorf("probe: %v", err)
		}
		if err := send(http.MethodPost, false); err != nil {
			t.Errorf("after the probe: %v", err)
		}
	})
}

// TestProbeFilterIsAskedOnlyWhenDue: while the open time lasts, a request is refused without a
// decision, so without the lock, and without the user's filter.
func TestProbeFilterIsAskedOnlyWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		tr := newTransport(t, respond(503), breakerhttp.WithProbeFilter(func(*http.Request) bool { asked++; return true }))
		for range 5 {
			_, _ = get(tr, host)
		}
		_, err := get(tr, host)
		wantRefused(t, err)
		if asked != 0 {
			t.Errorf("asked %d times during the open time, want 0", asked)
		}
		time.Sleep(time.Minute)
		if _, err := get(tr, host); err != nil || asked != 1 {
			t.Errorf("after it the probe got %v, and the filter was asked %d times, want 1", err, asked)
		}
	})
}

// TestProbeFilterAfterHang: a hanging request has opened the circuit, and its time
// is over, before anybody notices. The next request may probe if the filter says so.
func TestProbeFilterAfterHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := true
		tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
			if hang {
				hang = false
				time.Sleep(time.Hour)
			}
			return respond(200)(req)
		}), breakerhttp.WithProbeFilter(func(req *http.Request) bool { return req.Method == http.MethodGet }),
			breakerhttp.WithPolicy(breakerhttp.Policy{SlowRatio: 1, SlowAfter: time.Second, MinRequests: 1}))
		go func() { _, _ = get(tr, host) }()
		synctest.Wait()
		time.Sleep(2 * time.Minute)
		if _, err := get(tr, host); err != nil {
			t.Errorf("got %v, want a probe", err)
		}
		wantState(t, tr, host, breakerhttp.StateClosed)
		time.Sleep(time.Hour)
	})
}

// TestConcurrentProbes: whatever the concurrency, a half-open circuit lets one
// request through.
func TestConcurrentProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newUpstream(http.StatusServiceUnavailable)
		srv := pipetest.NewServer(t, up)
		tr := newTransport(t, srv.Transport)
		for range 5 {
			_, _ = get(tr, srv.URL)
		}
		time.Sleep(time.Minute)
		up.hits.Store(0)
		up.status.Store(http.StatusOK)
		up.delay.Store(int64(time.Second))
		var refused atomic.Int64
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := get(tr, srv.URL); errors.Is(err, breakerhttp.ErrOpen) {
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		if hits, refused := up.hits.Load(), refused.Load(); hits != 1 || refused != 49 {
			t.Errorf("got %d probes and %d refusals, want 1 and 49", hits, refused)
		}
	})
}

// TestInformationalResponses: 1xx are none of the breaker's business.
func TestInformationalResponses(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.Copy(w, req.Body) // which sends 100 Continue
	}))
	defer srv.Close()
	var got []int
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
			got = append(got, code)
			return nil
		},
	})
	req := post(t, srv.URL, strings.NewReader("echo"), 4).WithContext(ctx)
	req.Header.Set("Expect", "100-continue")
	option, collect := newTally(t)
	resp, err := newTransport(t, newBase(t), option).RoundTrip(req)
	if err != nil {
		t.Fatalf("RoundTrip: %v", err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); string(body) != "echo" || err != nil {
		t.Errorf("got body %q, %v; want echo", body, err)
	}
	if diff := cmp.Diff([]int{103, 100}, got); diff != "" {
		t.Errorf("informational responses (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(tally{"success": 1}, collect()); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

// TestLimitedReason: the reason of a circuit that is open because its host asked for less names the
// answer.
func TestLimitedReason(t *testing.T) {
	for _, policy := range []breakerhttp.Policy{{}, {Adaptive: true}} {
		tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
			resp, err := respond(429)(req)
			resp.Header.Set("Retry-After", "10")
			return resp, err
		}), breakerhttp.WithClassifier(breakerhttp.LimitedStatus(429)), breakerhttp.WithPolicy(policy))
		_, _ = get(tr, host)
		if got, want := snapshot(t, tr, host).Reason, "limited, 429 Too Many Requests"; got != want {
			t.Errorf("got reason %q, want %q", got, want)
		}
	}
}
