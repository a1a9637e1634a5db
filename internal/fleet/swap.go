package fleet

import (
	"context"
	"errors"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
)

// A write is a record that is to replace the version old.
type write struct {
	old      uint64
	next     record
	leaseEnd time.Duration // end of the lease that next asks for; 0 if it asks for none
	priority priority
}

// An outcome is how a swap has ended.
type outcome uint8

const (
	won     outcome = iota
	lost            // another process has written first, and its record is known now
	unknown         // the store did not say
	delayed         // the store did not say, because this process was frozen or busy
	full            // not sent: too many calls are under way
	unsent          // not sent: the store or the record has failed too often
)

// swap writes a record, and learns from the result. It gives up a lease that was held before.
func (m *Member) swap(ctx context.Context, w write) (winner store.Item, o outcome) {
	var s swapped
	err := errGuarded
	if m.guard.allows(m.now()) {
		s, err = m.fleet.swap(ctx, m.key, w.old, w.next, w.priority)
	}
	if err == nil && s.cur.Err != nil {
		err = s.cur.Err
		m.failedItem(OpSwap, s.cur)
	} else if err == nil {
		m.guard.report(m.now(), true)
	}
	m.mu.Lock()
	defer m.unlock()
	m.electing = false
	switch {
	case errors.Is(err, errGuarded):
		m.setLease(lease{})
		return store.Item{}, unsent
	case errors.Is(err, errFull):
		m.setLease(lease{})
		return store.Item{}, full
	case err != nil:
		m.setLease(lease{until: w.leaseEnd})
		m.inDoubt = true
		m.due.Store(int64(m.now())) // the record is read before anything else is written
		if errors.Is(err, errDelayed) {
			return store.Item{}, delayed
		}
		return store.Item{}, unknown
	case !s.ok:
		m.setLease(lease{})
		if s.cur.Version != 0 && s.cur.Version < w.old {
			// Reads will show whether the store has lost writes.
			m.due.Store(int64(m.now() + afterFailure))
		} else {
			m.learn(ctx, s.cur, m.now()+1)
		}
		return s.cur, lost
	}
	l := lease{}
	if w.leaseEnd > 0 {
		l = lease{version: s.cur.Version, until: w.leaseEnd}
	}
	m.setLease(l)
	m.remember(s.cur)
	return s.cur, won
}

// resolveDoubt reads the record if a write of this process is in doubt. It returns an error if the
// write still is.
func (m *Member) resolveDoubt(ctx context.Context) error {
	m.mu.Lock()
	inDoubt := m.inDoubt
	m.mu.Unlock()
	if !inDoubt {
		return nil
	}
	err := m.load(ctx, urgent)
	if err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.setLease(lease{})
	}
	return err
}

// resolveLease finds out from the record whether this process has a lease that was in doubt. The
// caller holds mu.
func (m *Member) resolveLease() {
	switch {
	case m.lease.version != 0:
	case !m.isOwnLease() || m.lease.until == 0:
		m.setLease(lease{})
	default:
		end := m.known.at + m.known.rec.Lasts.duration() - m.known.age
		m.setLease(lease{version: m.known.version, until: min(m.lease.until, end)})
	}
}
