package breakerhttp_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/store/storetest"
)

// A fleetUnderTest is some processes that call one host.
type fleetUnderTest struct {
	down      atomic.Bool
	hits      atomic.Int64
	store     breakerhttp.Store
	processes []*breakerhttp.Transport
}

func newFleet(t *testing.T, n int, store breakerhttp.Store, p breakerhttp.Policy, sh breakerhttp.Sharing) *fleetUnderTest {
	f := &fleetUnderTest{store: store}
	base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
		if !f.down.Load() {
			return respond(200)(req)
		}
		f.hits.Add(1)
		time.Sleep(10 * time.Millisecond)
		return respond(500)(req)
	})
	for range n {
		f.processes = append(f.processes, newTransport(t, base, breakerhttp.WithPolicy(p), breakerhttp.WithStore(store, sh)))
	}
	return f
}

// run lets every process send a request every half second, spread evenly, until
// d is over. It returns how many were refused.
func (f *fleetUnderTest) run(d time.Duration) (refused int) {
	end := time.Now().Add(d)
	step := 500 * time.Millisecond / time.Duration(len(f.processes))
	for i := 0; time.Now().Before(end); i++ {
		if _, err := get(f.processes[i%len(f.processes)], host); errors.Is(err, breakerhttp.ErrOpen) {
			refused++
		}
		time.Sleep(step)
	}
	return refused
}

func (f *fleetUnderTest) states() (out string) {
	for _, tr := range f.processes {
		s, _ := tr.Snapshot(host)
		out += fmt.Sprint(s.State, " ")
	}
	return out
}

// TestFleet: two processes trip, all are open; one probes for all; when the host
// is well all come back.
func TestFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 10, storetest.NewMemory(), breakerhttp.Policy{}, breakerhttp.Sharing{})
		if refused := f.run(20 * time.Second); refused != 0 {
			t.Fatalf("%d requests to a healthy host were refused", refused)
		}
		f.down.Store(true)
		f.run(50 * time.Second)
		if hits := f.hits.Load(); hits > 60 {
			t.Errorf("got %d hits until all were open, want at most 60", hits)
		}
		if got := f.states(); got != "open open open open open open open open open open " {
			t.Errorf("got states %s", got)
		}
		before := f.hits.Load()
		f.run(10 * time.Minute)
		if probes := f.hits.Load() - before; probes > 45 || probes < 15 {
			t.Errorf("got %d probes in ten minutes, want 15 to 45", probes)
		}
		f.down.Store(false)
		f.run(70 * time.Second)
		if got := f.states(); got != "closed closed closed closed closed closed closed closed closed closed " {
			t.Errorf("got states %s", got)
		}
	})
}
