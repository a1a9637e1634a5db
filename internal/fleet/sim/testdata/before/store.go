package before

import (
	"context"
	"fmt"
	"time"
)

// Item is that of the root package.
type Item struct {
	Value   []byte
	Version uint64
	Age     time.Duration
}

// Store is that of the root package.
type Store interface {
	Load(ctx context.Context, keys []string) ([]Item, error)
	CompareAndSwap(ctx context.Context, key string, old uint64, value []byte, ttl time.Duration) (cur Item, swapped bool, err error)
}

// The operations that errors are reported of.
const (
	OpLoad   = "load"
	OpSwap   = "compare_and_swap"
	OpRecord = "record"
	OpAdopt  = "adopt"
)

// keepFor is how long a record is kept after its time is over.
const keepFor = 24 * time.Hour

// load reads records, within ReadTimeout.
func (f *Fleet) load(ctx context.Context, keys []string) ([]Item, error) {
	ctx, cancel := context.WithTimeout(ctx, f.cfg.ReadTimeout)
	defer cancel()
	return call(ctx, f, OpLoad, func() ([]Item, error) {
		items, err := f.cfg.Store.Load(ctx, keys)
		if err == nil && len(items) != len(keys) {
			err = fmt.Errorf("breakerhttp: the store returned %d items for %d keys", len(items), len(keys))
		}
		return items, err
	})
}

type swap struct {
	cur     Item
	swapped bool
}

// swap writes a record if its version is old, within the deadline of ctx.
func (f *Fleet) swap(ctx context.Context, key string, old uint64, r record) (swap, error) {
	r.Owner = f.id
	return call(ctx, f, OpSwap, func() (s swap, err error) {
		s.cur, s.swapped, err = f.cfg.Store.CompareAndSwap(ctx, key, old, r.encode(), r.Lasts.duration()+keepFor)
		return s, err
	})
}

// writing returns a context for what is published. That the request is cancelled
// does not end it: what it has learnt is of use to others.
func (f *Fleet) writing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), f.cfg.WriteTimeout)
}

// call calls the store, unless it is to be left alone. It waits for the deadline
// of ctx and no longer, even if the store does not heed that.
func call[T any](ctx context.Context, f *Fleet, operation string, do func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var a answer
	if !f.guard.allows(f.cfg.Now()) {
		return a.value, errGuarded
	}
	answers := make(chan answer, 1)
	go func() {
		a := answer{err: fmt.Errorf("breakerhttp: store: %s ended without an answer", operation)} // as Goexit does
		defer func() {
			if v := recover(); v != nil {
				a.err = fmt.Errorf("breakerhttp: store: %s panicked: %v", operation, v)
			}
			answers <- a
		}()
		a.value, a.err = do()
	}()
	select {
	case a = <-answers:
	case <-ctx.Done():
		a.err = fmt.Errorf("breakerhttp: store: %s: %w", operation, ctx.Err())
	}
	f.guard.report(f.cfg.Now(), a.err == nil)
	if a.err != nil {
		f.cfg.OnError(operation, a.err)
	}
	return a.value, a.err
}
