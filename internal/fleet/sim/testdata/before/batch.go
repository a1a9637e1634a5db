package before

import "time"

// A Load takes at most maxBatch records, for which DynamoDB needs one call, and
// looks for them among at most maxLooks members.
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

// ask is for a request that has found m due. It returns false while a read is
// under way.
func (f *Fleet) ask(m *Member, now time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !m.Due(now) {
		return false // it has just been taken along
	}
	if !m.queued {
		m.queued = true
		f.queue = append(f.queue, m)
	}
	f.postpone(m, now)
	if f.flying {
		return false
	}
	f.flying = true
	return true
}

// land ends a read.
func (f *Fleet) land() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flying = false
}

// postpone lets requests wait for a read that is about to begin.
func (f *Fleet) postpone(m *Member, now time.Duration) { m.due.Store(int64(now + f.cfg.ReadTimeout)) }

// gather returns those whose records are to be read now: those that requests
// have asked for, and others that are due. Without requests of its own, none is
// read more than once.
func (f *Fleet) gather(now time.Duration) []*Member {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := min(len(f.queue), maxBatch)
	members := f.queue[:n:n]
	f.queue = f.queue[n:]
	for _, m := range members {
		m.queued, m.along = false, false
		f.postpone(m, now)
	}
	looks := 0
	for m := range f.members { // from anywhere
		if looks++; looks > maxLooks || len(members) == maxBatch {
			break
		}
		if !m.queued && !m.along && m.Due(now) {
			m.along = true
			f.postpone(m, now)
			members = append(members, m)
		}
	}
	return members
}
