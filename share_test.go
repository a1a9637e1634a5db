package breakerhttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/store/storetest"
)

// A fleetUnderTest is some processes that call one host.
type fleetUnderTest struct {
	t         *testing.T
	status    atomic.Int64 // of the host's answers
	hits      atomic.Int64 // on the host
	store     *faultyStore
	processes []*breakerhttp.Transport
}

// newFleet returns n processes that share a store, by default with the zero
// Policy and Sharing.
func newFleet(t *testing.T, n int, opts ...breakerhttp.Option) *fleetUnderTest {
	t.Helper()
	f := &fleetUnderTest{t: t, store: &faultyStore{Memory: storetest.NewMemory()}}
	f.status.Store(http.StatusOK)
	for range n {
		f.add(f, opts...)
	}
	return f
}

// add adds a process with a way to the host of its own.
func (f *fleetUnderTest) add(base http.RoundTripper, opts ...breakerhttp.Option) *breakerhttp.Transport {
	f.t.Helper()
	p := newTransport(f.t, base, append([]breakerhttp.Option{breakerhttp.WithStore(f.store, breakerhttp.Sharing{OnError: func(error) {}})}, opts...)...)
	f.processes = append(f.processes, p)
	return p
}

// RoundTrip is the host, which answers after 10 ms.
func (f *fleetUnderTest) RoundTrip(req *http.Request) (*http.Response, error) {
	f.hits.Add(1)
	select {
	case <-time.After(10 * time.Millisecond):
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	return respond(int(f.status.Load()))(req)
}

// run lets every process send a request every half second, spread evenly, for d.
// It returns how many were refused.
func (f *fleetUnderTest) run(d time.Duration) (refused int) {
	step := 500 * time.Millisecond / time.Duration(len(f.processes))
	for i, end := 0, time.Now().Add(d); time.Now().Before(end); i++ {
		if _, err := get(f.processes[i%len(f.processes)], host); errors.Is(err, breakerhttp.ErrOpen) {
			refused++
		}
		time.Sleep(step)
	}
	return refused
}

// open takes the host down until the record is open.
func (f *fleetUnderTest) open() {
	f.t.Helper()
	f.status.Store(http.StatusServiceUnavailable)
	for _, p := range f.processes {
		for range 5 {
			_, _ = get(p, host)
		}
	}
	if got := f.record(); got.State != "open" {
		f.t.Fatalf("the record is %+v, want open", got)
	}
	f.hits.Store(0)
}

func (f *fleetUnderTest) wantStates(want breakerhttp.State) {
	f.t.Helper()
	for i, p := range f.processes {
		if s, _ := p.Snapshot(host); s.State != want {
			f.t.Errorf("process %d is %v, want %v", i, s.State, want)
		}
	}
}

// A sharedRecord is what the processes know of the host.
type sharedRecord struct {
	State  string `json:"st"`
	Millis int    `json:"d"`
	Failed []any  `json:"f"`
}

func (f *fleetUnderTest) record() (r sharedRecord) {
	f.t.Helper()
	items, err := f.store.Memory.Load(context.Background(), []string{"default/" + host})
	if err == nil && len(items[0].Value) > 0 {
		err = json.Unmarshal(items[0].Value, &r)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

// put writes a record as another process would.
func (f *fleetUnderTest) put(value string) {
	f.t.Helper()
	items, _ := f.store.Memory.Load(context.Background(), []string{"default/" + host})
	if _, swapped, err := f.store.Memory.CompareAndSwap(context.Background(), "default/"+host, items[0].Version, []byte(value), time.Hour); err != nil || !swapped {
		f.t.Fatal(swapped, err)
	}
}

// A faultyStore counts calls, and does fault before each.
type faultyStore struct {
	*storetest.Memory
	fault  atomic.Pointer[func(context.Context) error]
	loads  atomic.Int64
	writes atomic.Int64
}

func (s *faultyStore) Load(ctx context.Context, keys []string) ([]breakerhttp.Item, error) {
	s.loads.Add(1)
	if f := s.fault.Load(); f != nil {
		if err := (*f)(ctx); err != nil {
			return nil, err
		}
	}
	return s.Memory.Load(ctx, keys)
}

func (s *faultyStore) CompareAndSwap(ctx context.Context, key string, old uint64, value []byte, ttl time.Duration) (breakerhttp.Item, bool, error) {
	s.writes.Add(1)
	if f := s.fault.Load(); f != nil {
		if err := (*f)(ctx); err != nil {
			return breakerhttp.Item{}, false, err
		}
	}
	return s.Memory.CompareAndSwap(ctx, key, old, value, ttl)
}

// misbehave sets the fault; nil ends it.
func (s *faultyStore) misbehave(fault func(context.Context) error) {
	if fault == nil {
		s.fault.Store(nil)
		return
	}
	s.fault.Store(&fault)
}

// noAnswer never answers.
func noAnswer(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestFleet: two processes trip, all are open; two probe for all, one after the
// other; when the host is well all come back.
func TestFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 10)
		if refused := f.run(20 * time.Second); refused != 0 {
			t.Fatalf("%d requests to a healthy host were refused", refused)
		}
		f.hits.Store(0)
		f.status.Store(http.StatusServiceUnavailable)
		f.run(50 * time.Second)
		if hits := f.hits.Load(); hits > 60 {
			t.Errorf("got %d hits until all were open, want at most 60", hits)
		}
		f.wantStates(breakerhttp.StateOpen)
		f.hits.Store(0)
		f.run(10 * time.Minute)
		if probes := f.hits.Load(); probes < 18 || probes > 20 {
			t.Errorf("got %d probes in ten minutes, want two a minute", probes)
		}
		f.status.Store(http.StatusOK)
		f.run(70 * time.Second)
		f.wantStates(breakerhttp.StateClosed)
	})
}

// TestFleetOfOne behaves as without a store, also where the record says that
// there were more.
func TestFleetOfOne(t *testing.T) {
	for name, record := range map[string]string{"alone": "", "left alone": `{"s":1,"st":"open","d":60000,"g":1}`} {
		probes := func(shared bool) (at []string) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 0)
				start := time.Now()
				policy := breakerhttp.WithPolicy(breakerhttp.Policy{OpenGrowth: 2})
				opts := []breakerhttp.Option{policy}
				if shared {
					opts = append(opts, breakerhttp.WithStore(f.store, breakerhttp.Sharing{}))
				}
				p := newTransport(t, f, opts...)
				f.status.Store(http.StatusServiceUnavailable)
				for range 5 {
					_, _ = get(p, host)
				}
				if record != "" {
					f.put(record)
				}
				for f.hits.Store(5); time.Since(start) < 20*time.Minute; time.Sleep(100 * time.Millisecond) {
					before := f.hits.Load()
					_, _ = get(p, host)
					if f.hits.Load() > before {
						at = append(at, fmt.Sprint(time.Since(start).Round(time.Second)))
					}
				}
			})
			return at
		}
		if got, want := strings.Join(probes(true), " "), strings.Join(probes(false), " "); got != want {
			t.Errorf("%s: got probes at %s\nwant as without a store at %s", name, got, want)
		}
	}
}

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
			resp.Body, resp.ContentLength = io.NopCloser(iotest.ErrReader(errors.New("reset"))), -1
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

// TestPublished: what a request finds out is in the store when RoundTrip
// returns.
func TestPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		f.status.Store(http.StatusServiceUnavailable)
		for i, want := range []string{"suspect", "open"} {
			for range 5 {
				_, _ = get(f.processes[i], host)
			}
			if got := f.record(); got.State != want {
				t.Errorf("after trip %d the record is %+v, want %s", i+1, got, want)
			}
		}
		time.Sleep(time.Minute)
		_, _ = get(f.processes[0], host)
		if got := f.record(); got.State != "open" || got.Millis != 0 || len(got.Failed) != 1 {
			t.Errorf("after a failed probe the record is %+v", got)
		}
		f.status.Store(http.StatusOK)
		_, _ = get(f.processes[1], host)
		if got := f.record(); got.State != "closed" {
			t.Errorf("after a good probe the record is %+v", got)
		}
	})
}

// TestOneProbe: when the time is up, one of all requests of all processes goes
// out.
func TestOneProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 20)
		f.open()
		time.Sleep(time.Minute)
		f.status.Store(http.StatusOK)
		var wg sync.WaitGroup
		var admitted atomic.Int64
		for _, p := range f.processes {
			for range 5 {
				wg.Go(func() {
					if _, err := get(p, host); err == nil {
						admitted.Add(1)
					}
				})
			}
		}
		wg.Wait()
		if hits, admitted := f.hits.Load(), admitted.Load(); hits != 1 || admitted != 1 {
			t.Errorf("got %d hits and %d admitted requests, want one", hits, admitted)
		}
		f.run(4 * time.Second)
		f.wantStates(breakerhttp.StateClosed)
	})
}

// TestManyProbes: with more probes and successes than one, the process with the
// lease sends them all.
func TestManyProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, breakerhttp.WithPolicy(breakerhttp.Policy{Probes: 2, ProbeSuccesses: 3}))
		f.open()
		time.Sleep(time.Minute)
		f.status.Store(http.StatusOK)
		for range 2 {
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() { _, _ = get(f.processes[0], host) })
			}
			wg.Wait()
			if _, err := get(f.processes[1], host); !errors.Is(err, breakerhttp.ErrOpen) && f.hits.Load() < 3 {
				t.Errorf("the other process got %v, want a refusal", err)
			}
		}
		if got := f.record(); got.State != "closed" {
			t.Errorf("after %d probes the record is %+v, want closed", f.hits.Load(), got)
		}
		// The first asked alone for the lease, then two and two at a time.
		if hits := f.hits.Load(); hits < 3 || hits > 5 {
			t.Errorf("got %d probes, want 3", hits)
		}
	})
}

// TestRareProbes: probes that come so seldom that each lease runs out before the
// next close the circuit all the same.
func TestRareProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, breakerhttp.WithPolicy(breakerhttp.Policy{ProbeSuccesses: 3}))
		f.open()
		f.status.Store(http.StatusOK)
		for range 3 {
			time.Sleep(time.Minute)
			if _, err := get(f.processes[0], host); err != nil {
				t.Errorf("a probe: %v", err)
			}
		}
		if got := f.record(); got.State != "closed" {
			t.Errorf("after three probes the record is %+v, want closed", got)
		}
		wantState(t, f.processes[0], host, breakerhttp.StateClosed)
	})
}

// TestIgnoredProbe: a probe without a verdict leaves the next to anybody, at
// once.
func TestIgnoredProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		f.open()
		time.Sleep(time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, host, nil)
		time.AfterFunc(5*time.Millisecond, cancel)
		_, _ = f.processes[0].RoundTrip(req)
		if got := f.record(); got.State != "open" || got.Millis != 0 || len(got.Failed) != 0 {
			t.Errorf("after an ignored probe the record is %+v", got)
		}
		f.status.Store(http.StatusOK)
		for _, p := range []int{1, 0} {
			if _, err := get(f.processes[p], host); err != nil {
				t.Errorf("process %d got %v, want to probe", p, err)
			}
		}
		f.wantStates(breakerhttp.StateClosed)
	})
}

// A switchable RoundTripper is a process's own way to the host.
type switchable struct{ atomic.Pointer[roundTripFunc] }

func (s *switchable) RoundTrip(req *http.Request) (*http.Response, error) { return (*s.Load())(req) }

func (s *switchable) to(f roundTripFunc) { s.Store(&f) }

// newProberFleet returns a fleet whose record is open and over, and the way of
// its first process to the host.
func newProberFleet(t *testing.T, opts ...breakerhttp.Option) (*fleetUnderTest, *switchable) {
	f := newFleet(t, 0)
	way := &switchable{}
	way.to(f.RoundTrip)
	f.add(way, opts...)
	for range 3 {
		f.add(f, opts...)
	}
	f.open()
	time.Sleep(time.Minute)
	f.status.Store(http.StatusOK)
	return f, way
}

// TestDyingProber: a process that dies with the lease keeps the others out for
// no longer than that.
func TestDyingProber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, way := newProberFleet(t)
		dead := make(chan struct{})
		defer close(dead)
		way.to(func(*http.Request) (*http.Response, error) { <-dead; return nil, errNet500 })
		go get(f.processes[0], host)
		synctest.Wait()
		f.processes = f.processes[1:]
		f.run(30 * time.Second)
		f.wantStates(breakerhttp.StateOpen)
		f.run(5 * time.Second)
		f.wantStates(breakerhttp.StateClosed)
	})
}

var errNet500 = errors.New("late")

// TestFrozenProber: what a process says whose lease is over, and another's by
// now, counts for nobody, itself included.
func TestFrozenProber(t *testing.T) {
	for name, status := range map[string]int{"success": 200, "failure": 500} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, way := newProberFleet(t, breakerhttp.WithPolicy(breakerhttp.Policy{ProbeTimeout: 10 * time.Second}))
				way.to(func(req *http.Request) (*http.Response, error) {
					time.Sleep(20 * time.Second)
					return respond(status)(req)
				})
				go get(f.processes[0], host)
				synctest.Wait()
				all := f.processes
				f.processes = all[1:]
				f.status.Store(http.StatusServiceUnavailable)
				f.run(15 * time.Second)
				before := f.record()
				if before.State != "open" || before.Millis != 60000 {
					t.Fatalf("after two failed probes the record is %+v", before)
				}
				time.Sleep(10 * time.Second)
				if got := f.record(); got.State != before.State || got.Millis != before.Millis {
					t.Errorf("after the late answer the record is %+v, want %+v", got, before)
				}
				f.processes = all
				f.run(10 * time.Second)
				f.wantStates(breakerhttp.StateOpen)
			})
		})
	}
}

// TestTimedOutProbe: a probe that hangs is a failed one when somebody notices.
// Who only looks does not wait for the store.
func TestTimedOutProbe(t *testing.T) {
	for name, look := range map[string]func(*breakerhttp.Transport){
		"request":  func(p *breakerhttp.Transport) { _, _ = get(p, host) },
		"Snapshot": func(p *breakerhttp.Transport) { p.Snapshot(host) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, way := newProberFleet(t)
				dead := make(chan struct{})
				defer close(dead)
				way.to(func(*http.Request) (*http.Response, error) { <-dead; return nil, errNet500 })
				go get(f.processes[0], host)
				synctest.Wait()
				time.Sleep(30500 * time.Millisecond)
				f.store.misbehave(func(context.Context) error { time.Sleep(20 * time.Millisecond); return nil })
				before := time.Now()
				look(f.processes[0])
				if waited := time.Since(before); name == "Snapshot" && waited > 0 {
					t.Errorf("waited for %v", waited)
				}
				time.Sleep(time.Second)
				if got := f.record(); got.State != "open" || got.Millis != 0 || len(got.Failed) != 1 {
					t.Errorf("the record is %+v, want one failed", got)
				}
			})
		})
	}
}

// TestPanickingProbe: a probe that panics is a failed one, and says so to all.
func TestPanickingProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, way := newProberFleet(t)
		way.to(func(*http.Request) (*http.Response, error) { panic("base") })
		func() {
			defer func() { _ = recover() }()
			_, _ = get(f.processes[0], host)
		}()
		if got := f.record(); got.State != "open" || got.Millis != 0 || len(got.Failed) != 1 {
			t.Errorf("the record is %+v, want one failed", got)
		}
	})
}

// TestSharedProbeFilter: a process whose requests may not be probes leaves that
// to others, and comes back with them.
func TestSharedProbeFilter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		f.add(f, breakerhttp.WithProbeFilter(func(*http.Request) bool { return false }))
		f.open()
		time.Sleep(time.Minute)
		f.status.Store(http.StatusOK)
		writes := f.store.writes.Load()
		_, err := get(f.processes[2], host)
		if r := wantRefused(t, err); r.State != breakerhttp.StateHalfOpen || f.store.writes.Load() != writes {
			t.Errorf("got %+v, want half-open and no election", r)
		}
		_, _ = get(f.processes[0], host)
		f.run(4 * time.Second)
		f.wantStates(breakerhttp.StateClosed)
	})
}

// TestStoreLostInOutage: while the store is down, what was shared lasts until
// its time is up; then every process probes for itself.
func TestStoreLostInOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 4)
		f.open()
		f.run(30 * time.Second)
		f.store.misbehave(noAnswer)
		f.run(25 * time.Second)
		if hits := f.hits.Load(); hits != 0 {
			t.Errorf("got %d hits before the time was up, want none", hits)
		}
		f.run(10 * time.Second)
		if hits := f.hits.Load(); hits != 4 {
			t.Errorf("got %d hits, want a probe a process", hits)
		}
		f.status.Store(http.StatusOK)
		f.run(65 * time.Second)
		f.wantStates(breakerhttp.StateClosed)
		f.store.misbehave(nil)
		f.run(3 * time.Minute) // with its record still open, the fleet probes once more
		f.wantStates(breakerhttp.StateClosed)
		if got := f.record(); got.State != "closed" {
			t.Errorf("the record is %+v, want closed", got)
		}
	})
}

// A loadingStore keeps which keys were read at once.
type loadingStore struct {
	*storetest.Memory
	mu    sync.Mutex
	loads [][]string
}

func (s *loadingStore) Load(ctx context.Context, keys []string) ([]breakerhttp.Item, error) {
	s.mu.Lock()
	s.loads = append(s.loads, slices.Sorted(slices.Values(keys)))
	s.mu.Unlock()
	return s.Memory.Load(ctx, keys)
}

// taken returns what was read since the last time.
func (s *loadingStore) taken() [][]string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	loads := s.loads
	s.loads = nil
	return loads
}

// TestOneLoadForAll: one read is for all circuits that are due, but for those that
// have been evicted.
func TestOneLoadForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &loadingStore{Memory: storetest.NewMemory()}
		tr := newTransport(t, respond(http.StatusOK), breakerhttp.WithMaxCircuits(3), breakerhttp.WithStore(store, breakerhttp.Sharing{}))
		var kept []string
		for i := range 4 {
			_, _ = get(tr, fmt.Sprintf("http://%d.test", i))
		}
		for s := range tr.Snapshots() {
			kept = append(kept, "default/"+s.Key)
		}
		slices.Sort(kept)
		store.taken()
		time.Sleep(20 * time.Second)
		_, _ = get(tr, "http://3.test")
		if diff := cmp.Diff([][]string{kept}, store.taken()); diff != "" {
			t.Errorf("reads (-want +got):\n%s", diff)
		}
		time.Sleep(time.Second)
		_, _ = get(tr, kept[0][len("default/"):])
		_, _ = get(tr, kept[1][len("default/"):])
		if got := store.taken(); len(got) > 0 {
			t.Errorf("what was read along with others is read again: %v", got)
		}
	})
}

// TestFailingHostAsks: who has failed twice in a row asks the others before it
// sends again, a second later. One failure, and a host that is well again, make
// no request wait.
func TestFailingHostAsks(t *testing.T) {
	const read, answer = 20 * time.Millisecond, 10 * time.Millisecond
	for name, c := range map[string]struct {
		statuses []int
		open     bool // for others, by now
		want     time.Duration
	}{
		"open for others":           {[]int{503, 503}, true, read},
		"open for nobody":           {[]int{503, 503}, false, read + answer},
		"a failure":                 {[]int{503}, false, answer},
		"a success between":         {[]int{503, 200, 503}, false, answer},
		"a success since":           {[]int{503, 503, 200}, false, answer},
		"open for others, one only": {[]int{200, 503}, true, answer},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 1)
				_, _ = get(f.processes[0], host)
				time.Sleep(2 * time.Second)
				f.store.misbehave(func(context.Context) error { time.Sleep(read); return nil })
				for _, status := range c.statuses {
					f.status.Store(int64(status))
					_, _ = get(f.processes[0], host)
				}
				time.Sleep(1100 * time.Millisecond)
				if c.open {
					f.put(`{"s":1,"st":"open","d":60000,"g":1}`)
				}
				f.status.Store(http.StatusOK)
				before := time.Now()
				_, err := get(f.processes[0], host)
				if took := time.Since(before); took != c.want {
					t.Errorf("the request took %v, want %v", took, c.want)
				}
				if refused := errors.Is(err, breakerhttp.ErrOpen); refused != (c.want == read) {
					t.Errorf("the request was refused: %v", refused)
				}
				time.Sleep(read)
			})
		})
	}
}

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

// TestForceStaysLocal: what people do to one process neither reaches the others
// nor is undone by them.
func TestForceStaysLocal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3)
		f.run(10 * time.Second)
		f.processes[0].ForceOpen(host)
		f.processes[1].ForceClosed(host)
		writes := f.store.writes.Load()
		f.run(30 * time.Second)
		f.put(`{"s":1,"st":"open","d":60000,"g":1}`)
		f.run(30 * time.Second)
		for i, want := range []breakerhttp.State{breakerhttp.StateOpen, breakerhttp.StateClosed, breakerhttp.StateOpen} {
			wantState(t, f.processes[i], host, want)
		}
		f.put(`{"s":1,"st":"closed","d":0,"g":1}`)
		f.processes[2].Reset(host)
		f.status.Store(http.StatusServiceUnavailable)
		for range 20 {
			_, _ = get(f.processes[1], host)
		}
		if got := f.store.writes.Load(); got != writes {
			t.Errorf("got %d writes, want none", got-writes)
		}
	})
}

// TestSharedReset: after a Reset a process does not hear the record as it was,
// until there is a newer one.
func TestSharedReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3)
		f.open()
		f.status.Store(http.StatusOK)
		f.processes[0].Reset(host)
		for range 40 {
			if _, err := get(f.processes[0], host); err != nil {
				t.Fatalf("after a Reset: %v", err)
			}
			time.Sleep(time.Second)
		}
		wantState(t, f.processes[1], host, breakerhttp.StateOpen)
		if got := f.record(); got.State != "open" {
			t.Errorf("the record is %+v, want open", got)
		}
		f.put(`{"s":1,"st":"open","d":60000,"g":1}`)
		f.run(20 * time.Second)
		wantState(t, f.processes[0], host, breakerhttp.StateOpen)
	})
}

// TestResetDuringElection: a Reset while this process asks for the lease, or
// while it probes, closes its circuit for good.
func TestResetDuringElection(t *testing.T) {
	for name, after := range map[string]time.Duration{"load": 10 * time.Millisecond, "swap": 30 * time.Millisecond, "probe": 45 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 2)
				f.open()
				time.Sleep(time.Minute)
				f.status.Store(http.StatusOK)
				f.store.misbehave(func(context.Context) error { time.Sleep(20 * time.Millisecond); return nil })
				time.AfterFunc(after, func() { f.processes[0].Reset(host) })
				for range 100 {
					if _, err := get(f.processes[0], host); err != nil {
						t.Fatalf("after a Reset: %v", err)
					}
					time.Sleep(100 * time.Millisecond)
				}
				wantState(t, f.processes[0], host, breakerhttp.StateClosed)
				f.processes = f.processes[1:]
				f.run(35 * time.Second) // at the latest, when the lease that nobody uses is over
				f.wantStates(breakerhttp.StateClosed)
			})
		})
	}
}

// TestForceDuringElection: a circuit that is forced open while its process gets
// the lease gives that back.
func TestForceDuringElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		f.open()
		time.Sleep(time.Minute)
		f.status.Store(http.StatusOK)
		f.store.misbehave(func(context.Context) error { time.Sleep(20 * time.Millisecond); return nil })
		time.AfterFunc(10*time.Millisecond, func() { f.processes[0].ForceOpen(host) })
		_, err := get(f.processes[0], host)
		wantRefused(t, err)
		f.store.misbehave(nil)
		if got := f.record(); got.State != "open" || got.Millis != 0 {
			t.Errorf("the record is %+v, want open for the next", got)
		}
		if _, err := get(f.processes[1], host); err != nil {
			t.Errorf("the other process got %v, want to probe", err)
		}
	})
}

// TestSharedDryRun: a dry run does everything but refuse.
func TestSharedDryRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, breakerhttp.WithDryRun())
		f.open()
		if refused := f.run(50 * time.Second); refused != 0 {
			t.Errorf("%d requests were refused", refused)
		}
		f.wantStates(breakerhttp.StateOpen)
		f.status.Store(http.StatusOK)
		f.run(20 * time.Second)
		f.wantStates(breakerhttp.StateClosed)
		if got := f.record(); got.State != "closed" {
			t.Errorf("the record is %+v, want closed", got)
		}
	})
}

// TestSharedHook: a hook is told of what others have found out, with the reason
// "shared"; one that panics there stops nothing.
func TestSharedHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		hook := func(_ context.Context, tr breakerhttp.Transition) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprintf("%v→%v %s", tr.From, tr.To, tr.Reason))
			panic("hook")
		}
		var errs []error
		f := newFleet(t, 0)
		p := newTransport(t, f, breakerhttp.WithTransitionHook(hook),
			breakerhttp.WithStore(f.store, breakerhttp.Sharing{OnError: func(err error) {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}}))
		f.processes = append(f.processes, p)
		f.run(time.Second)
		f.put(`{"s":1,"st":"open","d":60000,"g":1}`)
		f.run(20 * time.Second)
		wantRefused(t, second(get(p, host)))
		func() {
			defer func() { _ = recover() }()
			f.run(time.Minute) // up to the probe, whose hook panics in the request's own goroutine
			t.Error("the hook did not panic on its way to the caller")
		}()
		mu.Lock()
		defer mu.Unlock()
		if want := "closed→open shared; open→half_open open_elapsed"; strings.Join(told, "; ") != want {
			t.Errorf("the hook was told %s, want %s", strings.Join(told, "; "), want)
		}
		if len(errs) != 1 {
			t.Errorf("got errors %v, want one for the panic that had no caller", errs)
		}
	})
}

func second[T any](_ T, err error) error { return err }

// TestWatch: a hint makes a process read at once; what it has no circuit for, or
// what is of another namespace, it leaves alone.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.processes[2].Watch(ctx) }()
		f.run(2 * time.Second)
		loads := f.store.loads.Load()
		_, _, _ = f.store.CompareAndSwap(ctx, "default/http://b.test", 0, []byte("{}"), time.Hour)
		_, _, _ = f.store.CompareAndSwap(ctx, "other/"+host, 0, []byte("{}"), time.Hour)
		synctest.Wait()
		if got := f.store.loads.Load(); got != loads {
			t.Errorf("got %d reads for records of no concern", got-loads)
		}
		f.put(`{"s":1,"st":"open","d":60000,"g":1}`)
		synctest.Wait()
		wantState(t, f.processes[0], host, breakerhttp.StateClosed)
		wantState(t, f.processes[2], host, breakerhttp.StateOpen)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch: got %v, want the context's error", err)
		}
		for name, tr := range map[string]*breakerhttp.Transport{
			"no store":   newTransport(t, f),
			"no Watcher": newTransport(t, f, breakerhttp.WithStore(lyingStore{}, breakerhttp.Sharing{})),
		} {
			if err := tr.Watch(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("Watch with %s: got %v, want ErrUnsupported", name, err)
			}
		}
	})
}

// TestSharedEviction: a circuit that was evicted reads its record anew, and what
// was read for it meanwhile does no harm.
func TestSharedEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 0)
		f.add(f, breakerhttp.WithMaxCircuits(1))
		p := f.processes[0]
		f.run(10 * time.Second)
		f.store.misbehave(func(context.Context) error { time.Sleep(40 * time.Millisecond); return nil })
		f.put(`{"s":1,"st":"open","d":60000,"g":1}`)
		time.Sleep(10 * time.Second)
		if _, err := get(p, host); err != nil { // starts a read
			t.Fatal(err)
		}
		for range 3 { // evict it before that has ended
			if _, err := get(p, "http://b.test"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if _, ok := p.Snapshot(host); ok {
			t.Fatal("the circuit is still there")
		}
		_, err := get(p, host)
		wantRefused(t, err)
	})
}

// TestNamespaces: fleets of different namespaces share nothing.
func TestNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory()
		var all []*breakerhttp.Transport
		for _, ns := range []string{"", "default", "b"} {
			all = append(all, newTransport(t, respond(500), breakerhttp.WithStore(store, breakerhttp.Sharing{Namespace: ns, Quorum: 1})))
		}
		for range 5 {
			_, _ = get(all[0], host)
		}
		_, err := get(all[1], host)
		wantRefused(t, err)
		if _, err := get(all[2], host); err != nil {
			t.Errorf("in another namespace: %v", err)
		}
	})
}

// TestBrokenStore: whatever the store does, no request fails for it, and none to
// a healthy host waits for it, but the first ones for ReadTimeout.
func TestBrokenStore(t *testing.T) {
	for name, fault := range map[string]func(context.Context) error{
		"error":      func(context.Context) error { return errors.New("down") },
		"black hole": noAnswer,
		"panic":      func(context.Context) error { panic("store") },
		"Goexit":     func(context.Context) error { runtime.Goexit(); return nil },
		"slow":       func(context.Context) error { time.Sleep(49 * time.Millisecond); return nil },
		"heedless":   func(context.Context) error { time.Sleep(time.Minute); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 1)
				f.store.misbehave(fault)
				send := func(allowed time.Duration) {
					before := time.Now()
					status, err := get(f.processes[0], host)
					if waited := time.Since(before) - 10*time.Millisecond; err != nil || status != http.StatusOK || waited > allowed {
						t.Fatalf("got %d, %v after waiting for %v; want 200 after %v at most", status, err, waited, allowed)
					}
				}
				var wg sync.WaitGroup
				for range 20 {
					wg.Go(func() { send(50 * time.Millisecond) })
				}
				wg.Wait()
				for range 1000 {
					send(0)
					time.Sleep(490 * time.Millisecond)
				}
				f.status.Store(http.StatusServiceUnavailable)
				for range 5 {
					before := time.Now()
					_, _ = get(f.processes[0], host)
					if took := time.Since(before); took > 110*time.Millisecond {
						t.Errorf("a failing request took %v, want at most WriteTimeout more", took)
					}
				}
				wantState(t, f.processes[0], host, breakerhttp.StateOpen)
				time.Sleep(time.Minute)
				f.status.Store(http.StatusOK)
				send(250 * time.Millisecond) // the probe: an election and a verdict
				wantState(t, f.processes[0], host, breakerhttp.StateClosed)
				time.Sleep(time.Hour) // for what is late to end
			})
		})
	}
}

// A lyingStore says something of its own.
type lyingStore struct {
	breakerhttp.Item
	none bool // not even as many items as were asked for
}

func (s lyingStore) Load(_ context.Context, keys []string) ([]breakerhttp.Item, error) {
	if s.none {
		return nil, nil
	}
	items := make([]breakerhttp.Item, len(keys))
	for i := range items {
		items[i] = s.Item
	}
	return items, nil
}

func (s lyingStore) CompareAndSwap(context.Context, string, uint64, []byte, time.Duration) (breakerhttp.Item, bool, error) {
	return s.Item, false, nil
}

// TestLyingStore: no lie of the store keeps a circuit open for longer than
// MaxOpenFor.
func TestLyingStore(t *testing.T) {
	value := func(s string) lyingStore { return lyingStore{Item: breakerhttp.Item{Value: []byte(s), Version: 7}} }
	for name, store := range map[string]breakerhttp.Store{
		"garbage":         value("\x00"),
		"unknown schema":  value(`{"s":2,"st":"open","d":60000}`),
		"unknown state":   value(`{"s":1,"st":"ajar","d":60000}`),
		"open for years":  value(`{"s":1,"st":"open","d":315360000000,"g":1}`),
		"lease for years": value(`{"s":1,"st":"half","d":315360000000,"g":1}`),
		"open for ever":   value(`{"s":1,"st":"open","d":9223372036854775807,"g":9223372036854775807}`),
		"never younger":   lyingStore{Item: breakerhttp.Item{Value: []byte(`{"s":1,"st":"open","d":60000}`), Version: 7, Age: math.MinInt64}},
		"far future":      lyingStore{Item: breakerhttp.Item{Value: []byte(`{"s":1,"st":"half","d":1}`), Version: math.MaxUint64, Age: math.MaxInt64}},
		"no version":      lyingStore{Item: breakerhttp.Item{Value: []byte(`{"s":1,"st":"open","d":0}`)}},
		"nothing":         lyingStore{none: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := newTransport(t, respond(200), breakerhttp.WithStore(store, breakerhttp.Sharing{OnError: func(error) {}}))
				good := time.Now()
				for start := time.Now(); time.Since(start) < time.Hour; time.Sleep(500 * time.Millisecond) {
					if _, err := get(tr, host); err == nil {
						good = time.Now()
					}
					if gap := time.Since(good); gap > 5*time.Minute+time.Second {
						t.Fatalf("no request was admitted for %v", gap)
					}
				}
			})
		})
	}
}

// TestStoreErrors: a failing store is counted each time and reported once a
// second; a report that panics hurts nobody.
func TestStoreErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{Memory: storetest.NewMemory()}
		store.misbehave(func(context.Context) error { return errors.New("down") })
		var reports []error
		sharing := breakerhttp.Sharing{OnError: func(err error) {
			reports = append(reports, err)
			panic("report")
		}}
		tr, reader := newMetered(t, respond(500), breakerhttp.WithStore(store, sharing))
		for range 5 {
			_, _ = get(tr, host)
		}
		synctest.Wait()
		want := points{
			series("store.errors", "operation=load"):             2,
			series("store.errors", "operation=compare_and_swap"): 1,
			series("store.errors", "operation=record"):           0, // announced
			series("store.errors", "operation=adopt"):            0,
		}
		if diff := cmp.Diff(want, collectPoints(t, reader).of("store.errors")); diff != "" {
			t.Errorf("store errors (-want +got):\n%s", diff)
		}
		if len(reports) != 1 {
			t.Errorf("got reports %v, want one in a second", reports)
		}
		time.Sleep(time.Minute)
		_, _ = get(tr, host)
		synctest.Wait()
		if len(reports) != 2 {
			t.Errorf("got reports %v, want another a minute later", reports)
		}
	})
}

// TestNothingIsAllocatedWithStore: nor does sharing cost a healthy request
// anything that is allocated.
func TestNothingIsAllocatedWithStore(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool allocate")
	}
	resp := &http.Response{StatusCode: 200, Body: http.NoBody}
	base := roundTripFunc(func(*http.Request) (*http.Response, error) { return resp, nil })
	sharing := breakerhttp.Sharing{Refresh: time.Hour}
	tr := newTransport(t, base, breakerhttp.WithStore(storetest.NewMemory(), sharing))
	req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, host, nil)
	if n := testing.AllocsPerRun(1000, func() { _, _ = tr.RoundTrip(req) }); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}
