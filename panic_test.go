package breakerhttp_test

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp"
)

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
