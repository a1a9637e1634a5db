package breakerhttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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
