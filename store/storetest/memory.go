package storetest

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
)

// Memory is a [store.Store] and [store.Watcher] in this process, for tests and simulations. Its
// clock is [time.Now], so it follows the virtual time of a testing/synctest bubble. It never
// forgets a record.
//
// Its methods may be called concurrently. Make one with [NewMemory].
type Memory struct {
	mu      sync.Mutex
	records map[string]record
	watches map[*watch]struct{}
}

type record struct {
	value            []byte
	version          uint64
	written, expires time.Time
}

// A watch is one running Watch.
type watch struct {
	wake chan struct{} // holds a token while pending is not empty
	// pending has each changed key once, so it does not grow without limit while the watcher is
	// slow.
	pending []string
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory {
	return &Memory{records: make(map[string]record), watches: make(map[*watch]struct{})}
}

// Load implements [store.Store]. It fails only if ctx is done.
func (m *Memory) Load(ctx context.Context, keys []string) ([]store.Item, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	items := make([]store.Item, len(keys))
	for i, key := range keys {
		items[i] = m.records[key].item(now)
	}
	return items, nil
}

// CompareAndSwap implements [store.Store]. It fails only if ctx is done, and then it has written
// nothing.
func (m *Memory) CompareAndSwap(ctx context.Context, key string, old uint64, value []byte, ttl time.Duration) (store.Item, bool, error) {
	if err := ctx.Err(); err != nil {
		return store.Item{}, false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	r := m.records[key]
	if r.version != old {
		return r.item(now), false, nil
	}
	r.version = max(old+1, uint64(now.UnixMilli()))
	r.value, r.written, r.expires = bytes.Clone(value), now, now.Add(ttl)
	m.records[key] = r
	for w := range m.watches {
		w.add(key)
	}
	// Not r.item(now): with a ttl of zero that would be empty.
	return store.Item{Value: bytes.Clone(value), Version: r.version}, true, nil
}

// Watch implements [store.Watcher]. It calls changed for every write, including those of the
// caller's own process, and returns ctx's error.
func (m *Memory) Watch(ctx context.Context, changed func(key string)) error {
	w := &watch{wake: make(chan struct{}, 1)}
	m.mu.Lock()
	m.watches[w] = struct{}{}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.watches, w)
		m.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.wake:
		}
		m.mu.Lock()
		keys := w.pending
		w.pending = nil
		m.mu.Unlock()
		for _, key := range keys {
			changed(key)
		}
	}
}

func (r record) item(now time.Time) store.Item {
	if r.version == 0 {
		return store.Item{}
	}
	item := store.Item{Version: r.version, Age: now.Sub(r.written)}
	if now.Before(r.expires) {
		item.Value = bytes.Clone(r.value)
	}
	return item
}

// add adds a changed key. The caller holds the Memory's lock.
func (w *watch) add(key string) {
	if !slices.Contains(w.pending, key) {
		w.pending = append(w.pending, key)
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}
