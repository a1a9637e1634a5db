package breakerhttp_test

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp"
)

// TestSetPolicies: each step sends requests to a host that answers 500, or sets policies.
func TestSetPolicies(t *testing.T) {
	type policies = func(*breakerhttp.Transport) error
	set := func(p breakerhttp.Policy) policies {
		return func(tr *breakerhttp.Transport) error { return tr.SetPolicies(p, nil) }
	}
	for _, test := range []struct {
		name   string
		before breakerhttp.Policy
		first  int // failures before the change
		change policies
		second int // failures after it
		want   breakerhttp.State
	}{
		{"a run goes on", breakerhttp.Policy{}, 3, set(breakerhttp.Policy{ConsecutiveFailures: 4}), 1, breakerhttp.StateOpen},
		{"a rule that is met already opens at the next failure", breakerhttp.Policy{}, 3, set(breakerhttp.Policy{ConsecutiveFailures: 2}), 0, breakerhttp.StateClosed},
		{"and then it does", breakerhttp.Policy{}, 3, set(breakerhttp.Policy{ConsecutiveFailures: 2}), 1, breakerhttp.StateOpen},
		{"a rule can be relaxed", breakerhttp.Policy{}, 4, set(breakerhttp.Policy{ConsecutiveFailures: 9}), 4, breakerhttp.StateClosed},
		{"a window goes on", breakerhttp.Policy{ConsecutiveFailures: -1, FailureRatio: 0.5, MinRequests: 9}, 3, set(breakerhttp.Policy{ConsecutiveFailures: -1, FailureRatio: 0.5, MinRequests: 4}), 1, breakerhttp.StateOpen},
		{"another window begins empty", breakerhttp.Policy{ConsecutiveFailures: -1, FailureRatio: 0.5, MinRequests: 9}, 3, set(breakerhttp.Policy{ConsecutiveFailures: -1, FailureRatio: 0.5, MinRequests: 4, Window: time.Second}), 3, breakerhttp.StateClosed},
		{"a first window too", breakerhttp.Policy{}, 3, set(breakerhttp.Policy{ConsecutiveFailures: -1, FailureRatio: 0.5, MinRequests: 4}), 3, breakerhttp.StateClosed},
		{"a host's policy", breakerhttp.Policy{}, 3, func(tr *breakerhttp.Transport) error {
			return tr.SetPolicies(breakerhttp.Policy{}, map[string]breakerhttp.Policy{"a.test": {ConsecutiveFailures: 4}})
		}, 1, breakerhttp.StateOpen},
		{"to Adaptive", breakerhttp.Policy{}, 3, set(breakerhttp.Policy{Adaptive: true}), 8, breakerhttp.StateClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := newTransport(t, respond(500), breakerhttp.WithPolicy(test.before))
				for range test.first {
					_, _ = get(tr, host)
				}
				if err := test.change(tr); err != nil {
					t.Fatal(err)
				}
				if n := len(tr.Transitions()); n != 0 {
					t.Errorf("the change is told as %d transitions, want none", n)
				}
				for range test.second {
					_, _ = get(tr, host)
				}
				wantState(t, tr, host, test.want)
			})
		})
	}
}

// TestSetPoliciesOfOpenCircuits: they stay open until their time is up, or the new MaxOpenFor.
func TestSetPoliciesOfOpenCircuits(t *testing.T) {
	for _, test := range []struct {
		name string
		next breakerhttp.Policy
		want time.Duration
	}{
		{"the same", breakerhttp.Policy{}, time.Minute},
		{"longer", breakerhttp.Policy{OpenFor: time.Hour}, time.Minute},
		{"shorter, of which only MaxOpenFor counts", breakerhttp.Policy{OpenFor: time.Second}, time.Minute},
		{"bounded", breakerhttp.Policy{OpenFor: time.Second, MaxOpenFor: 10 * time.Second}, 10 * time.Second},
		{"adaptive", breakerhttp.Policy{Adaptive: true, MaxOpenFor: 10 * time.Second}, 10 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sent := 0
				tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
					sent++
					return respond(500)(req)
				}))
				for range 5 {
					_, _ = get(tr, host)
				}
				opened := time.Now()
				if err := tr.SetPolicies(test.next, nil); err != nil {
					t.Fatal(err)
				}
				if got := snapshot(t, tr, host).Until.Sub(opened); got != test.want {
					t.Errorf("open for %v, want %v", got, test.want)
				}
				time.Sleep(test.want - 1)
				if _, _ = get(tr, host); sent != 5 {
					t.Errorf("%d requests were sent before the time is up, want 5", sent)
				}
				time.Sleep(time.Nanosecond)
				if _, _ = get(tr, host); sent != 6 {
					t.Errorf("%d requests were sent, want a probe", sent)
				}
			})
		})
	}
}

// TestSetPoliciesLeavesAlone: jitter, and an outage that lasts, let a circuit be open for longer than
// MaxOpenFor, which a policy that is the same does not change.
func TestSetPoliciesLeavesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := breakerhttp.Policy{OpenFor: 10 * time.Second, MaxOpenFor: 10 * time.Second, Jitter: 1}
		tr := newTransport(t, respond(500), breakerhttp.WithPolicy(p))
		for range 5 {
			_, _ = get(tr, host)
		}
		before := snapshot(t, tr, host)
		if err := tr.SetPolicies(p, nil); err != nil {
			t.Fatal(err)
		}
		if after := snapshot(t, tr, host); !after.Until.Equal(before.Until) {
			t.Errorf("open until %v, want %v as before", after.Until, before.Until)
		}
	})
}

// TestSetPoliciesTouchesNothing: to set the policies that are in force, or ones with another TripWhen,
// begins no new generation: what is in flight still counts, and the circuit keeps its window.
func TestSetPoliciesTouchesNothing(t *testing.T) {
	never := func(breakerhttp.Counts) bool { return false }
	for name, p := range map[string]breakerhttp.Policy{
		"zero":     {},
		"ratio":    {FailureRatio: 0.9},
		"slow":     {SlowRatio: 0.9, SlowAfter: time.Hour},
		"TripWhen": {TripWhen: never},
		"adaptive": {Adaptive: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answer := make(chan int)
				tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
					if req.URL.Path == "/hang" {
						return respond(<-answer)(req)
					}
					return respond(500)(req)
				}), breakerhttp.WithPolicy(p))
				time.Sleep(time.Second)
				for range 2 {
					_, _ = get(tr, host)
				}
				go func() { _, _ = get(tr, host+"/hang") }()
				synctest.Wait()
				before := snapshot(t, tr, host)
				next := p
				if p.TripWhen != nil {
					next.TripWhen = func(breakerhttp.Counts) bool { return false }
				}
				if err := tr.SetPolicies(next, nil); err != nil {
					t.Fatal(err)
				}
				after := snapshot(t, tr, host)
				before.Policy, after.Policy = breakerhttp.Policy{}, breakerhttp.Policy{} // a func cannot be compared
				if diff := cmp.Diff(before, after); diff != "" {
					t.Errorf("snapshot (-before +after):\n%s", diff)
				}
				answer <- 500
				synctest.Wait()
				got, want := snapshot(t, tr, host), breakerhttp.Counts{Requests: 3, Failures: 3, ConsecutiveFailures: 3}
				if got.Counts != want || got.InFlight != 0 || len(tr.Transitions()) != 0 {
					t.Errorf("got %+v and %d transitions, want counts %+v and no transition", got, len(tr.Transitions()), want)
				}
			})
		})
	}
}

// TestSetPoliciesToCome: they hold for circuits that are made later, too.
func TestSetPoliciesToCome(t *testing.T) {
	tr := newTransport(t, respond(500), breakerhttp.WithHostPolicy("c.test", breakerhttp.Policy{ConsecutiveFailures: 9}))
	err := tr.SetPolicies(breakerhttp.Policy{ConsecutiveFailures: 2}, map[string]breakerhttp.Policy{"b.test": {ConsecutiveFailures: 3}})
	if err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]int{"http://a.test": 2, "http://b.test": 3, "http://c.test": 2} {
		for i := range want {
			wantRun := breakerhttp.Totals{Failure: uint64(i) + 1}
			_, _ = get(tr, url)
			if got := snapshot(t, tr, url); got.Totals != wantRun || (got.State == breakerhttp.StateOpen) != (i+1 == want) {
				t.Errorf("%s after %d failures: %v, %+v, want it open after %d", url, i+1, got.State, got.Totals, want)
			}
		}
	}
}

// TestSetPoliciesKeepsForce: a circuit that is forced closed stays so, whatever the new rules say.
func TestSetPoliciesKeepsForce(t *testing.T) {
	tr := newTransport(t, respond(500))
	tr.ForceClosed(host)
	if err := tr.SetPolicies(breakerhttp.Policy{ConsecutiveFailures: 1}, nil); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, _ = get(tr, host)
	}
	got, want := snapshot(t, tr, host), breakerhttp.Totals{Failure: 3}
	if got.State != breakerhttp.StateClosed || !got.Forced || got.Totals != want {
		t.Errorf("got %+v, want it forced closed with totals %+v", got, want)
	}
}

func TestSetPoliciesKeepsProbes(t *testing.T) {
	for name, next := range map[string]breakerhttp.Policy{"classic": {ProbeSuccesses: 1, Probes: 3}, "adaptive": {Adaptive: true}} {
		for _, before := range []breakerhttp.Policy{{}, {Adaptive: true, ConsecutiveFailures: 12}} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					status := make(chan int)
					hanging := false
					tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
						if hanging {
							return respond(<-status)(req)
						}
						return respond(500)(req)
					}), breakerhttp.WithPolicy(before))
					for range 12 {
						_, _ = get(tr, host)
					}
					time.Sleep(time.Minute)
					hanging = true
					go func() { _, _ = get(tr, host) }()
					synctest.Wait()
					if err := tr.SetPolicies(next, nil); err != nil {
						t.Fatal(err)
					}
					if got := snapshot(t, tr, host).InFlight; got != 1 {
						t.Errorf("%d in flight, want the probe", got)
					}
					status <- 200
					synctest.Wait()
					wantState(t, tr, host, breakerhttp.StateClosed)
				})
			})
		}
	}
}

func TestSetPoliciesAllOrNothing(t *testing.T) {
	tr := newTransport(t, respond(500), breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: 2}))
	err := tr.SetPolicies(breakerhttp.Policy{FailureRatio: 1.5}, map[string]breakerhttp.Policy{"*": {}, "a.test": {Probes: -1}})
	wantError(t, err, []string{"FailureRatio is 1.5", `"*"`, `WithHostPolicy("a.test")`, "Probes is -1"})
	for range 2 {
		_, _ = get(tr, host)
	}
	wantState(t, tr, host, breakerhttp.StateOpen)
}

// TestSetPoliciesErrorInOrder: the error names the patterns in their order, each time.
func TestSetPoliciesErrorInOrder(t *testing.T) {
	tr := newTransport(t, respond(200))
	hosts := map[string]breakerhttp.Policy{}
	for c := 'a'; c <= 'z'; c++ { // a small map often has its keys in order
		hosts[string(c)+"*"] = breakerhttp.Policy{}
	}
	lines := strings.Split(tr.SetPolicies(breakerhttp.Policy{}, hosts).Error(), "\n")
	if len(lines) != len(hosts) || !slices.IsSorted(lines) {
		t.Errorf("got the errors %q, want one for each of %d patterns, sorted", lines, len(hosts))
	}
}

// TestSetPoliciesUnderLoad: with a change each millisecond nothing is lost or counted twice.
func TestSetPoliciesUnderLoad(t *testing.T) {
	tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
		if strings.HasSuffix(req.URL.Path, "7") {
			return respond(500)(req)
		}
		return respond(200)(req)
	}))
	kinds := []breakerhttp.Policy{
		{},
		{ConsecutiveFailures: 1, OpenFor: time.Millisecond},
		{Adaptive: true},
		{FailureRatio: 0.1, MinRequests: 1, OpenFor: time.Millisecond, Window: time.Second},
		{SlowRatio: 1, SlowAfter: time.Millisecond, Ramp: time.Millisecond},
		{MaxInFlight: 1},
		{TripWhen: func(breakerhttp.Counts) bool { return false }, SlowAfter: 1},
	}
	ctx, cancel := context.WithCancel(t.Context())
	changed := make(chan struct{})
	go func() {
		defer close(changed)
		for i := 0; ctx.Err() == nil; i++ {
			if err := tr.SetPolicies(kinds[i%len(kinds)], nil); err != nil {
				t.Error(err)
			}
		}
	}()
	const callers, each = 4, 2000
	done := make(chan struct{})
	for range callers {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range each {
				_, _ = get(tr, host+"/"+string(rune('0'+i%10)))
			}
		}()
	}
	for range callers {
		<-done
	}
	cancel()
	<-changed
	s := snapshot(t, tr, host)
	if got := s.Totals.Success + s.Totals.Failure + s.Totals.Refused; got != callers*each || s.InFlight != 0 {
		t.Errorf("%d requests in the totals, %d in flight, want %d and 0", got, s.InFlight, callers*each)
	}
}

// TestSetPoliciesAndTheHook: SetPolicies delivers the transitions that it finds due. By then all circuits
// have their policy, and the hook may set policies, or panic.
func TestSetPoliciesAndTheHook(t *testing.T) {
	for _, test := range []struct {
		name string
		hook func(*breakerhttp.Transport)
		want int // ConsecutiveFailures
	}{
		{"it sets policies", func(tr *breakerhttp.Transport) { _ = tr.SetPolicies(breakerhttp.Policy{ConsecutiveFailures: 9}, nil) }, 9},
		{"it panics", func(*breakerhttp.Transport) { panic("hook") }, 7},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var tr *breakerhttp.Transport
				told := map[string]int{}
				tr = newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
					resp, err := respond(429)(req)
					resp.Header = http.Header{"Retry-After": {"1"}}
					return resp, err
				}), breakerhttp.WithClassifier(breakerhttp.LimitedStatus(429)), breakerhttp.WithTransitionHook(func(_ context.Context, tn breakerhttp.Transition) {
					if tn.To == breakerhttp.StateClosed {
						told[tn.Key]++
						test.hook(tr)
					}
				}))
				hosts := []string{"http://a.test", "http://b.test", "http://c.test"}
				for _, host := range hosts {
					_, _ = get(tr, host)
				}
				time.Sleep(time.Second)
				func() {
					defer func() { _ = recover() }()
					_ = tr.SetPolicies(breakerhttp.Policy{ConsecutiveFailures: 7}, nil)
				}()
				for _, host := range hosts {
					if got := snapshot(t, tr, host).Policy.ConsecutiveFailures; got != test.want || told[host] != 1 {
						t.Errorf("%s opens after %d failures, and the hook is told %d times; want %d and 1", host, got, told[host], test.want)
					}
				}
			})
		})
	}
}

// TestSetPoliciesWhileWaiting: who waits for a circuit waits no longer than the new policy says.
func TestSetPoliciesWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, respond(500), breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: time.Minute}))
		for range 5 {
			_, _ = get(tr, host)
		}
		began, ready := time.Now(), make(chan error)
		go func() { ready <- tr.WaitReady(newRequest(t, t.Context(), host)) }()
		synctest.Wait()
		if err := tr.SetPolicies(breakerhttp.Policy{OpenFor: time.Second, MaxOpenFor: 5 * time.Second}, nil); err != nil {
			t.Fatal(err)
		}
		if err := <-ready; err != nil || time.Since(began) != 5*time.Second {
			t.Errorf("WaitReady returned %v after %v, want nil after 5s", err, time.Since(began))
		}
	})
}

// TestSetPoliciesWithAProbeOut: a probe is out as the policy becomes adaptive, or stops being so. Whatever
// becomes of that probe, the circuit says what it is, tells of each change once, and gets another probe.
func TestSetPoliciesWithAProbeOut(t *testing.T) {
	classic, adaptive := breakerhttp.Policy{}, breakerhttp.Policy{Adaptive: true}
	for _, test := range []struct {
		name         string
		before, next breakerhttp.Policy
		answer       int // 0: none
		want         breakerhttp.State
	}{
		{"to adaptive, it fails", classic, adaptive, 500, breakerhttp.StateOpen},
		{"to adaptive, it hangs", classic, adaptive, 0, breakerhttp.StateHalfOpen},
		{"to adaptive, it succeeds", classic, adaptive, 200, breakerhttp.StateClosed},
		{"to classic, it fails", adaptive, classic, 500, breakerhttp.StateOpen},
		{"to classic, it hangs", adaptive, classic, 0, breakerhttp.StateHalfOpen},
		{"to classic, it succeeds", adaptive, classic, 200, breakerhttp.StateClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				status, hanging := make(chan int), false
				tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
					if !hanging {
						return respond(500)(req)
					}
					select {
					case code := <-status:
						return respond(code)(req)
					case <-req.Context().Done():
						return nil, req.Context().Err()
					}
				}), breakerhttp.WithPolicy(test.before))
				for range 12 {
					_, _ = get(tr, host)
				}
				time.Sleep(time.Minute)
				hanging = true
				ctx, cancel := context.WithCancel(t.Context())
				send := func() {
					go func() { _, _ = do(tr, newRequest(t, ctx, host)) }()
					synctest.Wait()
				}
				send()
				if err := tr.SetPolicies(test.next, nil); err != nil {
					t.Fatal(err)
				}
				if test.answer != 0 {
					status <- test.answer
					synctest.Wait()
				}
				wantState(t, tr, host, test.want)
				if test.answer == 0 {
					send() // to be a probe too, or refused
				}
				waiting, stop := context.WithTimeout(t.Context(), time.Hour)
				defer stop()
				if err := tr.WaitReady(newRequest(t, waiting, host)); err != nil {
					t.Errorf("WaitReady: %v", err)
				}
				before := snapshot(t, tr, host).InFlight
				send()
				if s := snapshot(t, tr, host); s.InFlight != before+1 {
					t.Errorf("a request was refused though WaitReady says that it is not: %+v", s)
				}
				cancel()
				synctest.Wait()
				for _, tn := range tr.Transitions() {
					if tn.From == tn.To {
						t.Errorf("a transition from %v to %v: %s", tn.From, tn.To, tn.Detail)
					}
				}
			})
		})
	}
}

// TestSetPoliciesToAdaptiveAndBack: probes of both kinds have been cancelled, and WaitReady and the next
// request agree that another may go.
func TestSetPoliciesToAdaptiveAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hanging atomic.Bool
		tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
			if hanging.Load() {
				<-req.Context().Done()
				return nil, req.Context().Err()
			}
			return respond(500)(req)
		}))
		for range 5 {
			_, _ = get(tr, host)
		}
		time.Sleep(time.Minute)
		hanging.Store(true)
		ctx, cancel := context.WithCancel(t.Context())
		for _, next := range []breakerhttp.Policy{{Adaptive: true}, {}} {
			go func() { _, _ = do(tr, newRequest(t, ctx, host)) }()
			synctest.Wait()
			if err := tr.SetPolicies(next, nil); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		synctest.Wait()
		hanging.Store(false)
		if err := tr.WaitReady(newRequest(t, t.Context(), host)); err != nil {
			t.Fatal(err)
		}
		if _, err := get(tr, host); err != nil {
			t.Errorf("the request after WaitReady: %v", err)
		}
	})
}

// TestSetPoliciesWhileForced: a probe that was out when its circuit was forced open changes nothing,
// whatever the policy has become.
func TestSetPoliciesWhileForced(t *testing.T) {
	for _, answer := range []int{200, 500} {
		synctest.Test(t, func(t *testing.T) {
			status, hanging := make(chan int), false
			tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
				if hanging {
					return respond(<-status)(req)
				}
				return respond(500)(req)
			}), breakerhttp.WithPolicy(breakerhttp.Policy{Adaptive: true}))
			for range 12 {
				_, _ = get(tr, host)
			}
			time.Sleep(time.Minute)
			hanging = true
			go func() { _, _ = get(tr, host) }()
			synctest.Wait()
			tr.ForceOpen(host)
			if err := tr.SetPolicies(breakerhttp.Policy{}, nil); err != nil {
				t.Fatal(err)
			}
			status <- answer
			synctest.Wait()
			if s := snapshot(t, tr, host); s.State != breakerhttp.StateOpen || !s.Forced || !s.Until.IsZero() {
				t.Errorf("after a probe that was answered %d: %+v, want forced open", answer, s)
			}
		})
	}
}

// TestSetPoliciesWhileTripWhenIsAsked: a TripWhen that the policy no longer has opens nothing.
func TestSetPoliciesWhileTripWhenIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan bool)
		tr := newTransport(t, respond(500), breakerhttp.WithPolicy(breakerhttp.Policy{
			ConsecutiveFailures: -1, TripWhen: func(breakerhttp.Counts) bool { return <-answer },
		}))
		go func() { _, _ = get(tr, host) }()
		synctest.Wait()
		if err := tr.SetPolicies(breakerhttp.Policy{}, nil); err != nil {
			t.Fatal(err)
		}
		answer <- true
		synctest.Wait()
		wantState(t, tr, host, breakerhttp.StateClosed)
	})
}

func TestNormalPattern(t *testing.T) {
	for _, c := range []struct{ pattern, want, wantCustom string }{
		{"api.x.com", "api.x.com", "api.x.com"},
		{"API.x.com.", "api.x.com", "API.x.com."},
		{"api.x.com/", "api.x.com", "api.x.com/"},
		{"api.x.com:0443", "api.x.com:443", "api.x.com:0443"},
		{"https://API.x.com:443/", "https://api.x.com", "https://API.x.com:443/"},
		{"https://api.x.com:8443", "https://api.x.com:8443", "https://api.x.com:8443"},
		{"[0::1]", "[::1]", "[0::1]"},
		{"[0::1]:80", "[::1]:80", "[0::1]:80"},
		{"*.X.com", "*.x.com", "*.x.com"},
		{"*.com.", "*.com", "*.com"},
		{"*.münchen.example", "*.münchen.example", "*.münchen.example"},

		{"payments queue", "", "payments queue"},
		{"a.*.b", "", "a.*.b"},
		{"https://*.x.com", "", "https://*.x.com"},
		{"https://api.x.com/v1", "", "https://api.x.com/v1"},
		{"https://user@api.x.com", "", "https://user@api.x.com"},
		{"ftp://api.x.com", "", "ftp://api.x.com"},
		{"api.x.com/v1", "", "api.x.com/v1"},
		{"api.x.com:99999", "", "api.x.com:99999"},
		{"https://", "", "https://"},
		{":80", "", ":80"},
		{"/", "", "/"},
		{"::1", "", "::1"},

		{"", "", ""},
		{"*", "", ""},
		{"*.", "", ""},
		{"*..", "", ""},
		{"*x.com", "", ""},
		{"*.*.com", "", ""},
		{"*..com", "", ""},
		{"*.x.com:443", "", ""},
		{"*.x.com/", "", ""},
		{"*.[::1]", "", ""},
		{"*.a b", "", ""},
	} {
		for customKey, want := range map[bool]string{false: c.want, true: c.wantCustom} {
			got, err := breakerhttp.NormalPattern(c.pattern, customKey)
			if got != want {
				t.Errorf("normalPattern(%q, %v): got %q, want %q", c.pattern, customKey, got, want)
			}
			if (err == nil) != (want != "") {
				t.Errorf("normalPattern(%q, %v): got the error %v", c.pattern, customKey, err)
			}
		}
	}
	for customKey, want := range map[bool]string{
		false: `pattern "*." is no host: want "host", "host:port", "https://host:port" or "*.domain"`,
		true:  `pattern "*." is no host: want an exact key, "host", "host:port" or "*.domain"`,
	} {
		if _, err := breakerhttp.NormalPattern("*.", customKey); err == nil || err.Error() != want {
			t.Errorf("normalPattern(\"*.\", %v): got the error %v, want %s", customKey, err, want)
		}
	}
}

func TestMatchPolicyTakesTheMostSpecific(t *testing.T) {
	for _, c := range []struct {
		key  string
		best []string // every pattern that matches, most specific first
	}{
		{"https://a.b.x.com", []string{"https://a.b.x.com", "a.b.x.com:443", "a.b.x.com", "*.b.x.com", "*.x.com", "*.com"}},
		{"http://a.b.x.com", []string{"http://a.b.x.com", "a.b.x.com:80", "a.b.x.com", "*.b.x.com", "*.x.com", "*.com"}},
		{"https://x.com:8443", []string{"https://x.com:8443", "x.com:8443", "x.com", "*.com"}},
		{"https://com", []string{"https://com", "com:443", "com"}},
		{"http://[::1]", []string{"http://[::1]", "[::1]:80", "[::1]"}},
		{"http://10.0.0.1:8080", []string{"http://10.0.0.1:8080", "10.0.0.1:8080", "10.0.0.1"}},
		// Keys of a custom KeyFunc.
		{"a.x.com", []string{"a.x.com", "*.x.com", "*.com"}},
		{"a.x.com:443", []string{"a.x.com:443", "a.x.com", "*.x.com", "*.com"}},
		{"tenant-A", []string{"tenant-A"}},
		{"A.x.com", []string{"A.x.com"}},
		{"https://A.x.com", []string{"https://A.x.com"}},
		{"https://a.x.com/v1", []string{"https://a.x.com/v1"}},
		{"a.x.com:0443", []string{"a.x.com:0443"}},
	} {
		patterns := map[string]string{}
		for _, other := range []string{
			"tenant-a", "a.x.com:80", "x.com:443", "b.x.com", "http://x.com:8443", "*.a.b.x.com", "*.x.com:8443", "*.org", "http", "*",
		} {
			if !slices.Contains(c.best, other) {
				patterns[other] = other
			}
		}
		for _, p := range c.best {
			patterns[p] = p
		}
		for _, want := range c.best {
			if got, ok := breakerhttp.MatchPolicy(patterns, c.key); got != want || !ok {
				t.Errorf("matchPolicy(%q): got %q, %v, want %q", c.key, got, ok, want)
			}
			delete(patterns, want)
		}
		if got, ok := breakerhttp.MatchPolicy(patterns, c.key); ok {
			t.Errorf("matchPolicy(%q): got %q, want none of %v", c.key, got, slices.Sorted(maps.Keys(patterns)))
		}
	}
}

func TestMatchPolicyOfManyLabels(t *testing.T) {
	key := "https://" + strings.Repeat("a.", 511) + "a"
	patterns := map[string]string{"*.a": "all"}
	if got, _ := breakerhttp.MatchPolicy(patterns, key); got != "all" {
		t.Errorf("matchPolicy(%.20q): got %q, want that of *.a", key, got)
	}
	if n := testing.AllocsPerRun(10, func() { breakerhttp.MatchPolicy(patterns, key) }); n > 8 {
		t.Errorf("matchPolicy of a host with 512 labels: got %v allocations, want a handful", n)
	}
}

// FuzzHostPattern: a pattern that is taken stays as it is when it is normalised
// again, and a host that it names is matched by it.
func FuzzHostPattern(f *testing.F) {
	for _, s := range []string{"a.test", "a.test:443", "https://a.test", "*.a.test", "[::1]:80", "HTTP://A.test:80/", "*.", "*", "", "a b", "münchen.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		opens := breakerhttp.Policy{ConsecutiveFailures: 1}
		tr, err := breakerhttp.New(respond(500), breakerhttp.WithHostPolicy(pattern, opens))
		if err != nil {
			return
		}
		if _, err := breakerhttp.New(nil, breakerhttp.WithHostPolicy(pattern, opens), breakerhttp.WithHostPolicy(pattern, opens)); err == nil {
			t.Errorf("%q is taken twice", pattern)
		}
		scheme, name, ok := strings.Cut(strings.TrimSuffix(pattern, "/"), "://")
		if !ok {
			scheme, name = "http", scheme
		}
		for _, name := range []string{name, "sub" + name[min(1, len(name)):]} { // of a wildcard, too
			req := &http.Request{URL: &url.URL{Scheme: scheme, Host: name}, Header: http.Header{}}
			_, _ = tr.RoundTrip(req)
		}
		for s := range tr.Snapshots() {
			if s.State == breakerhttp.StateOpen {
				return
			}
		}
		t.Errorf("%q matches no host", pattern)
	})
}
