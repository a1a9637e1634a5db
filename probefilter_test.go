package breakerhttp_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

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
