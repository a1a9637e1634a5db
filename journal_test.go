package breakerhttp_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/breakerhttp/breakerhttp"
)

// TestHookOrder: the hook sees the transitions of a circuit in order and one at
// a time, may use the Transport, and gets the context of the cause.
func TestHookOrder(t *testing.T) {
	type ctxKey struct{}
	var tr *breakerhttp.Transport
	var seen []string
	var depth int
	tr = newTransport(t, respond(500), breakerhttp.WithTransitionHook(func(ctx context.Context, tn breakerhttp.Transition) {
		depth++
		if depth > 1 {
			t.Error("the hook was called within itself")
		}
		seen = append(seen, fmt.Sprint(tn.From, ">", tn.To, " ", ctx.Value(ctxKey{})))
		if tn.Reason == "consecutive_failures" {
			tr.ForceClosed(tn.Key)
			tr.Reset(tn.Key)
			if s, _ := tr.Snapshot(tn.Key); s.State != breakerhttp.StateClosed {
				t.Errorf("within the hook: got %v, want closed", s.State)
			}
		}
		depth--
	}))
	for i := range 5 {
		req := newRequest(t, context.WithValue(context.Background(), ctxKey{}, i), host)
		_, _ = do(tr, req)
	}
	if got, want := fmt.Sprint(seen), "[closed>open 4 open>closed <nil>]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestHookPanic: if the hook panics, the transitions that wait for it are still delivered.
func TestHookPanic(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	var seen []breakerhttp.Reason
	tr := newTransport(t, respond(500), breakerhttp.WithTransitionHook(func(_ context.Context, tn breakerhttp.Transition) {
		if seen = append(seen, tn.Reason); len(seen) == 1 {
			close(entered)
			<-leave
			panic("hook")
		}
	}))
	ended := make(chan any)
	go func() {
		defer func() { ended <- recover() }()
		for range 5 {
			_, _ = get(tr, host)
		}
	}()
	<-entered
	tr.Reset(host)
	close(leave)
	if got := <-ended; got != "hook" {
		t.Errorf("the request ended with %v, want the panic", got)
	}
	if want := []breakerhttp.Reason{"consecutive_failures", "reset"}; !slices.Equal(seen, want) {
		t.Errorf("the hook saw %v, want %v", seen, want)
	}
}

// TestHookOfUnrecordedTransitions: a request that has opened an Adaptive circuit looks for calls of the
// hook, while another goroutine makes the circuit's first one.
func TestHookOfUnrecordedTransitions(t *testing.T) {
	var told atomic.Int64
	const rounds = 200
	for range rounds {
		tr := newTransport(t, respond(500), breakerhttp.WithPolicy(breakerhttp.Policy{Adaptive: true}),
			breakerhttp.WithTransitionHook(func(context.Context, breakerhttp.Transition) { told.Add(1) }))
		for range 11 {
			_, _ = get(tr, host)
		}
		var both sync.WaitGroup
		both.Go(func() { _, _ = get(tr, host) })
		both.Go(func() { tr.ForceOpen(host) })
		both.Wait()
	}
	if got := told.Load(); got != rounds {
		t.Errorf("the hook was called %d times, want %d", got, rounds)
	}
}

func TestTransitionsKeeps256(t *testing.T) {
	tr := newTransport(t, respond(200))
	for i := range 200 {
		tr.ForceOpen(fmt.Sprintf("http://%d.test", i))
		tr.Reset(fmt.Sprintf("http://%d.test", i))
	}
	got := tr.Transitions()
	if len(got) != 256 {
		t.Fatalf("got %d transitions, want 256", len(got))
	}
	if first, last := got[0].Key, got[255].Key; first != "http://72.test" || last != "http://199.test" {
		t.Errorf("got %s to %s, want http://72.test to http://199.test", first, last)
	}
}

// TestHookAndEviction: while the hook is called for a circuit, that is not evicted: the hook would
// hear of its successor meanwhile.
func TestHookAndEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leave := make(chan struct{})
		tr := newTransport(t, respond(200), breakerhttp.WithMaxCircuits(1), breakerhttp.WithTransitionHook(func(_ context.Context, tn breakerhttp.Transition) {
			if tn.Reason == breakerhttp.ReasonReset {
				<-leave
			}
		}))
		tr.ForceOpen(host)
		go tr.Reset(host)
		synctest.Wait()
		for _, evicted := range []bool{false, true} {
			_, _ = get(tr, "http://newcomer.test")
			if _, ok := tr.Snapshot(host); ok == evicted {
				t.Errorf("the circuit has been evicted: %t, want %t", !ok, evicted)
			}
			if !evicted {
				close(leave)
				synctest.Wait()
			}
		}
	})
}

var errNoNetwork = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETUNREACH}

// behindNetwork returns a base that reaches healthy hosts, unless our own network is down.
func behindNetwork(down *bool) roundTripFunc {
	return func(req *http.Request) (*http.Response, error) {
		if *down {
			return nil, errNoNetwork
		}
		return respond(200)(req)
	}
}

// TestSympathy: when our own network was away and one circuit has recovered, the others that fell
// with it are due at once. Each needs a successful probe of its own.
func TestSympathy(t *testing.T) {
	for _, test := range []struct {
		name   string
		hosts  int
		apart  time.Duration // between two falls
		status int           // instead of an error of the network
		dead   int           // hosts that stay dead
		closed int           // circuits, right after the first recovery
	}{
		{"all of ten", 10, 0, 0, 0, 10},
		{"three", 3, 0, 0, 0, 3},
		{"two are chance", 2, 0, 0, 0, 1},
		{"not together", 3, 11 * time.Second, 0, 0, 1},
		{"status codes are the hosts' own", 10, 0, 503, 0, 1},
		{"hosts that are really dead stay open", 10, 0, 0, 4, 6},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				down := true
				tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
					switch dead := strings.HasPrefix(req.URL.Host, "dead"); {
					case !down && !dead:
						return respond(200)(req)
					case test.status != 0:
						return respond(test.status)(req)
					}
					return nil, errNoNetwork
				}), breakerhttp.WithPolicy(breakerhttp.Policy{OpenGrowth: 2}))
				var hosts []string
				for i := range test.hosts {
					name := "http://alive"
					if i >= test.hosts-test.dead {
						name = "http://dead"
					}
					hosts = append(hosts, fmt.Sprintf("%s%d.test", name, i))
				}
				for _, host := range hosts {
					for range 5 {
						_, _ = get(tr, host)
					}
					wantState(t, tr, host, breakerhttp.StateOpen)
					time.Sleep(test.apart)
				}
				time.Sleep(time.Minute) // the others' probes fail, so that they are open for longer
				for _, host := range hosts[1:] {
					_, _ = get(tr, host)
				}
				down = false
				if _, err := get(tr, hosts[0]); err != nil {
					t.Fatal(err)
				}
				closed := 0
				for _, host := range hosts {
					if _, err := get(tr, host); err == nil {
						wantState(t, tr, host, breakerhttp.StateClosed)
						closed++
					}
				}
				if closed != test.closed {
					t.Errorf("%d circuits are closed, want %d", closed, test.closed)
				}
			})
		})
	}
}

// TestSympathySpares: of the circuits that fell together some have reasons of their own by the time
// that one recovers.
func TestSympathySpares(t *testing.T) {
	const a, b, c = "http://a.test", "http://b.test", "http://c.test"
	for _, tt := range []struct {
		name  string
		b     func(tr *breakerhttp.Transport, answer map[string]http.RoundTripper)
		spare bool // b is left alone
	}{
		{"none", func(tr *breakerhttp.Transport, _ map[string]http.RoundTripper) { _, _ = get(tr, b) }, false},
		{"has been asked for less", func(tr *breakerhttp.Transport, answer map[string]http.RoundTripper) {
			answer["b.test"] = roundTripFunc(func(req *http.Request) (*http.Response, error) {
				resp, err := respond(429)(req)
				resp.Header = http.Header{"Retry-After": {"100"}}
				return resp, err
			})
			_, _ = get(tr, b)
		}, true},
		{"has recovered, and fails in a way of its own", func(tr *breakerhttp.Transport, answer map[string]http.RoundTripper) {
			answer["b.test"] = respond(200)
			_, _ = get(tr, b)
			answer["b.test"] = respond(503)
			for range 5 {
				_, _ = get(tr, b)
			}
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answer := map[string]http.RoundTripper{}
				tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
					if rt := answer[req.URL.Host]; rt != nil {
						return rt.RoundTrip(req)
					}
					return nil, errNoNetwork
				}), breakerhttp.WithPolicy(breakerhttp.Policy{OpenGrowth: 2}), breakerhttp.WithClassifier(breakerhttp.LimitedStatus(429)))
				for _, host := range []string{a, b, c} {
					for range 5 {
						_, _ = get(tr, host)
					}
				}
				time.Sleep(time.Minute)
				_, _ = get(tr, c) // its probe fails
				tt.b(tr, answer)
				waiting := make(chan error)
				go func() {
					req := newRequest(t, t.Context(), c)
					waiting <- tr.WaitReady(req)
				}()
				synctest.Wait()
				for _, host := range []string{"a.test", "b.test", "c.test"} {
					answer[host] = respond(200)
				}
				if _, err := get(tr, a); err != nil {
					t.Fatal(err)
				}
				recovered := time.Now()
				if err := <-waiting; err != nil || time.Since(recovered) != 0 {
					t.Errorf("WaitReady of another returned %v after %v, want nil at once", err, time.Since(recovered))
				}
				if _, err := get(tr, b); errors.Is(err, breakerhttp.ErrOpen) != tt.spare {
					t.Errorf("a request after the others have recovered: %v; is to be refused: %t", err, tt.spare)
				}
				if _, err := get(tr, c); err != nil {
					t.Errorf("a request to another: %v", err)
				}
				i := slices.IndexFunc(tr.Transitions(), func(tn breakerhttp.Transition) bool {
					return tn.Key == c && strings.HasPrefix(tn.Detail, "recovered with http://")
				})
				if i < 0 {
					t.Errorf("no transition of %s says with which it has recovered: %+v", c, tr.Transitions())
				}
			})
		})
	}
}

// TestSympathyAfterEviction: a circuit that was evicted does not count among those that fell together.
func TestSympathyAfterEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		tr := newTransport(t, behindNetwork(&down), breakerhttp.WithPolicy(breakerhttp.Policy{OpenGrowth: 2}), breakerhttp.WithMaxCircuits(3))
		hosts := []string{"http://a.test", "http://b.test", "http://left-alone.test"}
		for _, host := range hosts {
			for range 5 {
				_, _ = get(tr, host)
			}
		}
		for _, minutes := range []time.Duration{1, 2, 4, 5} { // the open times of the others grow
			time.Sleep(minutes * time.Minute)
			_, _ = get(tr, hosts[1])
			if minutes < 5 {
				_, _ = get(tr, hosts[0])
			}
		}
		down = false
		_, _ = get(tr, "http://newcomer.test")
		if _, ok := tr.Snapshot(hosts[2]); ok {
			t.Fatal("the circuit that was left alone has not been evicted")
		}
		if _, err := get(tr, hosts[0]); err != nil {
			t.Fatal(err)
		}
		_, err := get(tr, hosts[1])
		wantRefused(t, err)
	})
}

// An ownNetwork is away for the first ten seconds. Some of the hosts stay down.
type ownNetwork struct {
	began   time.Time
	latency time.Duration
	down    map[string]bool
	hits    map[string]int // only without latency
}

func (n *ownNetwork) RoundTrip(req *http.Request) (*http.Response, error) {
	away := time.Since(n.began) < 10*time.Second || n.down[req.URL.Host]
	if n.latency > 0 {
		time.Sleep(n.latency)
	} else {
		n.hits[req.URL.Host]++
	}
	if away {
		return nil, errNoNetwork
	}
	return respond(200)(req)
}

// atRandom asks hosts for so long, 500 times a second, each as often as the others.
// Every caller of it has the same requests for a seed.
func atRandom(seed uint64, length time.Duration, ask func(host int)) {
	r := rand.New(rand.NewPCG(seed, 0))
	for began, at := time.Now(), time.Duration(0); at < length; at += time.Duration(r.ExpFloat64() * float64(time.Second) / 500) {
		time.Sleep(at - time.Since(began))
		ask(r.IntN(100))
	}
}

func hostOf(n int) string { return fmt.Sprintf("host%d.test", n) }

// TestOwnNetworkComesBack: of a hundred hosts that are healthy all the time, hardly a
// request is refused in the 70 s after. Alone, each would double its open time, and
// refuse 9 %.
func TestOwnNetworkComesBack(t *testing.T) {
	const seeds = 5
	synctest.Test(t, func(t *testing.T) {
		refused, asked := 0, 0
		for seed := range uint64(seeds) {
			network := &ownNetwork{began: time.Now(), hits: map[string]int{}}
			tr := newTransport(t, network, breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: time.Second, OpenGrowth: 2}))
			atRandom(seed, 80*time.Second, func(host int) {
				_, err := get(tr, "http://"+hostOf(host))
				if time.Since(network.began) >= 10*time.Second {
					asked++
					if err != nil {
						refused++
					}
				}
			})
		}
		if share := float64(refused) / float64(asked); share > 0.02 {
			t.Errorf("%.1f %% were refused, want at most 2 %%", 100*share)
		}
	})
}

// TestRecoverTogether: all that fell within eight seconds are closed within a second in
// which each host is asked, after the first that recovers.
func TestRecoverTogether(t *testing.T) {
	for _, tt := range []struct {
		name   string
		policy breakerhttp.Policy
	}{
		{"zero Policy", breakerhttp.Policy{}},
		{"1 s doubling", breakerhttp.Policy{OpenFor: time.Second, OpenGrowth: 2}},
		{"Adaptive", breakerhttp.Policy{Adaptive: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := &ownNetwork{began: time.Now(), latency: 20 * time.Millisecond}
				tr := newTransport(t, network, breakerhttp.WithPolicy(tt.policy))
				var wg sync.WaitGroup
				for n := 0; time.Since(network.began) < 90*time.Second; n++ {
					if host := n % 100; time.Since(network.began) >= time.Duration(host)*80*time.Millisecond {
						wg.Go(func() { _, _ = get(tr, "http://"+hostOf(host)) })
					}
					time.Sleep(2 * time.Millisecond)
				}
				wg.Wait()
				var closed []time.Time
				for _, tn := range tr.Transitions() {
					if tn.To == breakerhttp.StateClosed {
						closed = append(closed, tn.At)
					}
				}
				if len(closed) != 100 {
					t.Fatalf("%d circuits have closed, want 100", len(closed))
				}
				if took := closed[99].Sub(closed[0]); took > time.Second {
					t.Errorf("all have closed within %v, want a second", took)
				}
			})
		})
	}
}

// TestDownAllTheSame: those hosts that are really down get at most one probe more than
// if each had a Transport of its own.
func TestDownAllTheSame(t *testing.T) {
	const down = 10
	for _, tt := range []struct {
		name   string
		policy breakerhttp.Policy
	}{
		{"zero Policy", breakerhttp.Policy{}},
		{"1 s doubling", breakerhttp.Policy{OpenFor: time.Second, OpenGrowth: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := func() *ownNetwork {
					n := &ownNetwork{began: time.Now(), hits: map[string]int{}, down: map[string]bool{}}
					for host := range down {
						n.down[hostOf(host)] = true
					}
					return n
				}
				together, alone := network(), network()
				tr := newTransport(t, together, breakerhttp.WithPolicy(tt.policy))
				var each []*breakerhttp.Transport
				for range down {
					each = append(each, newTransport(t, alone, breakerhttp.WithPolicy(tt.policy)))
				}
				atRandom(1, 5*time.Minute, func(host int) {
					_, _ = get(tr, "http://"+hostOf(host))
					if host < down {
						_, _ = get(each[host], "http://"+hostOf(host))
					}
				})
				for host := range down {
					if got, own := together.hits[hostOf(host)], alone.hits[hostOf(host)]; got > own+1 {
						t.Errorf("host %d got %d requests, want at most one more than the %d that it gets alone", host, got, own)
					}
				}
			})
		})
	}
}

// TestSympathyOfForeignKeys: a transition names the circuit that has recovered in valid UTF-8.
func TestSympathyOfForeignKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		tr := newTransport(t, behindNetwork(&down), breakerhttp.WithKey(func(req *http.Request) string { return req.URL.Host + "\xff" }),
			breakerhttp.WithPolicy(breakerhttp.Policy{OpenGrowth: 2}))
		hosts := []string{"http://a.test", "http://b.test", "http://c.test"}
		for _, host := range hosts {
			for range 5 {
				_, _ = get(tr, host)
			}
		}
		time.Sleep(time.Minute)
		_, _ = get(tr, hosts[1]) // its probe fails
		down = false
		for _, host := range hosts[:2] {
			if _, err := get(tr, host); err != nil {
				t.Fatal(err)
			}
		}
		for _, tn := range tr.Transitions() {
			if !utf8.ValidString(tn.Detail) {
				t.Errorf("%v to %v: detail %q is no UTF-8", tn.From, tn.To, tn.Detail)
			}
		}
	})
}

// TestSympathyAndHookPanic: a hook that panics for a circuit that is due early takes the transition of
// the one that has recovered from nobody, nor those of the others.
func TestSympathyAndHookPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		var told []string
		tr := newTransport(t, behindNetwork(&down), breakerhttp.WithPolicy(breakerhttp.Policy{Adaptive: true}),
			breakerhttp.WithTransitionHook(func(_ context.Context, tn breakerhttp.Transition) {
				told = append(told, fmt.Sprint(tn.Key, " ", tn.To))
				if tn.Key != "http://a.test" {
					panic("of the hook")
				}
			}))
		hosts := []string{"http://a.test", "http://b.test", "http://c.test"}
		for _, host := range hosts {
			for range 12 {
				_, _ = get(tr, host)
			}
		}
		time.Sleep(2 * time.Second) // so that the outages are told of
		down = false
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic of the hook goes to nobody")
				}
			}()
			_, _ = get(tr, hosts[0])
		}()
		slices.Sort(told)
		want := []string{"http://a.test closed", "http://a.test open", "http://b.test open", "http://c.test open"}
		if !slices.Equal(told, want) {
			t.Errorf("told of %q, want %q", told, want)
		}
	})
}
