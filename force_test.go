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

// TestNamesWithoutAScheme: a person who names a circuit without its scheme means the one that exists.
func TestNamesWithoutAScheme(t *testing.T) {
	for _, test := range []struct {
		name   string
		exist  []string
		typed  string
		forced string
	}{
		{"http is there", []string{"http://billing.svc"}, "billing.svc", "http://billing.svc"},
		{"https is there", []string{"https://billing.svc"}, "billing.svc", "https://billing.svc"},
		{"both are", []string{"http://billing.svc", "https://billing.svc"}, "billing.svc", "https://billing.svc"},
		{"none is", nil, "billing.svc", "https://billing.svc"},
		{"none is, on port 80", nil, "billing.svc:80", "http://billing.svc"},
		{"with a port", []string{"http://billing.svc:8080"}, "Billing.svc:8080", "http://billing.svc:8080"},
		{"with the port of another scheme", []string{"http://billing.svc:443"}, "billing.svc:443", "http://billing.svc:443"},
		{"another port", []string{"http://billing.svc:8080"}, "billing.svc", "https://billing.svc"},
		{"with its scheme", []string{"http://billing.svc"}, "https://billing.svc", "https://billing.svc"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tr := newTransport(t, respond(200))
			for _, url := range test.exist {
				_, _ = get(tr, url)
			}
			tr.ForceOpen(test.typed)
			for s := range tr.Snapshots() {
				if want := s.Key == test.forced; s.Forced != want {
					t.Errorf("%s is forced: %v, want %v", s.Key, s.Forced, want)
				}
			}
			if got := snapshot(t, tr, test.forced); !got.Forced {
				t.Errorf("%s is not forced", test.forced)
			}
		})
	}
}

// TestResetBringsBackToTheBound: forced circuits come on top of the bound, until they are reset.
func TestResetBringsBackToTheBound(t *testing.T) {
	tr := newTransport(t, respond(200), breakerhttp.WithMaxCircuits(10))
	var keys []string
	for i := range 1005 {
		keys = append(keys, fmt.Sprintf("http://host%d.test", i))
		tr.ForceOpen(keys[i])
	}
	for _, key := range keys {
		tr.Reset(key)
		if _, ok := tr.Snapshot(key); !ok {
			t.Fatalf("the circuit of %s goes as it is reset", key)
		}
	}
	if got := circuits(tr); got != 10 {
		t.Errorf("got %d circuits, want 10", got)
	}
}
