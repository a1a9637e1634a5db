package fleet

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Item and Store are those of the root package.
type Item struct {
	Value   []byte
	Version uint64
	Age     time.Duration
}

type Store interface {
	Load(ctx context.Context, keys []string) ([]Item, error)
	CompareAndSwap(ctx context.Context, key string, old uint64, value []byte, ttl time.Duration) (cur Item, swapped bool, err error)
}

// The operations that errors are reported of.
const (
	OpLoad   = "load"
	OpSwap   = "compare_and_swap"
	OpRecord = "record"
)

// load reads records, within ReadTimeout.
func (f *Fleet) load(ctx context.Context, keys []string) ([]Item, error) {
	var items []Item
	err := f.call(ctx, OpLoad, f.cfg.ReadTimeout, func(ctx context.Context) error {
		got, err := f.cfg.Store.Load(ctx, keys)
		if err == nil && len(got) != len(keys) {
			err = fmt.Errorf("breakerhttp: the store returned %d items for %d keys", len(got), len(keys))
		}
		items = got
		return err
	})
	if err != nil {
		return nil, err // items may still be written to
	}
	return items, nil
}

type swap struct {
	cur     Item
	swapped bool
}

// swap writes a record if its version is old, within WriteTimeout.
func (f *Fleet) swap(ctx context.Context, key string, old uint64, r record) (swap, error) {
	var s swap
	ttl := time.Duration(r.Millis)*time.Millisecond + 24*time.Hour
	err := f.call(ctx, OpSwap, f.cfg.WriteTimeout, func(ctx context.Context) (err error) {
		s.cur, s.swapped, err = f.cfg.Store.CompareAndSwap(ctx, key, old, r.encode(), ttl)
		return err
	})
	if err != nil {
		return swap{}, err
	}
	return s, nil
}

// call runs a call of the store for at most timeout, and does not wait for one
// that ignores its context. The caller of the request may go: what it has learnt
// is of use to others.
func (f *Fleet) call(ctx context.Context, operation string, timeout time.Duration, do func(context.Context) error) error {
	if !f.guard.allows(f.cfg.Now()) {
		return errGuarded
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	result := make(chan error, 1)
	go func() {
		defer cancel()
		result <- do(ctx)
	}()
	var err error
	select {
	case err = <-result:
	case <-ctx.Done():
		select {
		case err = <-result: // it was both
		default:
			err = fmt.Errorf("breakerhttp: store: %s: %w", operation, ctx.Err())
		}
	}
	f.guard.report(f.cfg.Now(), err == nil)
	if err != nil {
		f.cfg.OnError(operation, err)
	}
	return err
}

// A guard keeps off a store that fails: after three errors in a row for five
// seconds, then for twice as long after each further one, up to a minute.
type guard struct {
	mu     sync.Mutex
	errors int
	pause  time.Duration
	until  time.Duration
}

const (
	guardErrors   = 3
	guardPause    = 5 * time.Second
	guardMaxPause = 60 * time.Second
)

var errGuarded = fmt.Errorf("breakerhttp: store: left alone after %d errors in a row", guardErrors)

func (g *guard) allows(now time.Duration) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return now >= g.until
}

func (g *guard) report(now time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ok {
		g.errors, g.pause, g.until = 0, 0, 0
		return
	}
	g.errors++
	if g.errors >= guardErrors && now >= g.until { // not again for calls that were under way
		g.pause = min(max(guardPause, 2*g.pause), guardMaxPause)
		g.until = now + g.pause
	}
}
