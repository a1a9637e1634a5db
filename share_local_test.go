package breakerhttp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/store/storetest"
)

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
