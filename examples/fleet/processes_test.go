//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/servertest"
)

const (
	fleetSize    = 4
	openFor      = 3 * time.Second // long enough for two votes in a slow store
	probeTimeout = time.Second
	lease        = probeTimeout + time.Second
)

// A process that is killed while its probe is out takes the fleet's right to
// probe with it. The others wait until the lease is over; then one takes over,
// and what it finds out is enough for all.
func TestProcessDiesWithLease(t *testing.T) {
	t.Run("Redis", func(t *testing.T) { testProcessDiesWithLease(t, assignment{Redis: servertest.Redis(t).Addr}) })
	t.Run("dynalite", func(t *testing.T) { testProcessDiesWithLease(t, assignment{DynamoDB: servertest.Dynalite(t).URL()}) })
	t.Run("DynamoDB Local", func(t *testing.T) {
		testProcessDiesWithLease(t, assignment{DynamoDB: servertest.DynamoDBLocal(t).URL()})
	})
}

func testProcessDiesWithLease(t *testing.T, a assignment) {
	h := &host{hangs: true}
	fleet := startFleet(t, h, &a)

	wentDown := h.setDown(true)
	h.await(t, "a probe", isProbe, 1)
	prober := h.hits(isProbe)[0]
	if got := stored(t, a); got != "half" {
		t.Fatalf("while the probe is out, the record says %q, want half", got)
	}
	if err := fleet[prober.process].cmd.Process.Kill(); err != nil { // SIGKILL
		t.Fatal(err)
	}
	_ = fleet[prober.process].cmd.Wait()
	back := h.setDown(false)

	first, err := h.awaitAnswers(back, fleetSize-1)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := first[prober.process]; ok {
		t.Errorf("process %s called after it was killed", prober.process)
	}
	probes := h.hits(isProbe)
	if len(probes) != 2 {
		t.Fatalf("got %d probes %+v, want the one that died and the one that took over", len(probes), probes)
	}
	if probes[1].process == prober.process {
		t.Errorf("process %s took over from itself", prober.process)
	}
	// The lease began before the probe reached the host, by as long as a busy
	// machine takes to send it.
	if got, want := probes[1].at.Sub(prober.at), lease-500*time.Millisecond; got < want {
		t.Errorf("the lease was taken over after %v, want %v at least", got, want)
	}
	for _, got := range h.hits(func(got hit) bool { return got.at.After(prober.at) && got.at.Before(probes[1].at) }) {
		t.Errorf("process %s called %v after the probe, while the lease was out", got.process, got.at.Sub(prober.at))
	}
	if got := h.hits(func(got hit) bool { return got.down }); len(got) > fleetSize*5+1 {
		t.Errorf("got %d hits while the host was down, want %d at most: 5 failures a process and one probe", len(got), fleetSize*5+1)
	}
	t.Logf("hits while down %d; probe after %v; taken over %v later by process %s; last process recovered %v after the takeover",
		len(h.hits(func(got hit) bool { return got.down })), prober.at.Sub(wentDown), probes[1].at.Sub(prober.at), probes[1].process, latest(first).Sub(probes[1].at))
}

func isProbe(got hit) bool { return got.probe }

func latest(times map[string]time.Time) (last time.Time) {
	for _, at := range times {
		if at.After(last) {
			last = at
		}
	}
	return last
}

// startFleet starts processes that call h, by name, and waits until each has had
// an answer. It completes the assignment.
func startFleet(t *testing.T, h *host, a *assignment) map[string]*process {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	a.Address, a.Namespace = srv.Listener.Addr().String(), rand.Text()
	a.OpenFor, a.ProbeTimeout, a.Every = openFor, probeTimeout, 50*time.Millisecond
	if err := a.prepare(); err != nil {
		t.Fatal(err)
	}
	began, fleet := time.Now(), map[string]*process{}
	for i := range fleetSize {
		a.Name = strconv.Itoa(i)
		p, err := start(*a)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.stop)
		fleet[a.Name] = p
	}
	if _, err := h.awaitAnswers(began, fleetSize); err != nil {
		t.Fatal(err)
	}
	return fleet
}

// await waits for n hits that keep wants.
func (h *host) await(t *testing.T, what string, keep func(hit) bool, n int) {
	t.Helper()
	servertest.Eventually(t, what, func() error {
		if got := len(h.hits(keep)); got < n {
			return fmt.Errorf("%d of %d hits", got, n)
		}
		return nil
	})
}

// stored returns the state that the record of the host says.
func stored(t *testing.T, a assignment) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	items, err := a.store().Load(ctx, []string{a.Namespace + "/" + hostURL})
	if err != nil {
		t.Fatalf("loading the record: %v", err)
	}
	record := struct {
		State string `json:"st"`
	}{}
	if err := json.Unmarshal(items[0].Value, &record); err != nil {
		t.Fatalf("record %q: %v", items[0].Value, err)
	}
	return record.State
}
