package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
)

// The operations whose errors are counted.
const (
	OpLoad   = "load"
	OpSwap   = "compare_and_swap"
	OpRecord = "record" // to parse a record
	OpAdopt  = "adopt"  // to deliver a transition
	OpWatch  = "watch"
)

// The results by which calls of the store are counted.
const (
	ResultOK      = "ok"
	ResultLost    = "lost"    // another process has written first
	ResultError   = "error"   // the store has failed, or has failed for each of several records
	ResultDelayed = "delayed" // the call ended late because this process was frozen or busy
	ResultFull    = "full"    // the call was not made: too many were under way
)

// Results returns all results that an operation can have.
func Results(operation string) []string {
	if operation == OpSwap {
		return []string{ResultOK, ResultLost, ResultError, ResultDelayed, ResultFull}
	}
	return []string{ResultOK, ResultError, ResultDelayed, ResultFull}
}

// Errors of a call that say nothing about the store.
var (
	errGuarded = fmt.Errorf("breakerhttp: store: not called for a while, after %d errors in a row", guardErrors)
	errFull    = fmt.Errorf("breakerhttp: store: not called, because %d calls are under way", maxCalls)
	errDelayed = errors.New("breakerhttp: store: the call ended late because of this process")
)

const (
	// keepFor is how long the store keeps a record after its time is over.
	keepFor = 24 * time.Hour

	// A call that ends later than frozenFor after its deadline was held up by this process, which
	// was frozen or busy, and not by the store.
	frozenFor = time.Second

	// A call that the store does not end keeps its slot for holdSlot times its timeout.
	holdSlot = 10
)

// A priority of a call of the store.
type priority uint8

const (
	ordinary priority = iota
	urgent            // for a verdict: it gets the next slot
	command           // for a person: urgent, and made even while the guard forbids calls
)

// load reads records, within ReadTimeout.
func (f *Fleet) load(ctx context.Context, keys []string, p priority) ([]store.Item, error) {
	ctx, cancel := context.WithTimeout(ctx, f.cfg.ReadTimeout)
	defer cancel()
	c := storeCall{OpLoad, f.cfg.ReadTimeout, p}
	return call(ctx, f, c, func(ctx context.Context) ([]store.Item, string, error) {
		items, err := f.cfg.Store.Load(ctx, keys)
		if err == nil && len(items) != len(keys) {
			err = fmt.Errorf("breakerhttp: the store returned %d items for %d keys", len(items), len(keys))
		}
		if err == nil {
			err = allFailed(items)
		}
		return items, ResultOK, err
	})
}

// allFailed returns an error if none of two or more items could be read: then it is the store that
// fails, and not single records.
func allFailed(items []store.Item) error {
	if len(items) < 2 {
		return nil
	}
	for _, item := range items {
		if item.Err == nil {
			return nil
		}
	}
	return fmt.Errorf("breakerhttp: the store could read none of %d records: %w", len(items), items[0].Err)
}

type swapped struct {
	cur store.Item
	ok  bool
}

// swap writes a record if its version is old, before the deadline of ctx.
func (f *Fleet) swap(ctx context.Context, key string, old uint64, r record, p priority) (swapped, error) {
	r.Owner = f.id
	c := storeCall{OpSwap, f.cfg.WriteTimeout, p}
	return call(ctx, f, c, func(ctx context.Context) (s swapped, result string, err error) {
		s.cur, s.ok, err = f.cfg.Store.CompareAndSwap(ctx, key, old, r.encode(), r.Lasts.duration()+keepFor)
		if !s.ok {
			return s, ResultLost, err
		}
		return s, ResultOK, err
	})
}

// writing returns a context in which a request publishes something. It does not end if the request
// is cancelled, because other processes can still use what the request has found out.
func (f *Fleet) writing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), f.cfg.WriteTimeout)
}

// A storeCall is a call of the store to be made.
type storeCall struct {
	operation string
	timeout   time.Duration
	priority  priority
}

// call calls the store, unless the guard forbids it or no slot comes free in half of the time. It
// returns at the deadline of ctx at the latest, even if the store ignores that.
func call[T any](ctx context.Context, f *Fleet, c storeCall, do func(context.Context) (T, string, error)) (value T, err error) {
	if c.priority != command && !f.guard.allows(f.cfg.Now()) {
		return value, errGuarded
	}
	deadline, _ := ctx.Deadline()
	ok, waited := f.slots.take(time.Until(deadline)/2, c.priority >= urgent)
	if !ok {
		f.cfg.OnCall(c.operation, ResultFull)
		return value, errFull
	}
	value, result, err := callWithSlot(ctx, f, c, do)
	if time.Since(deadline) > frozenFor || waited && errors.Is(err, context.DeadlineExceeded) {
		f.cfg.OnCall(c.operation, ResultDelayed)
		return value, errDelayed
	}
	if err != nil {
		result = ResultError
		f.cfg.OnError(c.operation, err)
	}
	f.cfg.OnCall(c.operation, result)
	f.guard.report(f.cfg.Now(), err == nil)
	return value, err
}

// callWithSlot makes the call, and frees its slot when that has returned.
func callWithSlot[T any](ctx context.Context, f *Fleet, c storeCall, do func(context.Context) (T, string, error)) (T, string, error) {
	type answer struct {
		value  T
		result string
		err    error
	}
	var freed sync.Once
	free := func() { freed.Do(f.slots.free) }
	answers := make(chan answer, 1)
	go func() {
		defer free()
		// The error for a store that calls runtime.Goexit.
		a := answer{err: fmt.Errorf("breakerhttp: store: %s ended without an answer", c.operation)}
		defer func() {
			if v := recover(); v != nil {
				a.err = fmt.Errorf("breakerhttp: store: %s panicked: %v", c.operation, v)
			}
			answers <- a
		}()
		a.value, a.result, a.err = do(ctx)
	}()
	select {
	case a := <-answers:
		return a.value, a.result, a.err
	case <-ctx.Done():
		time.AfterFunc((holdSlot-1)*c.timeout, free)
		var none T
		return none, "", fmt.Errorf("breakerhttp: store: %s: %w", c.operation, ctx.Err())
	}
}
