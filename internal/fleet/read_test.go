package fleet

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestFirstRead: the first request waits for the record to be read. Requests that come in the
// meantime wait for the same read, and none waits for longer than ReadTimeout.
func TestFirstRead(t *testing.T) {
	t.Run("concurrent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeStore()
			s.latency = 20 * time.Millisecond
			s.put(`{"s":1,"st":"open","d":60000,"g":1}`)
			p := newProcess(t, s)
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					if waited := p.request(); waited != 20*time.Millisecond+gatherFirst || !p.circuit.isOpen() {
						t.Errorf("waited for %v and found the circuit open: %v, want 20ms and a moment, true", waited, p.circuit.isOpen())
					}
				})
			}
			wg.Wait()
			if got := s.loaded(); got != 1 {
				t.Errorf("got %d reads, want 1", got)
			}
			if waited := p.request(); waited != 0 {
				t.Errorf("the next request waited for %v", waited)
			}
		})
	})
	t.Run("black hole", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeStore()
			s.misbehave(blackHole)
			p := newProcess(t, s)
			if waited := p.request(); waited != 50*time.Millisecond {
				t.Errorf("waited for %v, want ReadTimeout", waited)
			}
			for range 100 {
				if waited := p.request(); waited != 0 {
					t.Fatalf("a later request waited for %v", waited)
				}
				time.Sleep(time.Second)
			}
		})
	})
	t.Run("cancelled, or short of time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeStore()
			s.latency = 40 * time.Millisecond
			p := newProcess(t, s)
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(6*time.Millisecond, cancel)
			p.Refresh(ctx, p.now(), false)
			if waited := p.now(); waited != 6*time.Millisecond {
				t.Errorf("waited for %v, want until its own end after 6ms", waited)
			}
			p.patience = 8 * time.Millisecond
			if waited := p.request(); waited != 4*time.Millisecond {
				t.Errorf("a request that has 8ms waited for %v, want half of them", waited)
			}
			p.patience = 0
			if waited := p.request(); waited != 30*time.Millisecond+gatherFirst || s.loaded() != 1 {
				t.Errorf("the next waited for %v in read %d, want 30ms and a moment in read 1", waited, s.loaded())
			}
		})
	})
}

// TestIdle: after ten times Refresh without a request the next request waits for a read again, and
// not earlier.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a host is not idle because its record is open for long
		s := newFakeStore()
		s.latency = time.Millisecond
		s.put(`{"s":1,"st":"open","d":200000,"g":1}`)
		p := newProcess(t, s)
		p.request()
		for p.now() < 210*time.Second {
			if waited := p.request(); waited > 0 {
				t.Fatalf("at %v a request waited for %v", p.now(), waited)
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	for idle, wait := range map[time.Duration]bool{90 * time.Second: false, 100 * time.Second: true, time.Hour: true} {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeStore()
			s.latency = time.Millisecond
			p := newProcess(t, s)
			p.request()
			time.Sleep(idle)
			if waited := p.request(); (waited > 0) != wait {
				t.Errorf("after %v the request waited for %v, want to wait: %v", idle, waited, wait)
			}
			time.Sleep(time.Second)
		})
	}
}

// Go calls do as the fleet does.
func (p *process) Go(do func()) { p.fleet.Go(do) }

// TestHint: a hinted record is read at once, unless the guard forbids it.
func TestHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		p := newProcess(t, s)
		p.request()
		s.put(`{"s":1,"st":"open","d":60000,"g":1}`)
		p.hint()
		p.wantCircuit(true, p.now()+time.Minute)
		s.misbehave(func(context.Context) error { return errors.New("down") })
		for range 5 {
			p.hint()
		}
		if p.wantErrors("[load load load]"); s.loaded() != 5 {
			t.Errorf("got %d reads, want 5: none once the store is to be left alone", s.loaded())
		}
	})
}

// TestWatchEndsDuringLoad: that a Watch ends says nothing about the store, and the hint is not lost.
func TestWatchEndsDuringLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		p := newProcess(t, s, func(c *Config, _ *Policy) { c.Store = hintingStore{s, []string{"ns/host"}} })
		p.request()
		s.latency = 20 * time.Millisecond
		for range 3 {
			s.put(`{"s":1,"st":"open","d":60000,"g":1}`)
			ctx, cancel := context.WithTimeout(t.Context(), gatherHints+10*time.Millisecond)
			if err := p.fleet.Watch(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got error %v, want that of the context", err)
			}
			cancel()
			p.wantCircuit(true, p.now()+time.Minute-gatherHints-s.latency)
		}
		if p.wantErrors("[]"); p.fleet.Paused() {
			t.Error("the store is left alone")
		}
	})
}

// TestWatchEndsAmidHints: a Watch that ends waits for one read, however many records are hinted.
func TestWatchEndsAmidHints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		crowd := newCrowd(t, 3*maxBatch)
		hint := hintingStore{fakeStore: crowd.store}
		for _, m := range crowd.all {
			crowd.fleet.members[m.key] = m
			hint.keys = append(hint.keys, m.key)
		}
		crowd.fleet.cfg.Store = hint
		crowd.store.latency = 40 * time.Millisecond
		ctx, cancel := context.WithTimeout(t.Context(), gatherHints+10*time.Millisecond)
		defer cancel()
		if _ = crowd.fleet.Watch(ctx); crowd.now() != gatherHints+40*time.Millisecond {
			t.Errorf("it took %v, want the time until the first read had ended", crowd.now())
		}
	})
}

// A hintingStore gives hints of these keys when a Watch begins.
type hintingStore struct {
	*fakeStore
	keys []string
}

func (s hintingStore) Watch(ctx context.Context, changed func(key string)) error {
	for _, key := range s.keys {
		changed(key)
	}
	<-ctx.Done()
	return ctx.Err()
}

// TestIdleButLeftAlone: a request that comes after a long time does not read a record that has
// failed too often.
func TestIdleButLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.onLoad = func(context.Context, []string) ([]Item, error, bool) {
			return []Item{{Err: errors.New("WRONGTYPE")}}, nil, true
		}
		p := newProcess(t, s, func(c *Config, _ *Policy) { c.Refresh = time.Second })
		for range 40 {
			p.request()
			time.Sleep(15 * time.Second)
		}
		// After three errors it is left alone for 5, 10, 20 and 40 seconds, and then for a minute.
		if got := s.loaded(); got > 15 {
			t.Errorf("40 requests made %d reads in ten minutes, want at most 15", got)
		}
	})
}

// failingProcess returns a process whose host has failed just after a read, so that the record is
// due a second later.
func failingProcess(t *testing.T, s *fakeStore) *process {
	p := newProcess(t, s)
	p.request()
	p.failing = true
	p.fail()
	s.latency = 20 * time.Millisecond
	return p
}

// TestFailingHost: a request to a failing host waits for a read that a failure has caused, and for
// no other.
func TestFailingHost(t *testing.T) {
	for name, c := range map[string]struct {
		after   time.Duration
		prepare func(*process)
		want    time.Duration // that the request waits for
		reads   int
	}{
		"within the second":  {999 * time.Millisecond, func(*process) {}, 0, 1},
		"after it":           {time.Second, func(*process) {}, 20 * time.Millisecond, 2},
		"much later":         {9 * time.Second, func(*process) {}, 20 * time.Millisecond, 2},
		"a healthy host":     {time.Second, func(p *process) { p.failing = false }, 0, 2},
		"a black hole":       {time.Second, func(p *process) { p.store.misbehave(blackHole) }, 50 * time.Millisecond, 2},
		"an ordinary read":   {20 * time.Second, func(p *process) { p.reads.wantedSoon = false }, 0, 2},
		"another's read":     {time.Second, func(p *process) { p.fleet.reading = true }, 0, 1},
		"a store left alone": {time.Second, func(p *process) { p.fleet.guard.until = time.Hour }, 0, 1},
		"short of time":      {time.Second, func(p *process) { p.patience = 10 * time.Millisecond }, 5 * time.Millisecond, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := failingProcess(t, newFakeStore())
				time.Sleep(c.after)
				c.prepare(p)
				if waited := p.request(); waited != c.want {
					t.Errorf("the request waited for %v, want %v", waited, c.want)
				}
				if waited := p.request(); waited != 0 {
					t.Errorf("the next waited for %v", waited)
				}
				if time.Sleep(50 * time.Millisecond); p.store.loaded() != c.reads {
					t.Errorf("got %d reads, want %d", p.store.loaded(), c.reads)
				}
			})
		})
	}
}

// TestFailingHostOnce: however many requests go to a failing host, one of them waits each second,
// and none while the guard forbids calls.
func TestFailingHostOnce(t *testing.T) {
	for name, c := range map[string]struct {
		how  func(context.Context) error
		want int
	}{"sound": {nil, 9}, "black hole": {blackHole, 4}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := failingProcess(t, newFakeStore())
				p.store.misbehave(c.how)
				waits := 0
				for p.now() < 9900*time.Millisecond {
					if p.request() > 0 {
						waits++
					}
					p.fail()
					time.Sleep(10 * time.Millisecond)
				}
				if time.Sleep(50 * time.Millisecond); waits != c.want {
					t.Errorf("%d requests waited, want %d", waits, c.want)
				}
			})
		})
	}
}

// TestFailingHostAndHook: a request waits for the read, and not for the hooks that it sets off.
func TestFailingHostAndHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := failingProcess(t, newFakeStore())
		p.circuit.tell = func() { time.Sleep(time.Second) }
		p.store.put(`{"s":1,"st":"open","d":60000,"g":1}`)
		time.Sleep(time.Second)
		if waited, want := p.request(), 20*time.Millisecond; waited != want {
			t.Errorf("the request waited for %v, want %v", waited, want)
		}
		if !p.circuit.isOpen() {
			t.Error("the circuit is not open")
		}
		time.Sleep(time.Second)
	})
}

// TestReadsEnd: a background read ends within ReadTimeout, and goes on when the request that has
// started it is cancelled.
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
		if got := <-ended; got != gatherFirst+20050*time.Millisecond {
			t.Errorf("the read ended at %v, want 50ms after its request", got)
		}
	})
}

// TestPanickingHook: a hook that panics in a goroutine of the fleet is reported, and does not stop
// the reads.
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
