package before

import (
	"context"
	"time"
)

// A write is a record that is to take the place of what was known when it was
// made.
type write struct {
	old   uint64
	next  record
	reset time.Duration // as it was then
	lease time.Duration // end of the lease that it asks for; 0 if it does not
}

// An ending is that of a swap.
type ending uint8

const (
	won      ending = iota
	lost            // to the winner, who has been followed
	doubtful        // the store did not say
)

func (m *Member) write(next record) write {
	return write{old: m.version, next: next, reset: m.reset}
}

// swap writes, and takes in how that has ended. A lease held before is given up.
func (m *Member) swap(ctx context.Context, w write) (winner Item, end ending) {
	s, err := m.fleet.swap(ctx, m.key, w.old, w.next)
	m.mu.Lock()
	defer m.unlock()
	if m.reset != w.reset { // what is written by now is as old as what the Reset was about
		m.reset, m.ignored, w.lease = m.now(), s.cur.Version, 0
	}
	m.lease, m.asking = lease{}, false
	switch {
	case err != nil:
		m.lease.until = w.lease
		m.doubt()
		return Item{}, doubtful
	case !s.swapped:
		if s.cur.Version < w.old {
			m.version = 0 // odd, but what the store says now counts
		}
		m.learn(ctx, s.cur)
		return s.cur, lost
	}
	if w.lease > 0 {
		m.lease = lease{s.cur.Version, w.lease}
	}
	m.take(s.cur)
	return s.cur, won
}

// doubt is for a write that may or may not have come through: the record is read
// before anything else is written.
func (m *Member) doubt() {
	m.doubts = true
	m.due.Store(int64(m.now()))
}

// resolve reads the record if a write of this process's is in doubt.
func (m *Member) resolve(ctx context.Context) bool {
	m.mu.Lock()
	doubts := m.doubts
	m.mu.Unlock()
	if !doubts || m.load(ctx) {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lease = lease{}
	return false
}

// resolveLease finds out about a lease that was in doubt.
func (m *Member) resolveLease() {
	if m.lease.version != 0 {
		return
	}
	if !m.mine() || m.lease.until == 0 {
		m.lease = lease{}
		return
	}
	m.lease = lease{m.version, min(m.lease.until, m.at+m.rec.Lasts.duration()-m.age)}
}

// unlock unlocks m, and then tells what could not be told under its lock.
func (m *Member) unlock() {
	later := m.later
	m.later = nil
	m.mu.Unlock()
	for _, tell := range later {
		tell()
	}
}
