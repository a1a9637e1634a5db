package breakerhttp_test

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// TestEveryRuleVotes: whatever rule opens a circuit, the others hear of it.
func TestEveryRuleVotes(t *testing.T) {
	for name, p := range map[string]breakerhttp.Policy{
		"consecutive failures": {},
		"failure ratio":        {ConsecutiveFailures: -1, FailureRatio: 0.5, MinRequests: 5},
		"slow ratio":           {ConsecutiveFailures: -1, SlowRatio: 0.5, SlowAfter: time.Millisecond, MinRequests: 5},
		"a rule of one's own":  {ConsecutiveFailures: -1, TripWhen: func(c breakerhttp.Counts) bool { return c.Failures == 5 }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 2, breakerhttp.WithPolicy(p))
				f.open()
			})
		})
	}
}

// TestSharedRetryAfter: a fleet waits for as long as the host has asked for.
func TestSharedRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 0)
		for range 3 {
			f.add(roundTripFunc(func(req *http.Request) (*http.Response, error) {
				resp, err := f.RoundTrip(req)
				resp.Header.Set("Retry-After", "120")
				return resp, err
			}))
		}
		f.open()
		if got := f.record(); got.Millis != 120_000 {
			t.Errorf("the record is %+v, want 120 s", got)
		}
		f.run(119 * time.Second)
		if got := f.hits.Load(); got != 0 {
			t.Errorf("got %d hits, want none for 120 s", got)
		}
	})
}

// TestLateFailureReads: a body that breaks off is a failure, of which others may
// know more.
func TestLateFailureReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 0)
		f.add(roundTripFunc(func(req *http.Request) (*http.Response, error) {
			resp, err := f.RoundTrip(req)
			resp.Body = io.NopCloser(iotest.ErrReader(errors.New("reset")))
			return resp, err
		}))
		f.run(2 * time.Second) // each failure within a second of a read leaves the next to the second's end
		if got := f.store.loads.Load(); got != 2 {
			t.Errorf("got %d reads, want 2", got)
		}
	})
}

// TestTimedOutProbeBeforeElection: a process that notices its probe's timeout
// only when it may probe again says so first, and leaves the next to others.
func TestTimedOutProbeBeforeElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, way := newProberFleet(t, breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: 400 * time.Millisecond, ProbeTimeout: 10 * time.Second}))
		dead := make(chan struct{})
		defer close(dead)
		way.to(func(*http.Request) (*http.Response, error) { <-dead; return nil, errNet500 })
		go get(f.processes[0], host)
		synctest.Wait()
		time.Sleep(10500 * time.Millisecond)
		way.to(f.RoundTrip)
		_, err := get(f.processes[0], host)
		wantRefused(t, err)
		if got := f.record(); got.State != "open" || len(got.Failed) != 1 {
			t.Errorf("the record is %+v, want one failed", got)
		}
	})
}
