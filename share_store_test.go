package breakerhttp_test

import (
	"context"
	"errors"
	"math"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/store/storetest"
)

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
