package fleet

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestGuard: after three errors in a row the store is not called for five seconds. Each further
// error doubles that, up to a minute, and a success ends it. Meanwhile no request waits.
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
		p.readTimes(65 * time.Second)
		p.errs.take()
		s.misbehave(func(context.Context) error { return errors.New("down") })
		if p.readTimes(time.Second); p.errs.take() != "[load load load]" {
			t.Error("after a success there are not three errors again before the store is left alone")
		}
		if at := p.readTimes(6 * time.Second); len(at) != 1 {
			t.Errorf("after a success the store is asked again at %v, want once, after 5s", at)
		}
	})
	// The errors of calls that were under way do not double the pause.
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.misbehave(blackHole)
		p := newProcess(t, s)
		for range 10 {
			go p.hint()
		}
		time.Sleep(5100 * time.Millisecond)
		if p.errs.take(); !p.fleet.guard.allows(p.now()) {
			t.Error("the store is left alone for more than 5s")
		}
		p.hint()
		if p.wantErrors("[load]"); p.fleet.guard.allows(p.now() + 9*time.Second) {
			t.Error("one more error does not double the pause")
		}
	})
}
