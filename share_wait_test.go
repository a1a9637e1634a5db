package breakerhttp_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/store/storetest"
)

// TestWaitReadyHearsOthers: who waits learns that another process has found the
// host well, though nobody sends a request meanwhile.
func TestWaitReadyHearsOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		f.open()
		time.Sleep(time.Minute)
		f.put(`{"s":1,"st":"half","d":31000,"o":"other","g":1}`)
		if refused := f.run(time.Second); refused != 2*2 {
			t.Fatalf("%d requests were refused while another process probes, want all", refused)
		}
		f.put(`{"s":1,"st":"closed","d":0,"o":"other","g":1}`)
		before := time.Now()
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, host, nil)
		if err := f.processes[0].WaitReady(req); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(before); waited > 3100*time.Millisecond {
			t.Errorf("waited for %v, want at most the three seconds between two reads", waited)
		}
	})
}

// TestStoreLeavesTimeForTheHost: a store that hangs does not use up the time that
// a request has.
func TestStoreLeavesTimeForTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		f.store.misbehave(noAnswer)
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Millisecond)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, host, nil)
		if _, err := f.processes[0].RoundTrip(req); err != nil {
			t.Errorf("got %v, want the answer that the host gives in 10ms", err)
		}
		time.Sleep(time.Second)
	})
}

// TestSharedRecoveryIsAnnounced: a circuit that closes since another process has
// probed goes from open to closed.
func TestSharedRecoveryIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, reader := newMetered(t, respond(200), breakerhttp.WithStore(storetest.NewMemory(), breakerhttp.Sharing{}))
		_, _ = get(tr, "http://own.test")
		synctest.Wait()
		want := transitionsOf(port80("own.test"), 0, 0, 0, 0).and(points{
			series("transitions", port80("own.test"), "previous_state=open", "state=closed"): 0,
		})
		wantPoints(t, "a new circuit of a fleet", collectPoints(t, reader).of("transitions"), want)
	})
}
