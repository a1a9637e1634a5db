package fleet

import (
	"context"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
)

// A write is a record that is to replace what was known when it was made.
type write struct {
	old      uint64
	next     record
	wasReset time.Duration // as it was then
	leaseEnd time.Duration // end of the lease that it asks for; 0 if it does not
}

// An outcome is how a swap has ended.
type outcome uint8

const (
	won     outcome = iota
	lost            // to the winner, whose record has been learnt
	unknown         // the store did not say
)

// replace returns the write that replaces what is known. The caller holds mu.
func (m *Member) replace(next record) write {
	return write{old: m.known.version, next: next, wasReset: m.wasReset}
}

// swap writes, and learns from how that has ended. A lease held before is given up.
func (m *Member) swap(ctx context.Context, w write) (winner store.Item, o outcome) {
	s, err := m.fleet.swap(ctx, m.key, w.old, w.next)
	m.mu.Lock()
	defer m.unlock()
	if m.wasReset != w.wasReset { // what is written by now is as old as what the Reset was about
		m.wasReset, m.known.ignored, w.leaseEnd = m.now(), s.cur.Version, 0
	}
	m.lease, m.electing = lease{}, false
	switch {
	case err != nil:
		m.lease.until = w.leaseEnd
		m.inDoubt = true
		m.due.Store(int64(m.now())) // the record is read before anything else is written
		return store.Item{}, unknown
	case !s.ok:
		if s.cur.Version < w.old {
			m.known.version = 0 // the store is out of order, but what it says now counts
		}
		m.learn(ctx, s.cur)
		return s.cur, lost
	}
	if w.leaseEnd > 0 {
		m.lease = lease{s.cur.Version, w.leaseEnd}
	}
	m.remember(s.cur)
	return s.cur, won
}

// resolveDoubt reads the record if a write of this process's is in doubt. It reports whether none is
// in doubt afterwards.
func (m *Member) resolveDoubt(ctx context.Context) bool {
	m.mu.Lock()
	inDoubt := m.inDoubt
	m.mu.Unlock()
	if !inDoubt || m.load(ctx) {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lease = lease{}
	return false
}

// resolveLease finds out from the record about a lease that was in doubt. The caller holds mu.
func (m *Member) resolveLease() {
	if m.lease.version != 0 {
		return
	}
	if !m.isOwnLease() || m.lease.until == 0 {
		m.lease = lease{}
		return
	}
	m.lease = lease{m.known.version, min(m.lease.until, m.known.at+m.known.rec.Lasts.duration()-m.known.age)}
}
