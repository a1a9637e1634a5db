package fleet

import (
	"context"
	"time"
)

// A Load takes at most maxBatch records, for which DynamoDB needs one call. It looks for them among
// at most maxLooks members.
const (
	maxBatch = 100
	maxLooks = 1000
)

// enter makes m one of those that are read along with others.
func (f *Fleet) enter(m *Member) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !m.gone {
		f.members[m] = struct{}{}
	}
}

// Leave is the end of a member whose circuit is evicted.
func (m *Member) Leave() {
	m.fleet.mu.Lock()
	defer m.fleet.mu.Unlock()
	m.gone = true
	delete(m.fleet.members, m)
}

// readDue reads the records of all members that are due, m among them, in the background. While such
// a read is under way, m is left to the next one. The request waits for a read that it has started,
// if it wants to.
func (f *Fleet) readDue(ctx context.Context, m *Member, now time.Duration, wait bool) {
	if !f.guard.allows(now) {
		m.readFailed()
		return
	}
	if !f.enqueue(m, now) {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.readBatch(context.WithoutCancel(ctx), f.nextBatch(now))
	}()
	if wait {
		await(ctx, done, f.cfg.ReadTimeout) // not for the hooks of other circuits
	}
}

// enqueue puts m among those that are to be read. It reports whether the caller is to start a read:
// false while one is under way.
func (f *Fleet) enqueue(m *Member, now time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !m.Due(now) {
		return false // another read has just taken it
	}
	if !m.queued {
		m.queued = true
		f.queue = append(f.queue, m)
	}
	f.postpone(m, now)
	if f.reading {
		return false
	}
	f.reading = true
	return true
}

// nextBatch returns the members whose records are to be read now: those that requests have asked
// for, and others that are due. Without requests of its own, none is read more than once.
func (f *Fleet) nextBatch(now time.Duration) []*Member {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := min(len(f.queue), maxBatch)
	members := f.queue[:n:n]
	f.queue = f.queue[n:]
	for _, m := range members {
		m.queued, m.prefetched = false, false
		f.postpone(m, now)
	}
	looks := 0
	for m := range f.members { // in random order
		if looks++; looks > maxLooks || len(members) == maxBatch {
			break
		}
		if !m.queued && !m.prefetched && m.Due(now) {
			m.prefetched = true
			f.postpone(m, now)
			members = append(members, m)
		}
	}
	return members
}

func (f *Fleet) readBatch(ctx context.Context, members []*Member) {
	keys := make([]string, len(members))
	for i, m := range members {
		keys[i] = m.key
		m.mu.Lock()
		m.reads.wantedSoon = false
		m.mu.Unlock()
	}
	items, err := f.load(ctx, keys)
	if err != nil {
		for _, m := range members {
			m.readFailed()
		}
		items = nil
	}
	f.endBatch()
	for i := range items {
		// The request may be over, and is not the cause.
		f.catchPanics(func() { members[i].adopt(context.Background(), items[i]) })
	}
}

// endBatch lets the next read start.
func (f *Fleet) endBatch() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reading = false
}

// postpone keeps requests from asking again while the record is about to be read.
func (f *Fleet) postpone(m *Member, now time.Duration) { m.due.Store(int64(now + f.cfg.ReadTimeout)) }
