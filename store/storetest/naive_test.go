package storetest_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
	"github.com/breakerhttp/breakerhttp/store/storetest"
)

// A naiveStore does no more than the protocol needs: it keeps the slices that it is given, and
// ignores the context.
type naiveStore struct {
	mu      sync.Mutex
	records map[string]naiveRecord
}

type naiveRecord struct {
	value            []byte
	version          uint64
	written, expires time.Time
}

func (r naiveRecord) item() store.Item {
	item := store.Item{Version: r.version}
	if time.Now().Before(r.expires) {
		item.Value, item.Age = r.value, time.Since(r.written)
	}
	return item
}

func (s *naiveStore) Load(_ context.Context, keys []string) ([]store.Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	items := make([]store.Item, len(keys))
	for i, key := range keys {
		items[i] = s.records[key].item()
	}
	return items, nil
}

func (s *naiveStore) CompareAndSwap(_ context.Context, key string, old uint64, value []byte, ttl time.Duration) (store.Item, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records[key]
	if r.version != old {
		return r.item(), false, nil
	}
	now := time.Now()
	r = naiveRecord{value, max(old+1, uint64(now.UnixMilli())), now, now.Add(ttl)}
	s.records[key] = r
	return r.item(), true, nil
}

func TestNaiveStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return &naiveStore{records: map[string]naiveRecord{}} })
}
