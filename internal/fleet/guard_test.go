package fleet

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// TestGuard: three errors in a row, and the store is left alone for five
// seconds; then each further error doubles that, up to a minute. A success ends
// it. No request waits, or takes a lock each time.
func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		p := newProcess(t, s, func(cfg *Config, _ *Policy) { cfg.Refresh = 100 * time.Millisecond })
		p.request()
		s.misbehave(func(context.Context) error { return errors.New("down") })
		asked := 0
		var at []time.Duration
		for end := p.now() + 4*time.Minute; p.now() < end; time.Sleep(10 * time.Millisecond) {
			before := s.loaded()
			if p.Due(p.now()) {
				asked++
			}
			if waited := p.request(); waited > 0 {
				t.Fatalf("a request waited for %v", waited)
			}
			if synctest.Wait(); s.loaded() > before {
				at = append(at, p.now())
			}
		}
		want := []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, time.Minute}
		for i, gap := range want {
			if got := at[i+3] - at[i+2]; got < gap || got > gap+200*time.Millisecond {
				t.Errorf("after error %d the store was left alone for %v, want %v", i+3, got, gap)
			}
		}
		if asked > 4*60*10*2 {
			t.Errorf("%d of 24000 requests asked", asked)
		}
		s.misbehave(nil)
		p.reads(65 * time.Second)
		p.errs.take()
		s.misbehave(func(context.Context) error { return errors.New("down") })
		if p.reads(time.Second); p.errs.take() != "[load load load]" {
			t.Error("after a success there are not three errors again before the store is left alone")
		}
		if at := p.reads(6 * time.Second); len(at) != 1 {
			t.Errorf("after a success the store is asked again at %v, want once, after 5s", at)
		}
	})
	synctest.Test(t, func(t *testing.T) { // errors of calls that were under way do not double the pause
		s := newFakeStore()
		s.misbehave(blackHole)
		p := newProcess(t, s)
		for range 10 {
			go p.Hint(t.Context())
		}
		time.Sleep(5100 * time.Millisecond)
		if p.errs.take(); !p.fleet.guard.allows(p.now()) {
			t.Error("the store is left alone for more than 5s")
		}
		p.Hint(t.Context())
		if p.wantErrors("[load]"); p.fleet.guard.allows(p.now() + 9*time.Second) {
			t.Error("one more error does not double the pause")
		}
	})
}

// TestBrokenStores: whatever a store does, a call of it ends at its timeout, as
// an error.
func TestBrokenStores(t *testing.T) {
	never := make(chan struct{})
	defer close(never)
	for name, how := range map[string]func(context.Context) error{
		"error":         func(context.Context) error { return errors.New("down") },
		"black hole":    blackHole,
		"panic":         func(context.Context) error { panic("store") },
		"Goexit":        func(context.Context) error { runtime.Goexit(); return nil },
		"too few items": func(context.Context) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFakeStore()
				s.misbehave(how)
				p := newProcess(t, s)
				want := time.Duration(0)
				if name == "black hole" {
					want = 50 * time.Millisecond
				}
				if waited := p.request(); waited != want {
					t.Errorf("waited for %v, want %v", waited, want)
				}
				p.wantErrors("[load]")
				if r, _ := p.elect(); r != loner {
					t.Errorf("got role %v, want loner", r)
				}
				p.wantErrors("[load]")
			})
		})
	}
	t.Run("heedless of its context", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeStore()
			s.misbehave(func(context.Context) error { time.Sleep(time.Hour); return nil })
			p := newProcess(t, s)
			if waited := p.request(); waited != 50*time.Millisecond {
				t.Errorf("waited for %v, want ReadTimeout", waited)
			}
			p.wantErrors("[load]")
			before := p.now()
			p.Tripped(t.Context(), time.Minute)
			if took := p.now() - before; took != 100*time.Millisecond {
				t.Errorf("a trip took %v, want WriteTimeout", took)
			}
			p.wantErrors("[compare_and_swap]")
			time.Sleep(2 * time.Hour) // what the late answers say is of no account
			p.wantErrors("[]")
		})
	})
}

// TestReadsEnd: a background read is over within ReadTimeout, and goes on if
// the request that started it is cancelled.
func TestReadsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		p := newProcess(t, s)
		p.request()
		time.Sleep(20 * time.Second)
		ended := make(chan time.Duration, 1)
		s.misbehave(func(ctx context.Context) error {
			err := blackHole(ctx)
			ended <- p.now()
			return err
		})
		ctx, cancel := context.WithCancel(t.Context())
		p.Refresh(ctx, p.now(), false)
		cancel()
		if got := <-ended; got != 20050*time.Millisecond {
			t.Errorf("the read ended at %v, want 50ms after its request", got)
		}
	})
}

// TestPanickingHook: what panics in a goroutine of the fleet's own is reported,
// and does not stop the reads.
func TestPanickingHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		p := newProcess(t, s)
		p.circuit.tell = func() { panic("hook") }
		s.put(`{"s":1,"st":"open","d":0,"g":1}`)
		p.request()
		p.wantErrors("[adopt]")
		time.Sleep(10 * time.Second)
		p.request()
		synctest.Wait()
		p.wantErrors("[adopt]")
		time.Sleep(10 * time.Second)
		p.circuit.tell = nil
		s.put(`{"s":1,"st":"closed","d":0,"g":1}`)
		p.request()
		synctest.Wait()
		p.wantErrors("[]")
		p.wantCircuit(false, 0)
		p.Go(func() { panic("hook") })
		synctest.Wait()
		p.wantErrors("[adopt]")
	})
}
