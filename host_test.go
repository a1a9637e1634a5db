package breakerhttp_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// TestAttack lets callers choose hosts, ports and methods, and upstreams status,
// Retry-After and Date, at will. Circuits and series stay within their bounds, no
// open circuit is lost, none is open for longer than MaxOpenFor, and a host
// that others use stays served.
func TestAttack(t *testing.T) {
	const maxCircuits, maxKeys = 100, 20
	reader, mp := newMeter()
	upstream := roundTripFunc(func(req *http.Request) (*http.Response, error) {
		if req.URL.Host == "well.test" {
			return respond(200)(req)
		}
		if req.URL.Host == "victim.test" {
			return respond(500)(req)
		}
		resp, _ := respond(200 + rand.IntN(800))(req)
		resp.Header["Retry-After"] = [][]string{{"99999999999999999999"}, {"-1"}, {"1", "2"}, {"Fri, 31 Dec 9999 23:59:59 GMT"}, {"\x00"}}[rand.IntN(5)]
		resp.Header["Date"] = [][]string{{"Thu, 01 Jan 1970 00:00:00 GMT"}, {"x"}, {}}[rand.IntN(3)]
		return resp, nil
	})
	tr := newTransport(t, upstream, breakerhttp.WithMeterProvider(mp), breakerhttp.WithMaxCircuits(maxCircuits),
		breakerhttp.WithMaxMetricKeys(maxKeys), breakerhttp.WithPolicy(breakerhttp.Policy{MaxOpenFor: 2 * time.Minute, Jitter: 0.5}))
	for range 5 {
		_, _ = get(tr, "http://victim.test")
	}
	wantState(t, tr, "http://victim.test", breakerhttp.StateOpen)

	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				_, _ = get(tr, fmt.Sprintf("%s://%s%d.test:%d/", []string{"http", "HTTPS", "https"}[rand.IntN(3)],
					[]string{"a", "A", "é"}[rand.IntN(3)], rand.IntN(50_000), rand.IntN(65_536)))
				if status, err := get(tr, "http://well.test"); status != 200 || err != nil {
					t.Errorf("the host that is well: got %d, %v", status, err)
				}
			}
		})
	}
	wg.Wait()

	if n := circuits(tr); n > maxCircuits {
		t.Errorf("got %d circuits, want at most %d", n, maxCircuits)
	}
	if _, err := get(tr, "http://victim.test"); !errors.Is(err, breakerhttp.ErrOpen) {
		t.Errorf("the open circuit is gone: got %v", err)
	}
	for _, tn := range tr.Transitions() {
		if tn.OpenFor > 3*time.Minute {
			t.Errorf("%s is open for %v, want at most MaxOpenFor and half of it", tn.Key, tn.OpenFor)
		}
	}
	// Of each: 3 states, 4 or 5 steps, 3 outcomes and 16 error types; and the untracked.
	if n, most := len(collectPoints(t, reader)), (maxKeys+1)*(3+5+3+16)+1; n > most {
		t.Errorf("got %d series, want at most %d", n, most)
	}
}

// TestMaxCircuits: idle circuits go for new ones; those that know something
// stay.
func TestMaxCircuits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, roundTripFunc(statusByHost), breakerhttp.WithMaxCircuits(3))
		send := func(host string) error {
			_, err := get(tr, "http://"+host)
			return err
		}
		for range 5 {
			_ = send("bad.test") // opens
		}
		_ = send("bad-once.test") // a recent failure
		for i := range 1000 {
			if err := send(fmt.Sprintf("ok%d.test", i)); err != nil {
				t.Fatal(err)
			}
			if n := circuits(tr); n > 3 {
				t.Fatalf("got %d circuits, want at most 3", n)
			}
		}
		wantRefused(t, send("bad.test"))
		if s := snapshot(t, tr, "http://bad-once.test"); s.Totals.Failure != 1 {
			t.Errorf("the circuit with a recent failure: got totals %+v, want 1 failure", s.Totals)
		}
		if _, ok := tr.Snapshot("http://ok999.test"); !ok {
			t.Error("the newest host has no circuit")
		}

		time.Sleep(10 * time.Second) // the failure leaves its window, but is still the latest
		for i := range 4 {
			_ = send(fmt.Sprintf("later%d.test", i))
		}
		if _, ok := tr.Snapshot("http://bad-once.test"); !ok {
			t.Error("the circuit with a run of failures has gone before others")
		}
		wantRefused(t, send("bad.test"))
	})
}

// TestEvictionForgetsNoRun: a host that fails opens its circuit, however many newcomers come between
// two requests to it.
func TestEvictionForgetsNoRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reached := 0
		tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "dead.test" {
				reached++
				return respond(503)(req)
			}
			return respond(200)(req)
		}), breakerhttp.WithMaxCircuits(100))
		newcomer := 0
		for range 100 {
			_, _ = get(tr, "http://dead.test")
			for range 250 {
				newcomer++
				_, _ = get(tr, fmt.Sprintf("http://new%d.test", newcomer))
			}
			time.Sleep(15 * time.Second)
		}
		if reached > 30 { // 5, then a probe a minute, in 25 minutes
			t.Errorf("%d of 100 requests reached the dead host, want at most 30", reached)
		}
	})
}

// TestDeadHostsLeaveTheTable: circuits of dead hosts that nobody calls any more make room for others,
// but never before they have been left alone for MaxOpenFor.
func TestDeadHostsLeaveTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bound = 100
		reached := 0
		tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
			reached++
			return respond(503)(req)
		}), breakerhttp.WithMaxCircuits(bound))
		fail := func(host string, times int) (sent int) {
			before := reached
			for range times {
				_, _ = get(tr, "http://"+host)
			}
			return reached - before
		}
		for i := range bound {
			fail(fmt.Sprintf("dead%d.test", i), 5)
		}
		if sent := fail("new.test", 10); sent != 10 {
			t.Errorf("%d of 10 requests to a host without a circuit were sent, want all", sent)
		}
		const untilFree = time.Minute + 5*time.Minute // the open time, and MaxOpenFor
		time.Sleep(untilFree - time.Second)
		if sent := fail("new.test", 10); sent != 10 {
			t.Errorf("a second early: %d of 10 requests were sent, want all", sent)
		}
		time.Sleep(time.Second)
		if sent := fail("new.test", 10); sent != 5 {
			t.Errorf("%d of 10 requests to the next dead host were sent, want 5", sent)
		}
		if n := circuits(tr); n != bound {
			t.Errorf("got %d circuits, want %d", n, bound)
		}
	})
}

// TestNoRoom: where no circuit can go, newcomers are sent unguarded; forced
// circuits come on top.
func TestNoRoom(t *testing.T) {
	tr := newTransport(t, roundTripFunc(statusByHost), breakerhttp.WithMaxCircuits(2))
	for i := range 2 {
		for range 5 {
			_, _ = get(tr, fmt.Sprintf("http://bad%d.test", i))
		}
	}
	for range 10 {
		if status, err := get(tr, "http://bad2.test"); status != 500 || err != nil {
			t.Fatalf("got %d, %v; want 500 from the upstream", status, err)
		}
	}
	if _, ok := tr.Snapshot("http://bad2.test"); ok || circuits(tr) != 2 {
		t.Errorf("got %d circuits, want 2", circuits(tr))
	}
	tr.ForceOpen("http://forced.test")
	_, err := get(tr, "http://forced.test")
	wantRefused(t, err)
	if n := circuits(tr); n != 3 {
		t.Errorf("got %d circuits, want 2 and a forced one", n)
	}
	tr.Reset("http://forced.test") // it counts now, and is idle
	tr.Reset("http://bad0.test")
	for i := range 5 {
		_, _ = get(tr, fmt.Sprintf("http://ok%d.test", i))
	}
	if n := circuits(tr); n != 2 {
		t.Errorf("got %d circuits after the reset, want 2", n)
	}
}

// TestEvictionRace sends to more hosts than there is room for, from many
// goroutines: no request is lost, and none counted twice.
func TestEvictionRace(t *testing.T) {
	var sent atomic.Int64
	tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
		sent.Add(1)
		return respond(200)(req)
	}), breakerhttp.WithMaxCircuits(4))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				if _, err := get(tr, fmt.Sprintf("http://h%d.test", (g+i)%16)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := sent.Load(); got != 8*500 {
		t.Errorf("got %d requests sent, want %d", got, 8*500)
	}
	for s := range tr.Snapshots() {
		if s.InFlight != 0 {
			t.Errorf("%s: got %d in flight, want 0", s.Key, s.InFlight)
		}
	}
}
