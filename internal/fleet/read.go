package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
)

// gatherFirst is how long a first read waits for others, which share its Load.
const gatherFirst = 100 * time.Microsecond

// Refresh reads the record, which is due. If this is the first request, or the first one after a
// long time without requests, it waits for the read. If the host is failing, the request also waits
// for a read that a failure wants. Otherwise the read goes on in the background.
func (m *Member) Refresh(ctx context.Context, now time.Duration, failing bool) {
	m.mu.Lock()
	if !m.idle(now) || !m.guard.allows(now) {
		wait := failing && m.reads.wantedSoon
		m.mu.Unlock()
		m.fleet.readDue(ctx, m, now, wait)
		return
	}
	done := m.reads.firstEnds
	if done == nil {
		done = make(chan struct{})
		m.reads.firstEnds = done
		m.fleet.readFirst(m)
	}
	m.mu.Unlock()
	await(ctx, done, m.fleet.cfg.ReadTimeout)
}

// await lets a request wait for a read: at most for limit, and at most for half of the time that
// the request has. The other half is for its host.
func await(ctx context.Context, done <-chan struct{}, limit time.Duration) {
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// idle reports whether the record was never read, or no request has come for so long that the
// latest read says nothing any more. A record that has been due for long shows that no request has
// come, because a request would have read it. The caller holds mu.
func (m *Member) idle(now time.Duration) bool {
	refresh := m.fleet.cfg.Refresh
	overdue := now - m.NextRead()
	return m.reads.latest == never || (now-m.reads.latest)/10 >= refresh && overdue/8 >= refresh
}

// readFirst reads the record of m, for which requests wait. One Load also reads the records of
// other members whose first reads begin at the same moment.
func (f *Fleet) readFirst(m *Member) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.firsts = append(f.firsts, m); len(f.firsts) > 1 {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), f.cfg.ReadTimeout)
		defer cancel()
		time.Sleep(gatherFirst)
		f.mu.Lock()
		firsts := f.firsts
		f.firsts = nil
		for _, m := range firsts {
			f.enter(m)
		}
		f.mu.Unlock()
		var batches sync.WaitGroup
		for batch := range slices.Chunk(firsts, maxBatch) {
			batches.Go(func() { f.read(ctx, batch, func() { endFirst(batch) }) })
		}
		batches.Wait()
	}()
}

// endFirst lets the requests that wait for the first read go on.
func endFirst(members []*Member) {
	for _, m := range members {
		m.mu.Lock()
		close(m.reads.firstEnds)
		m.reads.firstEnds = nil
		m.mu.Unlock()
	}
}

// read reads the records of members, lets their circuits follow, and then calls done. It does not
// wait until the transitions are delivered, because that may call the user's code.
func (f *Fleet) read(ctx context.Context, members []*Member, done func()) {
	began := f.cfg.Now()
	items, err := f.load(ctx, keysOf(members), ordinary)
	var after []func()
	for i, m := range members {
		switch {
		case errors.Is(err, errFull): // it stays due
			m.readLater()
		case err != nil:
			m.readFailed()
		default:
			after = append(after, m.adopt(context.Background(), items[i], began)...)
		}
	}
	done()
	for _, deliver := range after {
		f.Go(deliver)
	}
}

// keysOf returns the keys of the members' records, which are about to be read. This read is the one
// that earlier failures wanted.
func keysOf(members []*Member) []string {
	keys := make([]string, len(members))
	for i, m := range members {
		keys[i] = m.key
		m.mu.Lock()
		m.reads.wantedSoon = false
		m.mu.Unlock()
	}
	return keys
}

// readLater schedules the next read of a record that was not read, because too many calls were
// under way.
func (m *Member) readLater() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if m.reads.latest == never {
		m.reads.latest = now // so that no request waits for it again
	}
	m.due.Store(int64(now + spread(m.fleet.cfg.ReadTimeout)))
}

// load reads the record and adopts it, while the caller waits. It returns the error of the store.
func (m *Member) load(ctx context.Context, p priority) error {
	began := m.now()
	if !m.guard.allows(began) {
		return errGuarded
	}
	items, err := m.fleet.load(ctx, []string{m.key}, p)
	if err != nil {
		m.readFailed()
		return err
	}
	m.adoptNow(ctx, items[0], began)
	return items[0].Err
}

// failedItem reports that the store could not read or write this record, though it may serve
// others.
func (m *Member) failedItem(operation string, item store.Item) {
	m.guard.report(m.now(), false)
	m.fleet.cfg.OnError(operation, item.Err)
}

// Go calls do, which may call the user's code, in a goroutine of its own. A panic there would end
// the program, so it is reported instead.
func (f *Fleet) Go(do func()) {
	go func() {
		defer func() {
			if v := recover(); v != nil {
				f.cfg.OnError(OpAdopt, fmt.Errorf("breakerhttp: panic: %v", v))
			}
		}()
		do()
	}()
}
