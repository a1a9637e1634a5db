// Package torture sends load through a Transport to servers that do their worst over real sockets,
// and checks that nothing is left behind.
package torture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp"
	"go.uber.org/goleak"
)

// tortureSize is how long to torture, and how many hosts: a few for a moment, or
// hundreds for as long as BREAKERHTTP_TORTURE says.
func tortureSize(t *testing.T) (d time.Duration, hosts int) {
	t.Helper()
	s := os.Getenv("BREAKERHTTP_TORTURE")
	if s == "" {
		return 2 * time.Second, 20
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d, 400
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestTorture sends requests, many of them cancelled, to hundreds of hosts that do their worst over
// real sockets. In the end every slot is free, nothing is left behind, and every circuit closes once
// its host is healthy.
func TestTorture(t *testing.T) {
	duration, hosts := tortureSize(t)
	log.SetOutput(io.Discard) // net/http reports what it gets from idle connections
	defer log.SetOutput(os.Stderr)
	h1, h2 := newHostileHTTP1(t), newHostileHTTP2(t)

	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		to := h1.addr
		if strings.HasPrefix(addr, "h2-") {
			to = h2.addr
		}
		var d net.Dialer
		return d.DialContext(ctx, network, to)
	}
	h1Base := &http.Transport{DialContext: dial, MaxResponseHeaderBytes: 1 << 20}
	h2Base := &http.Transport{DialContext: dial, Protocols: new(http.Protocols)}
	h2Base.Protocols.SetUnencryptedHTTP2(true)
	base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
		if strings.HasPrefix(req.URL.Host, "h2-") {
			return h2Base.RoundTrip(req)
		}
		return h1Base.RoundTrip(req)
	})
	defer h1Base.CloseIdleConnections()
	defer h2Base.CloseIdleConnections()
	tr, err := breakerhttp.New(base, breakerhttp.WithPolicy(breakerhttp.Policy{
		ConsecutiveFailures: 3, OpenFor: 20 * time.Millisecond, MaxOpenFor: 40 * time.Millisecond, ProbeTimeout: 100 * time.Millisecond, Jitter: 0.5,
		SlowRatio: 0.9, SlowAfter: 50 * time.Millisecond, Ramp: 10 * time.Millisecond,
	}))
	if err != nil {
		t.Fatal(err)
	}
	name := func(i int) string {
		return fmt.Sprintf("http://%s-%d.test", map[bool]string{true: "h2", false: "h1"}[i%4 == 0], i)
	}

	var sent, answered atomic.Int64
	goroutines, heap := runtime.NumGoroutine(), heapSize()
	end := time.Now().Add(duration)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			for time.Now().Before(end) {
				sent.Add(1)
				if torment(tr, name(rand.IntN(hosts))) {
					answered.Add(1)
				}
			}
		})
	}
	wg.Wait()

	h1.healthy.Store(true)
	h2.healthy.Store(true)
	refused := uint64(0)
	for i := range hosts {
		for deadline := time.Now().Add(10 * time.Second); ; {
			if get(tr, name(i)) {
				if s, ok := tr.Snapshot(name(i)); !ok || s.State == breakerhttp.StateClosed {
					break
				}
			}
			if time.Now().After(deadline) {
				s, _ := tr.Snapshot(name(i))
				t.Fatalf("%s is healthy, but its circuit does not close: %+v", name(i), s)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	for s := range tr.Snapshots() {
		if s.InFlight != 0 {
			t.Errorf("%s: %d in flight, want 0", s.Key, s.InFlight)
		}
		refused += s.Totals.Refused
	}
	h1Base.CloseIdleConnections()
	h2Base.CloseIdleConnections()
	wantGone(t, goroutines, heap)
	t.Logf("%d requests, %d answered to the end, %d refused; %d transitions kept", sent.Load(), answered.Load(), refused, len(tr.Transitions()))
	if answered.Load() == 0 || refused == 0 {
		t.Error("the torture was none")
	}
}

// wantGone waits until no more goroutines and memory are in use than before the
// torture, except for what the circuits need.
func wantGone(t *testing.T, goroutines int, heap uint64) {
	t.Helper()
	const kept = 8 << 20
	var n int
	var h uint64
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		n, h = runtime.NumGoroutine(), heapSize()
		if n <= goroutines && h <= heap+kept {
			return
		}
	}
	buf := make([]byte, 1<<16)
	t.Errorf("%d goroutines and %d bytes are left, of %d and %d before:\n%s", n, h, goroutines, heap, buf[:runtime.Stack(buf, true)])
}

func heapSize() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// get reports whether the answer is 200, read to its end.
func get(tr *breakerhttp.Transport, url string) bool {
	resp, err := (&http.Client{Transport: tr}).Get(url)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}

// torment sends a request as a caller in a hurry would, and reports whether it
// was answered to the end.
func torment(tr *breakerhttp.Transport, url string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+rand.IntN(100))*time.Millisecond)
	defer cancel()
	if rand.IntN(4) == 0 {
		defer time.AfterFunc(rand.N(20*time.Millisecond), cancel).Stop()
	}
	var body io.Reader
	if rand.IntN(3) == 0 {
		body = io.LimitReader(strings.NewReader(strings.Repeat("b", 1000)), int64(rand.IntN(1000))) // no GetBody
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		panic(err)
	}
	if rand.IntN(5) == 0 {
		req.Header.Set("Upgrade", "x")
		req.Header.Set("Connection", "Upgrade")
	}
	resp, err := tr.RoundTrip(req)
	if errors.Is(err, breakerhttp.ErrOpen) {
		time.Sleep(rand.N(5 * time.Millisecond)) // what is refused would outnumber all else
	}
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	switch rand.IntN(4) {
	case 0:
		return false // closed unread
	case 1:
		_, _ = resp.Body.Read(make([]byte, 1))
		return false
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
