package fleet

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestSlots: no more than maxCalls calls are under way, verdicts come first, and a call that has
// waited for half of its time gives up.
func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s slots
		for range maxCalls {
			if ok, waited := s.take(time.Second, false); !ok || waited {
				t.Fatalf("got a slot: %v, after waiting: %v; want one at once", ok, waited)
			}
		}
		if ok, _ := s.take(time.Second, true); ok {
			t.Error("got one slot more")
		}
		var mu sync.Mutex
		var order []string
		take := func(name string, urgent bool) {
			if ok, _ := s.take(time.Minute, urgent); ok {
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
			}
		}
		for _, name := range []string{"a", "b"} {
			go take(name, false)
			synctest.Wait()
		}
		go take("verdict", true)
		synctest.Wait()
		for range 3 {
			s.free()
			synctest.Wait()
		}
		if got := len(order); got != 3 || order[0] != "verdict" || order[1] != "a" {
			t.Errorf("got slots in the order %v, want verdict, a, b", order)
		}
		for range maxCalls {
			s.free()
		}
		if s.taken != 0 {
			t.Errorf("%d slots are taken, want none", s.taken)
		}
	})
}

// TestFullStore: while all slots are taken, a call that gets none is not counted as an error of the
// store. An election looks again later, and a vote is cast when the record is read next.
func TestFullStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		p := newProcess(t, s)
		s.put(`{"s":1,"st":"open","d":0,"g":1}`)
		p.request()
		var full atomic.Int64
		p.fleet.cfg.OnCall = func(_, result string) {
			if result == ResultFull {
				full.Add(1)
			}
		}
		for range maxCalls {
			p.fleet.slots.take(0, false)
		}
		if r, until := p.elect(); r != onlooker || until > p.now()+3*time.Second {
			t.Errorf("got role %v until %v, want onlooker until the half refresh", r, until)
		}
		s.put(`{"s":1,"st":"closed","d":0,"g":1}`)
		time.Sleep(time.Minute)
		before := p.now()
		p.trip(time.Minute)
		if took := p.now() - before; took > 100*time.Millisecond {
			t.Errorf("a vote without a slot took %v", took)
		}
		p.readTimes(time.Second)
		p.wantErrors("[]")
		p.wantRecord(`{"s":1,"st":"closed","d":0,"o":"","g":1}`)
		for range maxCalls {
			p.fleet.slots.free()
		}
		p.readTimes(time.Second)
		synctest.Wait()
		if r := p.known.rec; r.State != Suspect || len(r.Votes) != 1 {
			t.Errorf("the record is %+v, want the vote", r)
		}
		if full.Load() < 3 {
			t.Errorf("%d calls were counted as not made", full.Load())
		}
	})
}

// TestSlotOfHungCall: a call keeps its slot until it returns, and at most for ten times its timeout.
func TestSlotOfHungCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.misbehave(func(context.Context) error { time.Sleep(time.Hour); return nil })
		p := newProcess(t, s)
		p.request() // 50ms
		time.Sleep(440 * time.Millisecond)
		if got := p.fleet.slots.inUse(); got != 1 {
			t.Errorf("after 490ms %d slots are taken, want 1", got)
		}
		time.Sleep(20 * time.Millisecond)
		if got := p.fleet.slots.inUse(); got != 0 {
			t.Errorf("after 510ms %d slots are taken, want none", got)
		}
		time.Sleep(2 * time.Hour)
		if got := p.fleet.slots.inUse(); got != 0 {
			t.Errorf("after it has returned %d slots are taken, want none", got)
		}
	})
}

// TestItemErrors: the guard of a record that fails stops the calls for that record. The guard of
// the store counts an error only if none of several records could be read.
func TestItemErrors(t *testing.T) {
	bad := errors.New("WRONGTYPE")
	for name, c := range map[string]struct {
		failing func(key string) bool
		store   bool // whether the store is not called any more
		record  bool
	}{
		"one of three": {func(key string) bool { return key == "ns/0" }, false, true},
		"all of three": {func(string) bool { return true }, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				crowd := newCrowd(t, 3)
				crowd.store.onLoad = func(_ context.Context, keys []string) ([]Item, error, bool) {
					items := make([]Item, len(keys))
					for i, key := range keys {
						if c.failing(key) {
							items[i].Err = bad
						}
					}
					return items, nil, true
				}
				for range 3 {
					crowd.fleet.read(context.Background(), crowd.all, func() {})
				}
				if got := crowd.fleet.Paused(); got != c.store {
					t.Errorf("the store is left alone: %v, want %v", got, c.store)
				}
				if got := !crowd.all[0].guard.allows(crowd.now()); got != c.record {
					t.Errorf("the record is left alone: %v, want %v", got, c.record)
				}
				if !crowd.all[1].guard.allows(crowd.now()) {
					t.Error("another record is left alone")
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // a record that cannot be written
		s := newFakeStore()
		p := newProcess(t, s)
		s.onSwap = func(context.Context, func() (Item, bool)) (Item, bool, error) { return Item{Err: bad}, false, nil }
		for range 3 {
			p.trip(time.Minute)
		}
		p.wantErrors("[compare_and_swap compare_and_swap compare_and_swap]")
		if p.fleet.Paused() {
			t.Error("the store is left alone")
		}
	})
}

func (s *slots) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}
