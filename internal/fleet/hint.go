package fleet

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
)

// gatherHints is how long hints are gathered, so that each record is read once.
const gatherHints = 5 * time.Millisecond

// Watch reads a record as soon as the store reports that another process has written it. It goes on
// until ctx is done or the store fails, and returns the error within ReadTimeout. The error is
// [errors.ErrUnsupported] if the store is not a [store.Watcher].
func (f *Fleet) Watch(ctx context.Context) (err error) {
	w, ok := f.cfg.Store.(store.Watcher)
	if !ok {
		return errors.ErrUnsupported
	}
	ctx, cancel := context.WithCancel(ctx)
	h := hints{fleet: f, hinted: make(chan struct{}, 1)}
	var reader sync.WaitGroup
	defer reader.Wait()
	defer cancel()
	reader.Go(func() { h.read(ctx) })
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("breakerhttp: store: Watch panicked: %v\n%s", v, debug.Stack())
			f.cfg.OnError(OpWatch, err)
		}
	}()
	return w.Watch(ctx, h.add)
}

// hints are records that other processes have written, and that are to be read.
type hints struct {
	fleet  *Fleet
	hinted chan struct{} // full if there are hints

	mu      sync.Mutex
	members map[*Member]struct{}
}

// add adds a hint. It is called by the store.
func (h *hints) add(key string) {
	h.fleet.mu.Lock()
	m, ok := h.fleet.members[key]
	h.fleet.mu.Unlock()
	if !ok {
		return
	}
	h.mu.Lock()
	if h.members == nil {
		h.members = map[*Member]struct{}{}
	}
	h.members[m] = struct{}{}
	h.mu.Unlock()
	select {
	case h.hinted <- struct{}{}:
	default:
	}
}

// read reads what is hinted, one Load at a time, until ctx is done. A Load that is under way then
// goes on, because a call that is broken off would look like a failure of the store.
func (h *hints) read(ctx context.Context) {
	for {
		select {
		case <-h.hinted:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(gatherHints):
		case <-ctx.Done():
			return
		}
		for batch := range slices.Chunk(h.take(), maxBatch) {
			if ctx.Err() != nil {
				return
			}
			h.fleet.read(context.Background(), batch, func() {})
		}
	}
}

// take returns the members whose records are to be read. If a guard forbids that for one, it drops
// the hint, and the next Refresh reads the record.
func (h *hints) take() (members []*Member) {
	h.mu.Lock()
	hinted := h.members
	h.members = nil
	h.mu.Unlock()
	now := h.fleet.cfg.Now()
	if !h.fleet.guard.allows(now) {
		return nil
	}
	for m := range hinted {
		if m.guard.allows(now) {
			members = append(members, m)
		}
	}
	return members
}
