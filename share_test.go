package breakerhttp_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
	"unicode/utf8"

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

// add adds a process with a network path of its own to the host.
func (f *fleetUnderTest) add(base http.RoundTripper, opts ...breakerhttp.Option) *breakerhttp.Transport {
	f.t.Helper()
	p := newTransport(f.t, base, append([]breakerhttp.Option{breakerhttp.WithStore(f.store, breakerhttp.Sharing{OnError: func(error) {}, Instance: fmt.Sprint("pod-", len(f.processes))})}, opts...)...)
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
	items, err := f.store.Memory.Load(context.Background(), []string{f.store.place("default/" + host)})
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
	items, _ := f.store.Memory.Load(context.Background(), []string{f.store.place("default/" + host)})
	if _, swapped, err := f.store.Memory.CompareAndSwap(context.Background(), f.store.place("default/"+host), items[0].Version, []byte(value), time.Hour); err != nil || !swapped {
		f.t.Fatal(swapped, err)
	}
}

// A faultyStore counts calls, and does fault before each.
type faultyStore struct {
	*storetest.Memory
	fault    atomic.Pointer[func(context.Context) error]
	readOnly atomic.Bool // it refuses writes
	flushes  atomic.Int64
	loads    atomic.Int64
	writes   atomic.Int64
}

func (s *faultyStore) Load(ctx context.Context, keys []string) ([]breakerhttp.Item, error) {
	s.loads.Add(1)
	if f := s.fault.Load(); f != nil {
		if err := (*f)(ctx); err != nil {
			return nil, err
		}
	}
	places := make([]string, len(keys))
	for i, key := range keys {
		places[i] = s.place(key)
	}
	return s.Memory.Load(ctx, places)
}

func (s *faultyStore) CompareAndSwap(ctx context.Context, key string, old uint64, value []byte, ttl time.Duration) (breakerhttp.Item, bool, error) {
	s.writes.Add(1)
	if s.readOnly.Load() {
		return breakerhttp.Item{}, false, errors.New("READONLY You can't write against a read only replica.")
	}
	if f := s.fault.Load(); f != nil {
		if err := (*f)(ctx); err != nil {
			return breakerhttp.Item{}, false, err
		}
	}
	return s.Memory.CompareAndSwap(ctx, s.place(key), old, value, ttl)
}

// flush loses all records.
func (s *faultyStore) flush() { s.flushes.Add(1) }

// place is where the Memory has a record: each flush begins another one.
func (s *faultyStore) place(key string) string {
	return strings.Repeat("flushed ", int(s.flushes.Load())) + key
}

// Watch implements [breakerhttp.Watcher].
func (s *faultyStore) Watch(ctx context.Context, changed func(string)) error {
	return s.Memory.Watch(ctx, func(key string) { changed(strings.ReplaceAll(key, "flushed ", "")) })
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

// TestFleet: two processes trip, and all circuits open. Two processes probe for all, one after the
// other. When the host has recovered, all circuits close.
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

// TestFleetOfOne: a single process behaves as without a store, even if other processes have left an
// open record.
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

// TestEveryRuleVotes: whichever rule opens a circuit, the process votes.
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

// TestOutageCutShort: an outage of an adaptive circuit that a person, or another policy, ends before
// it has lasted a second is no vote.
func TestOutageCutShort(t *testing.T) {
	for name, end := range map[string]func(*breakerhttp.Transport){
		"Reset":       func(tr *breakerhttp.Transport) { tr.Reset(host) },
		"ForceOpen":   func(tr *breakerhttp.Transport) { tr.ForceOpen(host) },
		"ForceClosed": func(tr *breakerhttp.Transport) { tr.ForceClosed(host) },
		"SetPolicies": func(tr *breakerhttp.Transport) { _ = tr.SetPolicies(breakerhttp.Policy{}, nil) },
	} {
		for lasted, votes := range map[time.Duration]int64{900 * time.Millisecond: 0, time.Second: 1} {
			t.Run(fmt.Sprintf("%s after %v", name, lasted), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFleet(t, 1, breakerhttp.WithPolicy(breakerhttp.Policy{Adaptive: true}))
					f.status.Store(http.StatusServiceUnavailable)
					for range 12 {
						_, _ = get(f.processes[0], host)
					}
					wantState(t, f.processes[0], host, breakerhttp.StateOpen)
					time.Sleep(lasted)
					end(f.processes[0])
					if got := f.store.writes.Load(); got != votes {
						t.Errorf("got %d votes, want %d", got, votes)
					}
				})
			})
		}
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
		req := newRequest(t, ctx, host)
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

// TestPanickingProbe: a probe that panics has failed, and the process publishes that.
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
		if refused := f.run(3 * time.Minute); refused > 0 { // by its record, which nobody has closed
			t.Errorf("%d requests to a healthy host were refused", refused)
		}
		f.wantStates(breakerhttp.StateClosed)
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

// TestOneLoadForAll: one read is for all circuits that are due, except those that
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
// sends again, a second later. One failure, and a host that has recovered, make
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
		req := newRequest(t, t.Context(), host)
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
		req := newRequest(t, ctx, host)
		if _, err := f.processes[0].RoundTrip(req); err != nil {
			t.Errorf("got %v, want the answer that the host gives in 10ms", err)
		}
		time.Sleep(time.Second)
	})
}

// TestProbeWithLittleTime: a slow store does not keep requests with short deadlines from probing.
func TestProbeWithLittleTime(t *testing.T) {
	for _, latency := range []time.Duration{5 * time.Millisecond, 25 * time.Millisecond, 30 * time.Millisecond, 45 * time.Millisecond, time.Minute} {
		t.Run(latency.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 2)
				f.open()
				f.status.Store(http.StatusOK)
				f.store.misbehave(func(ctx context.Context) error {
					select {
					case <-time.After(latency):
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				})
				time.Sleep(61 * time.Second)
				for range 20 {
					for _, p := range f.processes {
						ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
						_, _ = p.RoundTrip(newRequest(t, ctx, host))
						cancel()
					}
					time.Sleep(250 * time.Millisecond)
				}
				f.wantStates(breakerhttp.StateClosed)
			})
		})
	}
}

// TestSharedRecoveryHasASeries: a circuit goes from open to closed if another process has probed. That
// series exists from the start, too, so that monitoring sees the first time as an increase.
func TestSharedRecoveryHasASeries(t *testing.T) {
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

// TestSharedDryRun: a dry run reads what others know, refuses nothing, and writes nothing.
func TestSharedDryRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, breakerhttp.WithDryRun())
		f.status.Store(http.StatusServiceUnavailable)
		if refused := f.run(50 * time.Second); refused != 0 {
			t.Errorf("%d requests were refused", refused)
		}
		f.wantStates(breakerhttp.StateOpen)
		f.run(2 * time.Minute) // probes fail
		f.status.Store(http.StatusOK)
		f.run(70 * time.Second)
		f.wantStates(breakerhttp.StateClosed)
		if got := f.store.writes.Load(); got != 0 {
			t.Errorf("got %d writes, want none", got)
		}
		f.put(`{"s":1,"st":"open","d":60000,"g":1}`)
		f.run(20 * time.Second)
		f.wantStates(breakerhttp.StateOpen)
		f.run(time.Minute) // each probes for itself
		f.wantStates(breakerhttp.StateClosed)
		if got := f.store.writes.Load(); got != 0 {
			t.Errorf("got %d writes, want none", got)
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
		time.Sleep(5 * time.Millisecond)
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

// TestSharedEviction: a circuit that was evicted reads its record again, and what
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

// TestEvictionDuringFirstRead: requests whose circuits push each other out while they wait for the
// store wait only once.
func TestEvictionDuringFirstRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 0)
		f.store.misbehave(func(context.Context) error { time.Sleep(30 * time.Millisecond); return nil })
		p := f.add(f, breakerhttp.WithMaxCircuits(1))
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				start := time.Now()
				if _, err := get(p, fmt.Sprintf("http://%d.test", i)); err != nil {
					t.Error(err)
				}
				if took := time.Since(start); took > 60*time.Millisecond {
					t.Errorf("request %d took %v, want at most ReadTimeout and the 10ms of its host", i, took)
				}
			})
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		if n := f.store.loads.Load(); n > 5 {
			t.Errorf("5 requests made %d reads", n)
		}
		f.store.misbehave(nil)
		wg.Wait()
	})
}

// TestSharingIsValidated: New names all that is wrong with the Sharing.
func TestSharingIsValidated(t *testing.T) {
	for _, c := range []struct {
		sharing breakerhttp.Sharing
		want    []string
	}{
		{breakerhttp.Sharing{Quorum: 21, Refresh: -1, ReadTimeout: -2, WriteTimeout: -3}, []string{
			"Sharing.Quorum is 21, want 0 to 20", "Sharing.Refresh is -1ns", "Sharing.ReadTimeout is -2ns", "Sharing.WriteTimeout is -3ns",
		}},
		{breakerhttp.Sharing{Quorum: -1}, []string{"Sharing.Quorum is -1"}},
		{breakerhttp.Sharing{Namespace: strings.Repeat("/", 256)}, []string{"Sharing.Namespace has 256 bytes"}},
		{breakerhttp.Sharing{Namespace: "a\xff"}, []string{"Sharing.Namespace has 2 bytes, want at most 255, of valid UTF-8"}},
	} {
		_, err := breakerhttp.New(nil, breakerhttp.WithStore(storetest.NewMemory(), c.sharing))
		wantError(t, err, c.want)
	}
	longest := breakerhttp.Sharing{Quorum: 20, Namespace: strings.Repeat("/", 255)}
	if _, err := breakerhttp.New(nil, breakerhttp.WithStore(storetest.NewMemory(), longest)); err != nil {
		t.Error(err)
	}
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

// A lyingStore returns records of its own.
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

// A reportLog keeps what is reported.
type reportLog struct {
	mu   sync.Mutex
	errs []error
}

func (l *reportLog) add(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
}

func (l *reportLog) all() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.errs)
}

// TestStoreErrors: a failing store is counted each time and reported once a
// second; a report that panics hurts nobody.
func TestStoreErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{Memory: storetest.NewMemory()}
		store.misbehave(func(context.Context) error { return errors.New("down") })
		var reports reportLog
		sharing := breakerhttp.Sharing{OnError: func(err error) {
			reports.add(err)
			panic("report")
		}}
		tr, reader := newMetered(t, respond(500), breakerhttp.WithStore(store, sharing))
		for range 5 {
			_, _ = get(tr, host)
		}
		synctest.Wait()
		want := points{
			series("store.errors", "store.operation=load"):             2,
			series("store.errors", "store.operation=compare_and_swap"): 1,
			series("store.errors", "store.operation=record"):           0, // announced
			series("store.errors", "store.operation=adopt"):            0,
			series("store.errors", "store.operation=watch"):            0,
		}
		if diff := cmp.Diff(want, collectPoints(t, reader).of("store.errors")); diff != "" {
			t.Errorf("store errors (-want +got):\n%s", diff)
		}
		if got := reports.all(); len(got) != 1 {
			t.Errorf("got reports %v, want one in a second", got)
		}
		time.Sleep(time.Minute)
		_, _ = get(tr, host)
		synctest.Wait()
		if got := reports.all(); len(got) != 2 {
			t.Errorf("got reports %v, want another a minute later", got)
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
	req := newRequest(t, context.Background(), host)
	if n := testing.AllocsPerRun(1000, func() { _, _ = tr.RoundTrip(req) }); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

// TestReadOnlyStore: with a store that reads and refuses writes, a host that has recovered does not
// flap.
func TestReadOnlyStore(t *testing.T) {
	for name, until := range map[string]time.Duration{"open": time.Second, "suspect": 0, "probing": 61 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 2)
				f.status.Store(http.StatusServiceUnavailable)
				if until > 0 {
					f.open()
				} else {
					for range 5 {
						_, _ = get(f.processes[0], host)
					}
				}
				f.run(until)
				f.store.readOnly.Store(true)
				f.run(2 * time.Minute)
				f.status.Store(http.StatusOK)
				f.run(65 * time.Second)
				f.add(f) // and a process that starts now
				const minutes = 20
				if refused := f.run(minutes * time.Minute); refused > minutes*60*6*3/100 {
					t.Errorf("%d of %d requests to a healthy host were refused, want at most 3%%", refused, minutes*60*6)
				}
				f.wantStates(breakerhttp.StateClosed)
			})
		})
	}
}

// TestDeadRecord: a record of yesterday keeps no process from sending requests.
func TestDeadRecord(t *testing.T) {
	for _, record := range []string{`{"s":1,"st":"open","d":60000,"g":1}`, `{"s":1,"st":"half","d":31000,"g":1}`, `{"s":1,"st":"open","d":0,"g":1}`} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, 0)
			f.put(record)
			time.Sleep(20 * time.Hour)
			f.add(f, breakerhttp.WithProbeFilter(func(req *http.Request) bool { return req.Method == http.MethodGet }))
			for range 600 {
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, host, nil)
				if _, err := f.processes[0].RoundTrip(req); err != nil {
					t.Fatalf("a POST to a healthy host, with record %s: %v", record, err)
				}
				time.Sleep(time.Second)
			}
		})
	}
}

// TestFlushInOutage: when the store loses all records in an outage, a vote closes nothing.
func TestFlushInOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 20)
		for _, p := range f.processes {
			go p.Watch(t.Context())
		}
		f.run(5 * time.Second)
		f.open()
		f.store.flush()
		p := f.add(f)
		for range 5 {
			_, _ = get(p, host)
		}
		if got := f.record(); got.State != "suspect" {
			t.Fatalf("the record is %+v, want suspect", got)
		}
		time.Sleep(10 * time.Millisecond)
		f.hits.Store(0)
		f.run(20 * time.Second)
		f.wantStates(breakerhttp.StateOpen)
		if hits := f.hits.Load(); hits > 0 {
			t.Errorf("got %d hits on a dead host", hits)
		}
	})
}

// TestOneVoteAfterRecovery: one vote does not keep the growth of an outage for ever.
func TestOneVoteAfterRecovery(t *testing.T) {
	for name, vote := range map[string]bool{"no vote": false, "one vote": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 2, breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: 10 * time.Second, OpenGrowth: 2}))
				f.open()
				f.run(6 * time.Minute)
				f.status.Store(http.StatusOK)
				f.run(6 * time.Minute)
				f.wantStates(breakerhttp.StateClosed)
				if vote {
					f.status.Store(http.StatusServiceUnavailable)
					for range 5 {
						_, _ = get(f.processes[0], host)
					}
					f.status.Store(http.StatusOK)
				}
				f.run(2 * time.Hour)
				f.open()
				if got := f.record(); got.Millis != 10_000 {
					t.Errorf("the record is %+v, want 10s", got)
				}
			})
		})
	}
}

// TestResetEverywhere: processes that have been reset share what they find out afterwards.
func TestResetEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		f.open()
		f.status.Store(http.StatusOK)
		for _, p := range f.processes {
			p.Reset(host)
		}
		f.run(time.Minute)
		f.wantStates(breakerhttp.StateClosed)
		for range 4 {
			f.run(20 * time.Minute)
			f.open()
			f.status.Store(http.StatusOK)
			f.run(70 * time.Second)
			f.wantStates(breakerhttp.StateClosed)
		}
	})
}

// TestResetReadsSoon: a process that was reset reads a new record within Refresh.
func TestResetReadsSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		f.put(`{"s":1,"st":"open","d":300000,"g":1}`)
		p := f.processes[0]
		_, _ = get(p, host)
		p.Reset(host)
		_, _ = get(p, host)
		time.Sleep(100 * time.Millisecond)
		f.put(`{"s":1,"st":"open","d":60000,"g":1}`)
		for start := time.Now(); ; time.Sleep(200 * time.Millisecond) {
			if _, err := get(p, host); errors.Is(err, breakerhttp.ErrOpen) {
				break
			}
			if waited := time.Since(start); waited > 10*time.Second+200*time.Millisecond {
				t.Fatalf("the new record was not heard in %v", waited)
			}
		}
	})
}

// TestResetFleet closes the circuit for all.
func TestResetFleet(t *testing.T) {
	t.Run("open", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, 3)
			f.open()
			f.processes[2].ForceOpen(host)
			go f.processes[1].Watch(t.Context())
			late := f.add(f)
			_, _ = get(late, host)
			synctest.Wait()
			f.status.Store(http.StatusOK)
			if err := f.processes[0].ResetFleet(t.Context(), host); err != nil {
				t.Fatal(err)
			}
			wantState(t, f.processes[0], host, breakerhttp.StateClosed)
			if got := f.record(); got.State != "closed" {
				t.Errorf("the record is %+v, want closed", got)
			}
			time.Sleep(5 * time.Millisecond)
			synctest.Wait()
			wantState(t, f.processes[1], host, breakerhttp.StateClosed)
			time.Sleep(time.Minute)
			_, _ = get(late, host) // who does not watch hears it when the old open time is over
			wantState(t, late, host, breakerhttp.StateClosed)
			wantState(t, f.processes[2], host, breakerhttp.StateOpen) // as a person wants
		})
	})
	t.Run("without a circuit, and over nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, 2)
			f.status.Store(http.StatusServiceUnavailable)
			for range 5 {
				_, _ = get(f.processes[1], host)
			}
			f.store.flush()
			f.status.Store(http.StatusOK)
			time.Sleep(time.Second)
			if err := f.processes[0].ResetFleet(t.Context(), host); err != nil {
				t.Fatal(err)
			}
			if got := f.record(); got.State != "closed" {
				t.Errorf("the record is %+v, want closed", got)
			}
			time.Sleep(60 * time.Second)
			_, _ = get(f.processes[1], host)
			wantState(t, f.processes[1], host, breakerhttp.StateClosed)
		})
	})
	t.Run("the store fails", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, 1)
			f.open1()
			f.store.readOnly.Store(true)
			err := f.processes[0].ResetFleet(t.Context(), host)
			if err == nil || !strings.Contains(err.Error(), "READONLY") || !strings.Contains(err.Error(), host) {
				t.Errorf("got %v, want the store's error", err)
			}
			wantState(t, f.processes[0], host, breakerhttp.StateClosed) // here all the same
		})
	})
	t.Run("not shared", func(t *testing.T) {
		f := newFleet(t, 1)
		for name, c := range map[string]struct {
			tr  *breakerhttp.Transport
			key string
		}{
			"no store":  {newTransport(t, respond(200)), host},
			"localhost": {f.processes[0], "http://localhost:8080"},
		} {
			c.tr.ForceOpen(c.key)
			if err := c.tr.ResetFleet(t.Context(), c.key); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			wantState(t, c.tr, c.key, breakerhttp.StateClosed)
		}
		if err := f.processes[0].ResetFleet(t.Context(), ""); err != nil {
			t.Errorf("no key: %v", err)
		}
		if got := f.store.writes.Load(); got != 0 {
			t.Errorf("got %d writes, want none", got)
		}
	})
}

// open1 takes the host down until the circuit of the first process is open.
func (f *fleetUnderTest) open1() {
	f.t.Helper()
	f.status.Store(http.StatusServiceUnavailable)
	for range 5 {
		_, _ = get(f.processes[0], host)
	}
	wantState(f.t, f.processes[0], host, breakerhttp.StateOpen)
}

// TestControlsOnProber: a person who takes control of the process that probes does not keep the
// others out.
func TestControlsOnProber(t *testing.T) {
	for name, control := range map[string]func(*breakerhttp.Transport, string){
		"ForceOpen":   (*breakerhttp.Transport).ForceOpen,
		"ForceClosed": (*breakerhttp.Transport).ForceClosed,
		"Reset":       (*breakerhttp.Transport).Reset,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, way := newProberFleet(t)
				way.to(func(*http.Request) (*http.Response, error) { time.Sleep(20 * time.Second); return nil, errNet500 })
				go get(f.processes[0], host)
				synctest.Wait()
				if got := f.record(); got.State != "half" {
					t.Fatalf("the record is %+v, want half", got)
				}
				control(f.processes[0], host)
				if got := f.record(); got.State != "open" || got.Millis != 0 || len(got.Failed) != 0 {
					t.Errorf("the record is %+v, want open for the next", got)
				}
				if _, err := get(f.processes[1], host); err != nil {
					t.Errorf("the next process got %v, want to probe", err)
				}
				time.Sleep(20 * time.Second) // the late answer counts for nothing
				if got := f.record(); got.State != "closed" {
					t.Errorf("the record is %+v, want closed", got)
				}
			})
		})
	}
}

// TestControlsAreBounded: a person who controls a circuit whose probe has just timed out waits for
// one write, whether the process has the lease or not, and the verdict stands.
func TestControlsAreBounded(t *testing.T) {
	for name, control := range map[string]func(*breakerhttp.Transport, string){
		"ForceOpen":   (*breakerhttp.Transport).ForceOpen,
		"ForceClosed": (*breakerhttp.Transport).ForceClosed,
		"Reset":       (*breakerhttp.Transport).Reset,
	} {
		for _, leased := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, leased %v", name, leased), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f, way := newProberFleet(t, breakerhttp.WithPolicy(breakerhttp.Policy{ProbeTimeout: 10 * time.Second}))
					dead := make(chan struct{})
					defer close(dead)
					way.to(func(*http.Request) (*http.Response, error) { <-dead; return nil, errNet500 })
					if !leased {
						f.store.flush()
					}
					go get(f.processes[0], host)
					synctest.Wait()
					if got := f.record().State; leased != (got == "half") {
						t.Fatalf("the record is %s", got)
					}
					time.Sleep(10 * time.Second)
					f.store.misbehave(noAnswer)
					before := time.Now()
					control(f.processes[0], host)
					if waited := time.Since(before); waited > 100*time.Millisecond {
						t.Errorf("waited for %v, want at most WriteTimeout", waited)
					}
					f.store.misbehave(nil)
					way.to(respond(200))
					_, _ = get(f.processes[0], host) // reads the record, and then publishes
					synctest.Wait()
					if got := f.record(); leased && (got.State != "open" || len(got.Failed) != 1) { // a lone probe is a vote
						t.Errorf("the record is %+v, want one failed", got)
					}
				})
			})
		}
	}
}

// TestProbesOfOthersTimeOut: a request whose probe closes its circuit lets others probe too. If it
// finds that the probes of others have timed out, it does not wait until that is published.
func TestProbesOfOthersTimeOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 0)
		way := &switchable{}
		way.to(func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNREFUSED })
		p := newTransport(t, way, breakerhttp.WithStore(f.store, breakerhttp.Sharing{Quorum: 1}))
		url := func(i int) string { return fmt.Sprintf("http://h%d.test", i) }
		const last = 20
		for i := range last + 1 {
			for range 5 {
				_, _ = get(p, url(i))
			}
		}
		time.Sleep(time.Minute)
		dead := make(chan struct{})
		defer close(dead)
		way.to(func(*http.Request) (*http.Response, error) { <-dead; return nil, errNet500 })
		for i := range last {
			go get(p, url(i))
			synctest.Wait()
		}
		time.Sleep(30 * time.Second)
		way.to(respond(200))
		f.store.misbehave(func(context.Context) error { time.Sleep(20 * time.Millisecond); return nil })
		before, writes := time.Now(), f.store.writes.Load()
		if _, err := get(p, url(last)); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(before); waited > 60*time.Millisecond {
			t.Errorf("waited for %v, want for a read and two writes", waited)
		}
		time.Sleep(time.Second)
		if got := f.store.writes.Load() - writes; got < 10 {
			t.Errorf("got %d writes, want the lease, the verdict, and those of the others", got)
		}
	})
}

// TestLimitedProbe: a probe that is answered with a limit is no verdict for the other processes. It
// closes an adaptive circuit of its own process, which stays closed.
func TestLimitedProbe(t *testing.T) {
	for name, test := range map[string]struct {
		policy     breakerhttp.Policy
		retryAfter string
		want       breakerhttp.State
	}{
		"classic":                     {breakerhttp.Policy{}, "", breakerhttp.StateHalfOpen},
		"classic with a Retry-After":  {breakerhttp.Policy{}, "5", breakerhttp.StateOpen},
		"adaptive":                    {breakerhttp.Policy{Adaptive: true}, "", breakerhttp.StateClosed},
		"adaptive with a Retry-After": {breakerhttp.Policy{Adaptive: true}, "5", breakerhttp.StateOpen},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 0)
				way := &switchable{}
				way.to(respond(200))
				opts := []breakerhttp.Option{breakerhttp.WithClassifier(breakerhttp.LimitedStatus(429)), breakerhttp.WithPolicy(test.policy)}
				f.add(way, opts...)
				f.add(f, opts...)
				_, _ = get(f.processes[0], host)
				f.put(`{"s":1,"st":"open","d":20000,"g":1}`)
				time.Sleep(15 * time.Second)
				_, _ = get(f.processes[0], host) // has the record read
				time.Sleep(10 * time.Second)
				way.to(func(req *http.Request) (*http.Response, error) {
					if got := f.record(); got.State != "half" {
						t.Errorf("during the probe the record is %+v, want half", got)
					}
					resp, err := respond(429)(req)
					resp.Header.Set("Retry-After", test.retryAfter)
					return resp, err
				})
				if _, err := get(f.processes[0], host); err != nil {
					t.Fatal(err)
				}
				wantState(t, f.processes[0], host, test.want)
				if got := f.record(); got.State != "open" || got.Millis != 0 || len(got.Failed) != 0 {
					t.Errorf("the record is %+v, want open for the next", got)
				}
				way.to(respond(200))
				if test.want == breakerhttp.StateClosed {
					for range 20 {
						time.Sleep(time.Second)
						_, _ = get(f.processes[0], host)
						wantState(t, f.processes[0], host, breakerhttp.StateClosed)
					}
					if got := f.record(); got.State != "open" {
						t.Errorf("the record is %+v, want that this process has not probed again", got)
					}
				}
				if _, err := get(f.processes[1], host); err != nil {
					t.Errorf("the next process got %v, want to probe", err)
				}
				if got := f.record(); got.State != "closed" {
					t.Errorf("the record is %+v, want closed", got)
				}
			})
		})
	}
}

// TestPolicyDuringLostVerdict: a probe whose policy becomes adaptive while it is in flight fails, and
// its verdict is lost. That is no vote.
func TestPolicyDuringLostVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, way := newProberFleet(t)
		answered := make(chan struct{})
		way.to(func(req *http.Request) (*http.Response, error) { <-answered; return respond(503)(req) })
		go get(f.processes[0], host)
		synctest.Wait()
		_ = f.processes[0].SetPolicies(breakerhttp.Policy{Adaptive: true}, nil)
		f.put(`{"s":1,"st":"closed","d":0,"g":1}`)
		writes := f.store.writes.Load()
		close(answered)
		synctest.Wait()
		if got := f.store.writes.Load() - writes; got != 1 || f.record().State != "closed" {
			t.Errorf("got %d writes, and the record is %+v, want the lost verdict alone", got, f.record())
		}
	})
}

// TestOvertakenProbe: a circuit that changes its state while its process holds the lease, but not
// because of the probe, gives the lease up.
func TestOvertakenProbe(t *testing.T) {
	wantNext := func(t *testing.T, f *fleetUnderTest) {
		t.Helper()
		if got := f.record(); got.State != "open" || got.Millis != 0 || len(got.Failed) != 0 {
			t.Errorf("the record is %+v, want open for the next", got)
		}
		if _, err := get(f.processes[1], host); err != nil {
			t.Errorf("the next process got %v, want to probe", err)
		}
	}
	t.Run("limited", func(t *testing.T) { // while another probe is in flight
		synctest.Test(t, func(t *testing.T) {
			f, way := newProberFleet(t, breakerhttp.WithClassifier(breakerhttp.LimitedStatus(429)), breakerhttp.WithPolicy(breakerhttp.Policy{Probes: 2}))
			way.to(func(req *http.Request) (*http.Response, error) { time.Sleep(time.Second); return respond(200)(req) })
			go get(f.processes[0], host)
			synctest.Wait()
			way.to(func(req *http.Request) (*http.Response, error) {
				resp, err := respond(429)(req)
				resp.Header.Set("Retry-After", "5")
				return resp, err
			})
			_, _ = get(f.processes[0], host)
			wantNext(t, f)
			time.Sleep(time.Second) // the late answer counts for nothing
		})
	})
	t.Run("late answers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, 0)
			way := &switchable{}
			way.to(f.RoundTrip)
			f.add(way, breakerhttp.WithPolicy(breakerhttp.Policy{Adaptive: true}))
			f.add(f)
			f.run(20 * time.Second)
			hang := func() (answer func()) {
				answered := make(chan struct{})
				way.to(func(req *http.Request) (*http.Response, error) { <-answered; return respond(200)(req) })
				return func() { close(answered) }
			}
			answerLate := hang()
			for range 60 {
				go get(f.processes[0], host)
			}
			time.Sleep(time.Second)
			_, err := get(f.processes[0], host)
			wantRefused(t, err) // opened by silence
			f.put(`{"s":1,"st":"open","d":0,"g":1}`)
			time.Sleep(2 * time.Second)
			defer hang()() // the probe
			go get(f.processes[0], host)
			synctest.Wait()
			if got := f.record(); got.State != "half" {
				t.Fatalf("the record is %+v, want half", got)
			}
			answerLate()
			synctest.Wait()
			wantState(t, f.processes[0], host, breakerhttp.StateClosed)
			wantNext(t, f)
		})
	})
}

// A shardedStore fails for the keys that its shard holds.
type shardedStore struct {
	*faultyStore
	fails func(key string) bool
}

var errShard = errors.New("CLUSTERDOWN Hash slot not served")

func (s shardedStore) Load(ctx context.Context, keys []string) ([]breakerhttp.Item, error) {
	items, err := s.faultyStore.Load(ctx, keys)
	for i, key := range keys {
		if err == nil && s.fails(key) {
			items[i] = breakerhttp.Item{Err: errShard}
		}
	}
	return items, err
}

func (s shardedStore) CompareAndSwap(ctx context.Context, key string, old uint64, value []byte, ttl time.Duration) (breakerhttp.Item, bool, error) {
	if s.fails(key) {
		s.writes.Add(1)
		return breakerhttp.Item{Err: errShard}, false, nil
	}
	return s.faultyStore.CompareAndSwap(ctx, key, old, value, ttl)
}

// TestOneShardDown: what is on the shards that are up is shared, and the other records are left alone.
func TestOneShardDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := shardedStore{
			&faultyStore{Memory: storetest.NewMemory()},
			func(key string) bool { return strings.HasSuffix(key, "3.test") },
		}
		var errs atomic.Int64
		var all []*breakerhttp.Transport
		for i := range 2 {
			all = append(all, newTransport(t, respond(500), breakerhttp.WithStore(store, breakerhttp.Sharing{
				Instance: fmt.Sprint(i),
				OnError:  func(err error) { errs.Add(1) },
			})))
		}
		for range 5 {
			for i := range 50 {
				for _, tr := range all {
					_, _ = get(tr, fmt.Sprintf("http://%d.test", i))
				}
			}
			time.Sleep(time.Second)
		}
		for i := range 50 {
			key := fmt.Sprintf("default/http://%d.test", i)
			items, _ := store.Memory.Load(t.Context(), []string{key})
			open := strings.Contains(string(items[0].Value), `"st":"open"`)
			if want := !store.fails(key); open != want {
				t.Errorf("record %s is %s, want it open: %v", key, items[0].Value, want)
			}
		}
		if errs.Load() == 0 {
			t.Error("nothing was reported")
		}
		loads := store.loads.Load()
		for range 100 {
			_, _ = get(all[0], "http://3.test")
			time.Sleep(100 * time.Millisecond)
		}
		if got := store.loads.Load() - loads; got > 5 {
			t.Errorf("a record that fails was read %d times in 10s", got)
		}
	})
}

// TestLongKeys: a key that no store takes is shared like any other, hints included.
func TestLongKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &loadingStore{Memory: storetest.NewMemory()}
		byTenant := func(req *http.Request) string { return req.Header.Get("Tenant") }
		var all []*breakerhttp.Transport
		for i := range 3 {
			all = append(all, newTransport(t, respond(500), breakerhttp.WithKey(byTenant),
				breakerhttp.WithStore(store, breakerhttp.Sharing{Instance: fmt.Sprint(i), OnError: func(err error) { t.Error(err) }})))
		}
		tenants := []string{strings.Repeat("x", 3000), strings.Repeat("x", 3001), "a\xffb", "a\xfeb", "a/b"}
		send := func(tr *breakerhttp.Transport, tenant string) error {
			req := newRequest(t, t.Context(), host)
			req.Header.Set("Tenant", tenant)
			_, err := tr.RoundTrip(req)
			return err
		}
		for i, tenant := range tenants {
			if err := send(all[2], tenant); err != nil {
				t.Errorf("tenant %d: %v", i, err)
			}
		}
		go all[2].Watch(t.Context())
		synctest.Wait()
		for _, tenant := range tenants {
			for range 5 {
				_, _ = send(all[0], tenant), send(all[1], tenant)
			}
		}
		time.Sleep(10 * time.Millisecond)
		for i, tenant := range tenants {
			if err := send(all[2], tenant); !errors.Is(err, breakerhttp.ErrOpen) {
				t.Errorf("tenant %d: got %v, want a refusal", i, err)
			}
		}
		for _, keys := range store.taken() {
			for _, key := range keys {
				if len(key) > 600 || !utf8.ValidString(key) {
					t.Errorf("the store was asked for %q", key)
				}
			}
		}
	})
}

// TestBurst: when a thousand hosts fail at once, the store is not overrun, and all records open.
func TestBurst(t *testing.T) {
	const hosts = 1000
	synctest.Test(t, func(t *testing.T) {
		store := &pooledStore{Memory: storetest.NewMemory(), latency: time.Millisecond, connections: make(chan struct{}, 20)}
		var hits atomic.Int64
		base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
			hits.Add(1)
			time.Sleep(time.Millisecond)
			return respond(503)(req)
		})
		var all []*breakerhttp.Transport
		for i := range 2 {
			all = append(all, newTransport(t, base, breakerhttp.WithStore(store, breakerhttp.Sharing{
				Instance: fmt.Sprint(i), OnError: func(err error) { t.Error(err) },
			})))
		}
		send := func(rounds int, pause time.Duration) {
			for range rounds {
				var wg sync.WaitGroup
				for i := range hosts {
					for _, tr := range all {
						wg.Go(func() { _, _ = get(tr, fmt.Sprintf("http://%d.test", i)) })
					}
				}
				wg.Wait()
				time.Sleep(pause)
			}
		}
		send(20, 100*time.Millisecond)
		open := 0
		for i := range hosts {
			items, _ := store.Memory.Load(t.Context(), []string{fmt.Sprintf("default/http://%d.test", i)})
			if strings.Contains(string(items[0].Value), `"st":"open"`) {
				open++
			}
		}
		if open < 950 {
			t.Errorf("%d records are open, want 950 of %d", open, hosts)
		}
		hits.Store(0)
		send(14, 5*time.Second)
		if got := hits.Load(); got > hosts*2*11/10 {
			t.Errorf("got %d probes, want two for each of %d hosts and 10%%", got, hosts)
		}
	})
}

// A pooledStore answers over a few connections.
type pooledStore struct {
	*storetest.Memory
	latency     time.Duration
	connections chan struct{}
}

func (s *pooledStore) travel(ctx context.Context) error {
	select {
	case s.connections <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.connections }()
	select {
	case <-time.After(s.latency):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *pooledStore) Load(ctx context.Context, keys []string) ([]breakerhttp.Item, error) {
	if err := s.travel(ctx); err != nil {
		return nil, err
	}
	return s.Memory.Load(ctx, keys)
}

func (s *pooledStore) CompareAndSwap(ctx context.Context, key string, old uint64, value []byte, ttl time.Duration) (breakerhttp.Item, bool, error) {
	if err := s.travel(ctx); err != nil {
		return breakerhttp.Item{}, false, err
	}
	return s.Memory.CompareAndSwap(ctx, key, old, value, ttl)
}

// TestOneVoter: processes with the same Instance are one voter, and so are two Transports of one
// process.
func TestOneVoter(t *testing.T) {
	for name, c := range map[string]struct {
		instances [2]string
		want      string
	}{
		"two pods":        {[2]string{"pod-1", "pod-2"}, "open"},
		"a pod restarted": {[2]string{"pod-1", "pod-1"}, "suspect"},
		"one process":     {[2]string{"", ""}, "suspect"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 0)
				for _, instance := range c.instances {
					f.add(f, breakerhttp.WithName(instance)) // its own option follows
					f.processes[len(f.processes)-1] = newTransport(t, f, breakerhttp.WithStore(f.store, breakerhttp.Sharing{Instance: instance}))
				}
				f.status.Store(http.StatusServiceUnavailable)
				for _, p := range f.processes {
					for range 5 {
						_, _ = get(p, host)
					}
				}
				if got := f.record(); got.State != c.want {
					t.Errorf("the record is %+v, want %s", got, c.want)
				}
			})
		})
	}
}

// TestSameInstanceEverywhere: if all processes have one name, their votes count once, and that is
// reported.
func TestSameInstanceEverywhere(t *testing.T) {
	for name, c := range map[string]struct {
		age  time.Duration // of the vote when the process starts
		want int
	}{"a vote from before its start": {time.Minute, 0}, "a vote from after its start": {0, 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 0)
				const vote = `{"s":1,"st":"suspect","d":60000,"o":"another","g":0,"v":[{"i":"14e95fcf5b4c5f8e","a":0}]}`
				if c.age > 0 {
					f.put(strings.Replace(vote, "14e95fcf5b4c5f8e", voterID("pod"), 1))
					time.Sleep(c.age)
				}
				var reports reportLog
				tr := newTransport(t, f, breakerhttp.WithStore(f.store, breakerhttp.Sharing{
					Instance: "pod", OnError: reports.add,
				}))
				if c.age == 0 {
					time.Sleep(time.Second)
					f.put(strings.Replace(vote, "14e95fcf5b4c5f8e", voterID("pod"), 1))
				}
				_, _ = get(tr, host)
				if got := reports.all(); len(got) != c.want {
					t.Errorf("got reports %v, want %d", got, c.want)
				}
			})
		})
	}
}

func voterID(instance string) string {
	sum := sha256.Sum256([]byte(instance))
	return hex.EncodeToString(sum[:8])
}

// TestNeverShared: what is another host in each process is not shared.
func TestNeverShared(t *testing.T) {
	for url, shared := range map[string]bool{
		"http://localhost:8080":          false,
		"https://LOCALHOST.":             false,
		"http://api.localhost":           false,
		"http://127.0.0.1":               false,
		"http://127.8.9.10:99":           false,
		"http://[::1]:8080":              false,
		"http://[::ffff:127.0.0.1]:8080": false,
		"http://169.254.169.254":         false,
		"http://[fe80::1%25eth0]":        false,
		"http://0.0.0.0:80":              false,
		"http://skipped.test":            false,
		"http://10.0.0.1":                true,
		"http://localhost.example.com":   true,
		"http://notlocalhost":            true,
		"http://[2001:db8::1]":           true,
	} {
		t.Run(url, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &faultyStore{Memory: storetest.NewMemory()}
				tr := newTransport(t, respond(500), breakerhttp.WithStore(store, breakerhttp.Sharing{
					Skip: func(key string) bool { return key == "http://skipped.test" },
				}))
				for range 5 {
					_, _ = get(tr, url)
				}
				if got := store.loads.Load()+store.writes.Load() > 0; got != shared {
					t.Errorf("it is shared: %v, want %v", got, shared)
				}
				wantRefused(t, second(get(tr, url)))
				time.Sleep(time.Minute)
				if _, err := get(tr, url); err != nil { // probes
					t.Errorf("the probe: %v", err)
				}
			})
		})
	}
}

// TestSkipMayUseTheTransport: it is asked without a lock, once for each circuit, and if it panics there
// is no circuit.
func TestSkipMayUseTheTransport(t *testing.T) {
	var tr *breakerhttp.Transport
	asked := 0
	tr = newTransport(t, respond(200), breakerhttp.WithMaxCircuits(1), breakerhttp.WithStore(storetest.NewMemory(), breakerhttp.Sharing{
		Skip: func(key string) bool {
			asked++
			if circuits(tr) > 0 {
				t.Errorf("%s has a circuit before Skip is asked", key)
			}
			if asked == 1 {
				panic("Skip")
			}
			return true
		},
	}))
	for range 3 {
		func() {
			defer func() { _ = recover() }()
			_, _ = get(tr, host)
		}()
	}
	if err := tr.SetPolicies(breakerhttp.Policy{ConsecutiveFailures: 3}, nil); err != nil {
		t.Fatal(err)
	}
	if asked != 2 || circuits(tr) != 1 {
		t.Errorf("Skip was asked %d times and there are %d circuits, want 2 and 1", asked, circuits(tr))
	}
}

// TestProbeRetryAfter: a fleet waits for as long as the host has asked its probes to.
func TestProbeRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 0)
		var retryAfter atomic.Value
		retryAfter.Store("")
		for range 3 {
			f.add(roundTripFunc(func(req *http.Request) (*http.Response, error) {
				resp, err := f.RoundTrip(req)
				if s := retryAfter.Load().(string); s != "" {
					resp.Header.Set("Retry-After", s)
				}
				return resp, err
			}), breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: 10 * time.Second}))
		}
		f.open()
		retryAfter.Store("120")
		f.run(20 * time.Second)
		if got := f.hits.Load(); got != 2 {
			t.Errorf("got %d hits, want a round of probes", got)
		}
		f.run(95 * time.Second)
		if got := f.hits.Load(); got != 2 {
			t.Errorf("got %d hits, want none for 120s", got-2)
		}
		f.run(20 * time.Second)
		if got := f.hits.Load(); got != 4 {
			t.Errorf("got %d hits, want another round", got-2)
		}
	})
}

// TestAdaptiveProbeRetryAfter: what the host has asked a probe of an adaptive circuit for holds for the
// whole fleet.
func TestAdaptiveProbeRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 0)
		var busy atomic.Bool
		for range 3 {
			f.add(roundTripFunc(func(req *http.Request) (*http.Response, error) {
				resp, err := f.RoundTrip(req)
				if err == nil && busy.Load() {
					resp.Header.Set("Retry-After", "120")
				}
				return resp, err
			}), breakerhttp.WithPolicy(breakerhttp.Policy{Adaptive: true, MaxOpenFor: 5 * time.Minute}))
		}
		f.status.Store(503)
		f.run(30 * time.Second)
		busy.Store(true)
		before := f.hits.Load()
		f.run(100 * time.Second)
		if got := f.hits.Load() - before; got != 2 {
			t.Errorf("got %d hits, want a round of probes by the two processes of a quorum", got)
		}
	})
}

// TestWaitReadyOnlooker: while another process probes, nobody knows when a request may go. WaitReady
// looks again, also if its deadline falls before the end of the lease.
func TestWaitReadyOnlooker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, way := newProberFleet(t)
		way.to(func(req *http.Request) (*http.Response, error) {
			time.Sleep(200 * time.Millisecond)
			return f.RoundTrip(req)
		})
		go get(f.processes[0], host)
		time.Sleep(10 * time.Millisecond)
		_, err := get(f.processes[1], host)
		if r := wantRefused(t, err); r.RetryAfter != 0 {
			t.Errorf("RetryAfter is %v, want 0: unknown", r.RetryAfter)
		}
		if s, _ := f.processes[1].Snapshot(host); !s.Until.IsZero() {
			t.Errorf("Until is %v, want none", s.Until)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		req := newRequest(t, ctx, host)
		before := time.Now()
		if err := f.processes[1].WaitReady(req); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(before); waited > 3*time.Second {
			t.Errorf("waited for %v, want to look again after 1 to 3s", waited)
		}
	})
}

// A hintingStore tells a Watch what it is given.
type hintingStore struct {
	*loadingStore
	latency time.Duration
	hints   chan string
}

func (s *hintingStore) Load(ctx context.Context, keys []string) ([]breakerhttp.Item, error) {
	time.Sleep(s.latency)
	return s.loadingStore.Load(ctx, keys)
}

func (s *hintingStore) Watch(ctx context.Context, changed func(string)) error {
	for {
		select {
		case key := <-s.hints:
			changed(key)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TestManyHints: a thousand hints are heard soon, and each record is read once.
func TestManyHints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hosts = 1000
		store := &hintingStore{loadingStore: &loadingStore{Memory: storetest.NewMemory()}, hints: make(chan string)}
		tr := newTransport(t, respond(200), breakerhttp.WithStore(store, breakerhttp.Sharing{}))
		for i := range hosts {
			_, _ = get(tr, fmt.Sprintf("http://%d.test", i))
		}
		store.taken()
		go tr.Watch(t.Context())
		store.latency = 40 * time.Millisecond
		for i := range hosts {
			key := fmt.Sprintf("default/http://%d.test", i)
			_, _, _ = store.Memory.CompareAndSwap(t.Context(), key, 0, []byte(`{"s":1,"st":"open","d":60000,"g":1}`), time.Hour)
			for range 20 {
				store.hints <- key
			}
		}
		time.Sleep(2 * time.Second)
		for i := range hosts {
			wantState(t, tr, fmt.Sprintf("http://%d.test", i), breakerhttp.StateOpen)
		}
		loads := store.taken()
		if len(loads) > hosts/100+1 {
			t.Errorf("got %d reads, want %d", len(loads), hosts/100)
		}
		read := map[string]int{}
		for _, keys := range loads {
			for _, key := range keys {
				if read[key]++; read[key] > 1 {
					t.Fatalf("%s was read twice", key)
				}
			}
		}
	})
}

// TestWatchAndSlowHook: a hook that blocks holds up neither what Watch hears of other circuits, nor
// the end of Watch.
func TestWatchAndSlowHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 0)
		tr := newTransport(t, f, breakerhttp.WithStore(f.store, breakerhttp.Sharing{}),
			breakerhttp.WithTransitionHook(func(context.Context, breakerhttp.Transition) { time.Sleep(time.Minute) }))
		urls := []string{"http://a.test", "http://b.test", "http://c.test"}
		for _, url := range urls {
			_, _ = get(tr, url)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- tr.Watch(ctx) }()
		synctest.Wait()
		for _, url := range urls {
			_, _, _ = f.store.CompareAndSwap(ctx, "default/"+url, 0, []byte(`{"s":1,"st":"open","d":60000,"g":1}`), time.Hour)
			time.Sleep(10 * time.Millisecond)
			wantState(t, tr, url, breakerhttp.StateOpen)
		}
		before := time.Now()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) || time.Since(before) > 50*time.Millisecond {
			t.Errorf("Watch: got %v after %v, want the context's error within ReadTimeout", err, time.Since(before))
		}
		time.Sleep(time.Minute)
	})
}

// TestHookAndReadsOfSeveral: one read may bring transitions of several circuits. What the hook does
// with one of them keeps it from none of the others.
func TestHookAndReadsOfSeveral(t *testing.T) {
	for name, first := range map[string]func(){
		"blocks":             func() { time.Sleep(time.Minute) },
		"panics":             func() { panic("hook") },
		"ends its goroutine": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 0)
				var calls atomic.Int64
				tr := f.add(f, breakerhttp.WithTransitionHook(func(context.Context, breakerhttp.Transition) {
					if calls.Add(1) == 1 {
						first()
					}
				}))
				urls := []string{"http://a.test", "http://b.test", "http://c.test"}
				for _, url := range urls {
					_, _ = get(tr, url)
				}
				time.Sleep(15 * time.Second) // all records are due
				for _, url := range urls {
					_, _, _ = f.store.CompareAndSwap(t.Context(), "default/"+url, 0, []byte(`{"s":1,"st":"open","d":60000,"g":1}`), time.Hour)
				}
				_, _ = get(tr, urls[0])
				synctest.Wait()
				for _, url := range urls {
					wantState(t, tr, url, breakerhttp.StateOpen)
				}
				if got := calls.Load(); got != int64(len(urls)) {
					t.Errorf("the hook was called %d times, want %d", got, len(urls))
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

// TestWatchPanics: neither a hook that panics nor a store that does ends the program, and the next
// hint is heard.
func TestWatchPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var errs atomic.Int64
		f := newFleet(t, 0)
		sharing := breakerhttp.Sharing{OnError: func(error) { errs.Add(1) }}
		f.add(f, breakerhttp.WithTransitionHook(func(context.Context, breakerhttp.Transition) { panic("hook") }))
		f.processes[0] = newTransport(t, f, breakerhttp.WithStore(f.store, sharing),
			breakerhttp.WithTransitionHook(func(context.Context, breakerhttp.Transition) { panic("hook") }))
		f.run(time.Second)
		go f.processes[0].Watch(t.Context())
		synctest.Wait()
		for _, want := range []breakerhttp.State{breakerhttp.StateOpen, breakerhttp.StateClosed} {
			f.put(fmt.Sprintf(`{"s":1,"st":%q,"d":60000,"g":1}`, want))
			time.Sleep(2 * time.Second)
			wantState(t, f.processes[0], host, want)
		}
		if errs.Load() != 2 {
			t.Errorf("got %d reports, want one for each panic", errs.Load())
		}
		tr := newTransport(t, f, breakerhttp.WithStore(panickingWatcher{f.store}, sharing))
		if err := tr.Watch(t.Context()); err == nil || !strings.Contains(err.Error(), "boom") {
			t.Errorf("got %v, want the panic as an error", err)
		}
	})
}

type panickingWatcher struct{ *faultyStore }

func (panickingWatcher) Watch(context.Context, func(string)) error { panic("boom") }

// TestCancelledProbes: callers that cancel do not make a fleet write in a loop.
func TestCancelledProbes(t *testing.T) {
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"a host that hangs": func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		},
		"no more files": func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Err: syscall.EMFILE}
		},
	} {
		for _, processes := range []int{1, 10} {
			t.Run(fmt.Sprint(name, ", ", processes), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFleet(t, 0)
					way := &switchable{}
					way.to(f.RoundTrip)
					for range processes {
						f.add(way, breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: 10 * time.Second}))
					}
					f.put(`{"s":1,"st":"open","d":10000,"g":1}`)
					f.run(10 * time.Second)
					way.to(answer)
					writes := f.store.writes.Load()
					var wg sync.WaitGroup
					for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
						for i, p := range f.processes {
							wg.Go(func() {
								time.Sleep(time.Duration(i) * 50 * time.Millisecond)
								ctx, cancel := context.WithCancel(t.Context())
								defer time.AfterFunc(time.Second, cancel).Stop()
								req := newRequest(t, ctx, host)
								_, _ = p.RoundTrip(req)
							})
						}
					}
					wg.Wait()
					if got := f.store.writes.Load() - writes; got < 20 || got > 200 {
						t.Errorf("got %d writes in ten minutes, want 20 to 200", got)
					}
					way.to(f.RoundTrip)
					f.run(15 * time.Second)
					f.wantStates(breakerhttp.StateClosed)
				})
			})
		}
	}
}

// TestLowerVersions: a store that has lost writes is believed after a while, and that is reported.
func TestLowerVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 0)
		var reports reportLog
		store := &shiftedStore{Memory: storetest.NewMemory()}
		store.shift.Store(1 << 40)
		f.processes = append(f.processes, newTransport(t, f, breakerhttp.WithStore(store, breakerhttp.Sharing{
			OnError: reports.add,
		})))
		write := func(state string) {
			items, _ := store.Memory.Load(t.Context(), []string{"default/" + host})
			_, _, _ = store.Memory.CompareAndSwap(t.Context(), "default/"+host, items[0].Version, []byte(fmt.Sprintf(`{"s":1,"st":%q,"d":60000,"g":1}`, state)), time.Hour)
		}
		write("closed")
		f.run(time.Second)
		store.shift.Store(0)
		write("open")
		f.run(20 * time.Second)
		f.wantStates(breakerhttp.StateOpen)
		if got := reports.all(); len(got) != 1 || !strings.Contains(got[0].Error(), "lost writes") {
			t.Errorf("got reports %v, want one that the store has lost writes", got)
		}
	})
}

// A shiftedStore has versions that are higher by shift.
type shiftedStore struct {
	*storetest.Memory
	shift atomic.Uint64
}

func (s *shiftedStore) Load(ctx context.Context, keys []string) ([]breakerhttp.Item, error) {
	items, err := s.Memory.Load(ctx, keys)
	for i := range items {
		if items[i].Version != 0 {
			items[i].Version += s.shift.Load()
		}
	}
	return items, err
}

// TestStoreMetrics: calls are counted by what became of them, and a gauge says that the store is not
// called for now.
func TestStoreMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{Memory: storetest.NewMemory()}
		tr, reader := newMetered(t, respond(500), breakerhttp.WithStore(store, breakerhttp.Sharing{OnError: func(error) {}}))
		paused := func() int64 { return collectPoints(t, reader)[series("store.paused")] }
		for range 5 {
			_, _ = get(tr, host)
		}
		got := collectPoints(t, reader).of("store.calls")
		for name, want := range map[string]int64{
			series("store.calls", "store.operation=load", "store.result=ok"):                1,
			series("store.calls", "store.operation=load", "store.result=error"):             0,
			series("store.calls", "store.operation=load", "store.result=full"):              0,
			series("store.calls", "store.operation=compare_and_swap", "store.result=ok"):    1,
			series("store.calls", "store.operation=compare_and_swap", "store.result=lost"):  0,
			series("store.calls", "store.operation=compare_and_swap", "store.result=error"): 0,
		} {
			if n, ok := got[name]; !ok || n != want {
				t.Errorf("%s is %v (%v), want %v", name, n, ok, want)
			}
		}
		if got := paused(); got != 0 {
			t.Errorf("the gauge says %v, want 0", got)
		}
		store.misbehave(func(context.Context) error { return errors.New("down") })
		for i := range 3 {
			_, _ = get(tr, fmt.Sprintf("http://%d.test", i))
		}
		if got := paused(); got != 1 {
			t.Errorf("after three errors the gauge says %v, want 1", got)
		}
		time.Sleep(5 * time.Second)
		if got := paused(); got != 0 {
			t.Errorf("after 5s the gauge says %v, want 0", got)
		}
	})
}

// TestOpenedBy: the reason of a shared opening says by whom it was opened, where they have names.
func TestOpenedBy(t *testing.T) {
	for want, instances := range map[string][]string{
		"opened by 2 other processes: pod-7, pod-3": {"pod-3", "pod-7", "pod-9"},
		"opened by another process: pod-3":          {"pod-3", "", "pod-9"},
		"opened by other processes":                 nil,
	} {
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 0)
				for _, instance := range instances {
					f.processes = append(f.processes, newTransport(t, f, breakerhttp.WithStore(f.store, breakerhttp.Sharing{Instance: instance})))
				}
				if instances == nil {
					f.add(f)
					f.put(`{"s":1,"st":"open","d":60000,"g":1}`)
				} else {
					f.status.Store(http.StatusServiceUnavailable)
					for _, p := range f.processes[:2] {
						for range 5 {
							_, _ = get(p, host)
						}
					}
				}
				last := f.processes[len(f.processes)-1]
				for range 2 {
					if r := wantRefused(t, second(get(last, host))); r.Reason != want {
						t.Errorf("got reason %q, want %q", r.Reason, want)
					}
				}
				if got := last.Transitions(); got[0].Detail != want || got[0].Reason != "shared" {
					t.Errorf("got %+v, want detail %q", got[0], want)
				}
			})
		})
	}
}

// TestHostileNames: names that come from the store are short, and forge neither lines of a log nor
// what a terminal or a page shows. A process knows its own name, whatever it is.
func TestHostileNames(t *testing.T) {
	for names, want := range map[string]string{
		`"pod-1\n2026 level=INFO"`:               "opened by another process: pod-1\ufffd2026 level=INFO",
		`"\u001b[2Jpod","\u202epod\u0000"`:       "opened by 2 other processes: \ufffd[2Jpod, \ufffdpod\ufffd",
		`"\ud800x"`:                              "opened by another process: \ufffdx",
		`"` + strings.Repeat("x", 3000) + `"`:    "opened by another process: " + strings.Repeat("x", 63),
		`"` + strings.Repeat("ß", 1000) + `"`:    "opened by another process: " + strings.Repeat("ß", 31),
		`"mü\u0001ller-7 (eu)","me\ufffd\ufffd"`: "opened by another process: mü\ufffdller-7 (eu)",
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, 0)
			f.processes = append(f.processes, newTransport(t, f, breakerhttp.WithStore(f.store, breakerhttp.Sharing{Instance: "me\x00\xff"})))
			f.put(`{"s":1,"st":"open","d":60000,"g":1,"by":[` + names + `]}`)
			if r := wantRefused(t, second(get(f.processes[0], host))); r.Reason != want {
				t.Errorf("of %s: got reason %q, want %q", names, r.Reason, want)
			}
		})
	}
}

// TestHookPanicAndFleet: the hook is the user's code, and comes last: what it breaks off has been
// published.
func TestHookPanicAndFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, breakerhttp.WithTransitionHook(func(context.Context, breakerhttp.Transition) { panic("hook") }))
		f.status.Store(http.StatusServiceUnavailable)
		for _, p := range f.processes {
			func() {
				defer func() { _ = recover() }()
				for range 5 {
					_, _ = get(p, host)
				}
			}()
		}
		if got := f.record(); got.State != "open" {
			t.Errorf("the record is %+v, want open", got)
		}
	})
}

// TestTripWhenPanicsAfterElection: a Reset closes the circuit during an election, and a request hangs
// meanwhile, of which TripWhen is asked as the election ends. That it panics then ends the election
// all the same.
func TestTripWhenPanicsAfterElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 0)
		var hanging, panics atomic.Bool
		p := f.add(roundTripFunc(func(req *http.Request) (*http.Response, error) {
			if hanging.Load() {
				time.Sleep(time.Second)
			}
			return respond(int(f.status.Load()))(req)
		}), breakerhttp.WithPolicy(breakerhttp.Policy{SlowAfter: 10 * time.Millisecond, TripWhen: func(breakerhttp.Counts) bool {
			if panics.Swap(false) {
				panic("TripWhen")
			}
			return false
		}}))
		outage := func() {
			f.status.Store(http.StatusServiceUnavailable)
			for range 5 {
				_, _ = get(p, host)
			}
			wantState(t, p, host, breakerhttp.StateOpen)
			f.status.Store(http.StatusOK)
			time.Sleep(time.Minute)
		}
		outage()
		f.store.misbehave(func(context.Context) error { time.Sleep(40 * time.Millisecond); return nil })
		hanging.Store(true)
		panics.Store(true)
		ended := make(chan any)
		go func() {
			defer func() { ended <- recover() }()
			_, _ = get(p, host)
		}()
		synctest.Wait() // until it waits for the store
		p.Reset(host)
		time.Sleep(time.Millisecond)
		go func() { _, _ = get(p, host) }()
		if got := <-ended; got != "TripWhen" {
			t.Fatalf("the one that asked for the lease ended with %v, want the panic of TripWhen", got)
		}
		time.Sleep(time.Minute)
		f.store.misbehave(nil)
		hanging.Store(false)
		if got := snapshot(t, p, host).InFlight; got != 0 {
			t.Errorf("%d in flight, want 0", got)
		}
		outage()
		if _, err := get(p, host); err != nil {
			t.Errorf("after the next outage: got %v, want a probe", err)
		}
		wantState(t, p, host, breakerhttp.StateClosed)
	})
}

// TestHookPanicsAfterElection: the request that notices a timed-out probe asks for the lease, and is
// admitted, by a Reset meanwhile or as a probe. If the hook panics before it is sent, it is not in
// flight any more.
func TestHookPanicsAfterElection(t *testing.T) {
	for name, reset := range map[string]bool{"probe": false, "reset": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 0)
				var hanging atomic.Bool
				p := f.add(roundTripFunc(func(req *http.Request) (*http.Response, error) {
					if hanging.Load() {
						time.Sleep(10 * time.Minute)
					}
					return respond(int(f.status.Load()))(req)
				}), breakerhttp.WithTransitionHook(func(_ context.Context, tn breakerhttp.Transition) {
					if tn.Reason == breakerhttp.ReasonProbeTimeout {
						panic("hook")
					}
				}))
				f.status.Store(http.StatusServiceUnavailable)
				for range 5 {
					_, _ = get(p, host)
				}
				f.status.Store(http.StatusOK)
				time.Sleep(time.Minute)
				hanging.Store(true)
				go func() { _, _ = get(p, host) }()
				time.Sleep(95 * time.Second) // it fails after 30 s, and 60 s later another may probe
				hanging.Store(false)
				f.store.misbehave(func(context.Context) error { time.Sleep(40 * time.Millisecond); return nil })
				panics := make(chan any, 2)
				do := func(f func()) {
					defer func() { panics <- recover() }()
					f()
				}
				go do(func() { _, _ = get(p, host) })
				synctest.Wait() // until it waits for the store
				if reset {
					do(func() { p.Reset(host) })
				} else {
					do(func() {})
				}
				if a, b := <-panics, <-panics; (a == "hook") == (b == "hook") {
					t.Errorf("got panics %v and %v, want that of the hook once", a, b)
				}
				f.store.misbehave(nil)
				if got := snapshot(t, p, host).InFlight; got != 1 {
					t.Errorf("%d in flight, want the hung probe", got)
				}
				time.Sleep(time.Minute)
				if _, err := get(p, host); err != nil {
					t.Errorf("a minute later: got %v, want an answer", err)
				}
				wantState(t, p, host, breakerhttp.StateClosed)
				time.Sleep(10 * time.Minute)
				if got := snapshot(t, p, host).InFlight; got != 0 {
					t.Errorf("in the end %d in flight, want 0", got)
				}
			})
		})
	}
}

// TestSetPoliciesOfAFleet: the records are written by the new policy.
func TestSetPoliciesOfAFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		f.run(time.Second)
		for _, p := range f.processes {
			if err := p.SetPolicies(breakerhttp.Policy{OpenFor: 20 * time.Second, OpenGrowth: 2, ConsecutiveFailures: 3}, nil); err != nil {
				t.Fatal(err)
			}
		}
		f.open()
		time.Sleep(21 * time.Second)
		for range 2 {
			f.run(2 * time.Second) // the probes fail
		}
		if got := f.record(); got.Millis != 40_000 {
			t.Errorf("after failed probes the record is %+v, want it open for 40 s", got)
		}
	})
}

// TestOnErrorUsesTheTransport: the error may be about the first read of the very host to which
// OnError reports it.
func TestOnErrorUsesTheTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 0)
		f.store.misbehave(func(context.Context) error { return errors.New("down") })
		var p *breakerhttp.Transport
		p = newTransport(t, f, breakerhttp.WithStore(f.store, breakerhttp.Sharing{OnError: func(error) { _, _ = get(p, host) }}))
		before := time.Now()
		if _, err := get(p, host); err != nil {
			t.Error(err)
		}
		if took := time.Since(before); took > 60*time.Millisecond {
			t.Errorf("a request took %v, want at most ReadTimeout and the 10ms of its host", took)
		}
		time.Sleep(time.Second)
	})
}

// TestOnErrorBreaksOff: an OnError that panics, or ends its goroutine, keeps nothing from being read.
func TestOnErrorBreaksOff(t *testing.T) {
	for name, breakOff := range map[string]func(error){
		"panic":  func(error) { panic("OnError") },
		"Goexit": func(error) { runtime.Goexit() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fleetUnderTest{t: t, store: &faultyStore{Memory: storetest.NewMemory()}}
				f.processes = []*breakerhttp.Transport{newTransport(t, respond(200), breakerhttp.WithStore(f.store, breakerhttp.Sharing{OnError: breakOff}))}
				fails := func(context.Context) error { return errors.New("the store fails") }
				f.store.fault.Store(&fails)
				f.run(30 * time.Second)
				f.store.fault.Store(nil)
				f.put(`{"s":1,"st":"open","d":60000,"o":"another","g":1}`)
				if refused := f.run(3 * time.Minute); refused == 0 {
					t.Error("the record has never been read")
				}
			})
		})
	}
}
