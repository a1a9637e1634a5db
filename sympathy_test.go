package breakerhttp_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// TestSympathy: when our own network was away and one circuit has recovered, the others that fell
// with it are due at once. Each needs a successful probe of its own.
func TestSympathy(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETUNREACH}
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
					return nil, refused
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
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETUNREACH}
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
					return nil, refused
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
					req, _ := http.NewRequest(http.MethodGet, c, nil)
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
		tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
			if down {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETUNREACH}
			}
			return respond(200)(req)
		}), breakerhttp.WithPolicy(breakerhttp.Policy{OpenGrowth: 2}), breakerhttp.WithMaxCircuits(3))
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
