package fleet

import (
	"context"
	"sync"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
)

// Item is written often in these tests.
type Item = store.Item

// A fakeStore holds one record for each key, and can be told to misbehave.
type fakeStore struct {
	mu      sync.Mutex
	records map[string]fakeRecord
	loads   [][]string
	swaps   []fakeSwap

	latency time.Duration
	// Unless they are nil: what is done before, or in place of, the real thing.
	onLoad func(ctx context.Context, keys []string) ([]Item, error, bool)
	onSwap func(ctx context.Context, swap func() (Item, bool)) (Item, bool, error)
}

type fakeRecord struct {
	value   []byte
	version uint64
	written time.Time
}

type fakeSwap struct {
	value string
	ttl   time.Duration
	won   bool
}

func newFakeStore() *fakeStore { return &fakeStore{records: map[string]fakeRecord{}} }

func (s *fakeStore) Load(ctx context.Context, keys []string) ([]Item, error) {
	s.mu.Lock()
	s.loads = append(s.loads, keys)
	onLoad, latency := s.onLoad, s.latency
	s.mu.Unlock()
	if err := travel(ctx, latency); err != nil {
		return nil, err
	}
	if onLoad != nil {
		if items, err, done := onLoad(ctx, keys); done {
			return items, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	items := make([]Item, len(keys))
	for i, key := range keys {
		items[i] = s.records[key].item()
	}
	return items, nil
}

func (s *fakeStore) CompareAndSwap(ctx context.Context, key string, old uint64, value []byte, ttl time.Duration) (Item, bool, error) {
	s.mu.Lock()
	onSwap, latency := s.onSwap, s.latency
	s.mu.Unlock()
	if err := travel(ctx, latency); err != nil {
		return Item{}, false, err
	}
	swap := func() (Item, bool) { return s.swap(key, old, value, ttl) }
	if onSwap != nil {
		return onSwap(ctx, swap)
	}
	item, swapped := swap()
	return item, swapped, nil
}

func travel(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *fakeStore) swap(key string, old uint64, value []byte, ttl time.Duration) (Item, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records[key]
	won := r.version == old
	s.swaps = append(s.swaps, fakeSwap{string(value), ttl, won})
	if won {
		r = fakeRecord{value, max(old+1, uint64(time.Now().UnixMilli())), time.Now()}
		s.records[key] = r
	}
	return r.item(), won
}

func (r fakeRecord) item() Item {
	if r.version == 0 {
		return Item{}
	}
	return Item{Value: r.value, Version: r.version, Age: time.Since(r.written)}
}

// put writes a record as another process would.
func (s *fakeStore) put(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records["ns/host"] = fakeRecord{[]byte(value), max(s.records["ns/host"].version+1, uint64(time.Now().UnixMilli())), time.Now()}
}

func (s *fakeStore) value() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.records["ns/host"].value)
}

func (s *fakeStore) loaded() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.loads)
}

func (s *fakeStore) swapped() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.swaps)
}

// misbehave makes every call fail like this, until it is told nil.
func (s *fakeStore) misbehave(how func(ctx context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onLoad, s.onSwap = nil, nil
	if how != nil {
		s.onLoad = func(ctx context.Context, _ []string) ([]Item, error, bool) { return nil, how(ctx), true }
		s.onSwap = func(ctx context.Context, _ func() (Item, bool)) (Item, bool, error) { return Item{}, false, how(ctx) }
	}
}

// loseAnswers lets writes come through without an answer.
func (s *fakeStore) loseAnswers() {
	s.onSwap = func(ctx context.Context, swap func() (Item, bool)) (Item, bool, error) {
		swap()
		return Item{}, false, blackHole(ctx)
	}
}

func blackHole(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}
