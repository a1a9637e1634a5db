package breakerhttp_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/breakerhttp/breakerhttp"
)

func TestForceAndReset(t *testing.T) {
	var status atomic.Int64
	status.Store(200)
	base := roundTripFunc(func(req *http.Request) (*http.Response, error) { return respond(int(status.Load()))(req) })
	tr := newTransport(t, base)
	tr.ForceOpen("http://A.test:80") // as HostKey normalises it; there is no circuit yet
	s := snapshot(t, tr, host)
	if s.State != breakerhttp.StateOpen || !s.Forced || !s.Until.IsZero() {
		t.Errorf("forced open: got %+v", s)
	}
	_, err := get(tr, host)
	if refusal := wantRefused(t, err); refusal.RetryAfter != 0 || refusal.State != breakerhttp.StateOpen {
		t.Errorf("forced open: got refusal %+v, want open without RetryAfter", refusal)
	}

	tr.ForceClosed(host)
	status.Store(500)
	for range 20 {
		if _, err := get(tr, host); err != nil {
			t.Fatalf("forced closed: %v", err)
		}
	}
	s = snapshot(t, tr, host)
	if s.State != breakerhttp.StateClosed || !s.Forced || s.Counts.ConsecutiveFailures != 20 || s.Totals.Failure != 20 {
		t.Errorf("forced closed: got %+v, want closed with 20 failures", s)
	}

	tr.Reset(host)
	s = snapshot(t, tr, host)
	if s.State != breakerhttp.StateClosed || s.Forced || s.Counts != (breakerhttp.Counts{}) || s.Totals.Failure != 20 || s.Totals.Refused != 1 {
		t.Errorf("reset: got %+v, want closed, empty, with its totals", s)
	}
	var reasons []string
	for _, tr := range tr.Transitions() {
		reasons = append(reasons, tr.To.String()+":"+string(tr.Reason))
	}
	if got, want := fmt.Sprint(reasons), "[open:forced closed:forced]"; got != want {
		t.Errorf("transitions: got %s, want %s", got, want)
	}
	tr.Reset("http://unknown.test") // makes none
	if _, ok := tr.Snapshot("http://unknown.test"); ok {
		t.Error("Reset made a circuit")
	}
}
