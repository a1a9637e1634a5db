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

// enter adds m to the members that are read along with others. The caller holds mu.
func (f *Fleet) enter(m *Member) {
	if !m.gone {
		f.members[m.key] = m
	}
}

// Leave removes the member, because its circuit has been evicted.
func (m *Member) Leave() {
	f := m.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	m.gone = true
	if f.members[m.key] == m { // and not that of a new circuit with the same key
		delete(f.members, m.key)
	}
}

// readDue reads the records of all members that are due, m among them, in the background. If such a
// read is under way already, the next one reads the record of m. If wait is true, the request waits
// for a read that it has started.
func (f *Fleet) readDue(ctx context.Context, m *Member, now time.Duration, wait bool) {
	if !f.guard.allows(now) || !m.guard.allows(now) {
		m.readFailed()
		return
	}
	if !f.enqueue(m, now) {
		return
	}
	done := make(chan struct{})
	go f.read(context.Background(), f.nextBatch(now), func() {
		f.mu.Lock()
		f.reading = false
		f.mu.Unlock()
		close(done)
	})
	if wait {
		await(ctx, done, f.cfg.ReadTimeout)
	}
}

// enqueue adds m to the members whose records are to be read. It reports whether the caller has to
// start a read, because none is under way.
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

// nextBatch returns the members whose records are to be read now: those that requests have found
// due, and others that are due. The record of a member without requests is read only once in this
// way, until a request finds it due.
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
	for _, m := range f.members { // in random order
		if looks++; looks > maxLooks || len(members) == maxBatch {
			break
		}
		if m.queued || m.prefetched || !m.Due(now) || !m.guard.allows(now) {
			continue
		}
		m.prefetched = true
		f.postpone(m, now)
		members = append(members, m)
	}
	return members
}

// postpone keeps requests from asking again while the record is about to be read.
func (f *Fleet) postpone(m *Member, now time.Duration) { m.due.Store(int64(now + f.cfg.ReadTimeout)) }
