package fleet

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// TestBrokenStores: whatever a store does, a call of it ends at its timeout at the latest, with an
// error.
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
				want := gatherFirst
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
	t.Run("ignores its context", func(t *testing.T) {
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
			time.Sleep(2 * time.Hour) // the late answers change nothing
			p.wantErrors("[]")
		})
	})
}
