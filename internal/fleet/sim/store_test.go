package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// A fault is how a call of the store ends.
type fault uint8

const (
	sound      fault = iota
	refusing         // an error at once
	hanging          // nothing is done, and no answer comes
	unanswered       // the call is done, and no answer comes
)

var errDown = errors.New("the store is down")

// A store answers after 1 to 5 ms, and counts the calls.
type store struct {
	world *world

	mu      sync.Mutex
	rand    *rand.Rand
	records map[string]stored

	reads  atomic.Int64 // records
	writes atomic.Int64 // that won
	lost   atomic.Int64 // writes that lost to another one
}

type stored struct {
	value   []byte
	version uint64
	written time.Time
}

func newStore(w *world) *store {
	return &store{world: w, rand: w.random(w.processes), records: map[string]stored{}}
}

// Load implements [breakerhttp.Store].
func (s *store) Load(ctx context.Context, keys []string) ([]breakerhttp.Item, error) {
	s.reads.Add(int64(len(keys)))
	if err := s.travel(ctx, s.fault(false)); err != nil {
		return nil, err
	}
	items := make([]breakerhttp.Item, len(keys))
	s.mu.Lock()
	for i, key := range keys {
		items[i] = s.records[key].item()
	}
	s.mu.Unlock()
	return items, s.travel(ctx, sound)
}

// CompareAndSwap implements [breakerhttp.Store].
func (s *store) CompareAndSwap(ctx context.Context, key string, old uint64, value []byte, _ time.Duration) (breakerhttp.Item, bool, error) {
	f := s.fault(true)
	there, back := f, f
	if f == unanswered {
		there, back = sound, hanging
	}
	if err := s.travel(ctx, there); err != nil {
		return breakerhttp.Item{}, false, err
	}
	item, swapped := s.swap(key, old, value)
	return item, swapped, s.travel(ctx, back)
}

func (s *store) swap(key string, old uint64, value []byte) (breakerhttp.Item, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records[key]
	if r.version != old {
		s.lost.Add(1)
		return r.item(), false
	}
	s.writes.Add(1)
	r = stored{value, max(old+1, uint64(time.Now().UnixMilli())), time.Now()}
	s.records[key] = r
	return r.item(), true
}

func (r stored) item() breakerhttp.Item {
	if r.version == 0 {
		return breakerhttp.Item{}
	}
	return breakerhttp.Item{Value: r.value, Version: r.version, Age: time.Since(r.written)}
}

func (s *store) fault(write bool) fault {
	if s.world.store == nil {
		return sound
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.world.store(time.Since(s.world.down), write, s.rand)
}

// travel takes as long as a message to the store, or from it. It fails as f says.
func (s *store) travel(ctx context.Context, f fault) error {
	var arrived <-chan time.Time
	switch f {
	case refusing:
		return errDown
	case sound:
		s.mu.Lock()
		way := 500*time.Microsecond + time.Duration(s.rand.Int64N(int64(2*time.Millisecond)))
		s.mu.Unlock()
		arrived = time.After(way)
	}
	select {
	case <-arrived:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
