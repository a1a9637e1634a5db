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

	"go.uber.org/goleak"

	"github.com/breakerhttp/breakerhttp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// size is how long each test is to torture, and how many hosts: a few for a moment, or hundreds for
// as long as BREAKERHTTP_TORTURE says in all.
func size(t *testing.T) (d time.Duration, hosts int) {
	t.Helper()
	s := os.Getenv("BREAKERHTTP_TORTURE")
	if s == "" {
		return 500 * ms, 20
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d / time.Duration(len(policies)+1), 400
}

// TestTorture sends requests, many of them cancelled, to hundreds of hosts that do their worst over
// real sockets. In the end every request has been counted, every slot is free, nothing is left
// behind, and every circuit closes once its host is healthy.
func TestTorture(t *testing.T) {
	log.SetOutput(io.Discard) // net/http reports what it gets from idle connections
	defer log.SetOutput(os.Stderr)
	for _, tt := range policies {
		t.Run(tt.name, func(t *testing.T) { torture(t, tt.policy, func(*load) {}) })
	}
	t.Run("policies that change", func(t *testing.T) { torture(t, policies[0].policy, (*load).changePolicies) })
}

func torture(t *testing.T, p breakerhttp.Policy, meanwhile func(*load)) {
	d, hosts := size(t)
	l := newLoad(t, hosts, p)
	goroutines, heap := runtime.NumGoroutine(), heapSize()
	l.run(d, meanwhile)
	l.wantRecovery(t)
	l.wantAccounts(t)
	l.wantGone(t, goroutines, heap)
}

const ms = time.Millisecond

var policies = []struct {
	name   string
	policy breakerhttp.Policy
}{
	{"consecutive and slow", breakerhttp.Policy{
		ConsecutiveFailures: 3, SlowRatio: 0.9, SlowAfter: 50 * ms, OpenFor: 20 * ms, MaxOpenFor: 40 * ms, Jitter: 0.5,
		ProbeTimeout: 100 * ms, Ramp: 10 * ms,
	}},
	{"ratio and growth", breakerhttp.Policy{
		ConsecutiveFailures: -1, FailureRatio: 0.5, MinRequests: 5, Window: 500 * ms, OpenFor: 10 * ms, OpenGrowth: 2, MaxOpenFor: 100 * ms,
		Probes: 3, ProbeSuccesses: 2, ProbeTimeout: 50 * ms,
	}},
	{"adaptive", breakerhttp.Policy{Adaptive: true, MaxOpenFor: 200 * ms, MaxInFlight: 50}},
}

// changePolicies sets another policy every 10 ms, of all circuits and of some, until the load ends.
func (l *load) changePolicies() {
	for i := 0; !l.over(); i++ {
		all, some := policies[i%len(policies)].policy, policies[(i/2)%len(policies)].policy
		if err := l.tr.SetPolicies(all, map[string]breakerhttp.Policy{l.hosts[i%len(l.hosts)]: some}); err != nil {
			panic(err)
		}
		time.Sleep(10 * ms)
	}
}

// A load is many callers of many hosts.
type load struct {
	tr       *breakerhttp.Transport
	hosts    []string
	h1       *hostileHTTP1
	h2       *hostileHTTP2
	bases    [2]*http.Transport
	end      time.Time
	sent     atomic.Uint64
	answered atomic.Uint64 // to the end
}

func newLoad(t *testing.T, hosts int, policy breakerhttp.Policy) *load {
	l := &load{h1: newHostileHTTP1(t), h2: newHostileHTTP2(t)}
	for i := range hosts {
		l.hosts = append(l.hosts, fmt.Sprintf("http://%s-%d.test", map[bool]string{true: "h2", false: "h1"}[i%4 == 0], i))
	}
	dial := func(addr string) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	}
	h1 := &http.Transport{DialContext: dial(l.h1.addr), MaxResponseHeaderBytes: 1 << 20}
	h2 := &http.Transport{DialContext: dial(l.h2.addr), Protocols: new(http.Protocols)}
	h2.Protocols.SetUnencryptedHTTP2(true)
	l.bases = [...]*http.Transport{h1, h2}
	t.Cleanup(l.closeIdle)
	base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
		if strings.HasPrefix(req.URL.Host, "h2-") {
			return h2.RoundTrip(req)
		}
		return h1.RoundTrip(req)
	})
	tr, err := breakerhttp.New(base, breakerhttp.WithPolicy(policy))
	if err != nil {
		t.Fatal(err)
	}
	l.tr = tr
	return l
}

func (l *load) closeIdle() {
	for _, base := range l.bases {
		base.CloseIdleConnections()
	}
}

func (l *load) over() bool { return time.Now().After(l.end) }

func (l *load) run(d time.Duration, meanwhile func(*load)) {
	l.end = time.Now().Add(d)
	var callers sync.WaitGroup
	callers.Go(func() { meanwhile(l) })
	for range 100 {
		callers.Go(func() {
			for !l.over() {
				l.sent.Add(1)
				if call(l.tr, l.hosts[rand.IntN(len(l.hosts))]) {
					l.answered.Add(1)
				}
			}
		})
	}
	callers.Wait()
}

// call sends a request as a caller in a hurry would, and reports whether it was answered to the end.
func call(rt http.RoundTripper, url string) bool {
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
	resp, err := rt.RoundTrip(req)
	if errors.Is(err, breakerhttp.ErrOpen) {
		time.Sleep(rand.N(5 * time.Millisecond)) // otherwise nearly all requests would be refused
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

// get reports whether the answer is 200, read to its end.
func (l *load) get(url string) bool {
	l.sent.Add(1)
	resp, err := (&http.Client{Transport: l.tr}).Get(url)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}

// wantRecovery heals the servers, and wants each circuit to close.
func (l *load) wantRecovery(t *testing.T) {
	t.Helper()
	l.h1.healthy.Store(true)
	l.h2.healthy.Store(true)
	for _, url := range l.hosts {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			ok := l.get(url)
			s, _ := l.tr.Snapshot(url)
			if ok && s.State == breakerhttp.StateClosed {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s is healthy, but its circuit does not close: %+v", url, s)
			}
		}
	}
}

// wantAccounts wants each request to have been counted once, except that the body of a successful
// one may have failed later, and none to be in flight.
func (l *load) wantAccounts(t *testing.T) {
	t.Helper()
	var sum breakerhttp.Totals
	for s := range l.tr.Snapshots() {
		if s.InFlight != 0 {
			t.Errorf("%s: %d in flight, want 0", s.Key, s.InFlight)
		}
		sum.Success += s.Totals.Success
		sum.Failure += s.Totals.Failure
		sum.Ignored += s.Totals.Ignored
		sum.Refused += s.Totals.Refused
		sum.Limited += s.Totals.Limited
	}
	sent, counted := l.sent.Load(), sum.Success+sum.Failure+sum.Ignored+sum.Refused+sum.Limited
	if counted < sent || counted > sent+sum.Success {
		t.Errorf("%d requests were sent, and counted as %+v, which are %d", sent, sum, counted)
	}
	t.Logf("%d requests, %d answered to the end, %+v; %d transitions kept", sent, l.answered.Load(), sum, len(l.tr.Transitions()))
	const many = 1000 // on a busy machine there are few
	if sent > many && (sum.Failure == 0 || sum.Ignored == 0 || sum.Refused == 0) {
		t.Error("the hosts were not hostile, or the callers not in a hurry")
	}
}

// wantGone waits until no more goroutines and memory are in use than before, except for what the
// circuits need.
func (l *load) wantGone(t *testing.T, goroutines int, heap uint64) {
	t.Helper()
	const kept = 8 << 20
	var n int
	var h uint64
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		l.closeIdle() // also what was dialed for a request that had been cancelled by then
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

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
