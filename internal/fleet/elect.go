package fleet

import (
	"context"
	"slices"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
)

// A lease is the right to probe for all. Its version fences it: a process that takes it over writes
// another one. A lease that has an end but no version is in doubt.
type lease struct {
	version uint64
	until   time.Duration
}

// A role is what the record lets a process do whose open time is over.
type role uint8

const (
	loner     role = iota // probe for itself
	candidate             // probe for all, if it gets the lease
	onlooker              // wait: another process probes, or the open time is not over
)

// Elect asks whether this process, whose open time is over, may probe. The answer is good until
// then. It takes at most ReadTimeout and WriteTimeout.
func (m *Member) Elect(ctx context.Context) (mayProbe bool, until time.Duration) {
	alone := m.now() + m.leaseTime()
	if !m.load(context.WithoutCancel(ctx)) {
		return true, alone
	}
	m.mu.Lock()
	r, until := m.role()
	w := m.replace(m.leaseRecord())
	m.electing = r == candidate
	m.mu.Unlock()
	switch r {
	case loner:
		return true, alone
	case onlooker:
		return false, until
	}
	ctx, cancel := m.fleet.writing(ctx)
	defer cancel()
	// Counted from before the swap: the lease ends here before it ends in the store.
	w.leaseEnd = m.now() + m.leaseTime()
	switch winner, o := m.swap(ctx, w); o {
	case lost:
		return m.lostElection(w.old, winner)
	case unknown:
		return true, alone
	}
	return true, w.leaseEnd
}

// lostElection is what a candidate may do that has lost to another process.
func (m *Member) lostElection(old uint64, winner store.Item) (mayProbe bool, until time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	r, until := m.role()
	switch {
	case r == loner || winner.Version <= old: // or nobody has won: the store is out of order
		return true, now + m.leaseTime()
	case r == candidate:
		return false, now + spread(m.halfRefresh()) // not twice in one request
	}
	return false, until
}

// role returns the role of this process, and how long an onlooker has to wait.
func (m *Member) role() (r role, until time.Duration) {
	now := m.now()
	rec := &m.known.rec
	if rec.State != Open && rec.State != Half {
		return loner, 0
	}
	if remaining := m.remaining(now); remaining > 0 {
		return onlooker, now + remaining
	}
	failed := m.failedProbers(now)
	if i := slices.IndexFunc(failed, func(v vote) bool { return v.ID == m.fleet.id }); i >= 0 {
		again := m.openTime(rec.Opens) - failed[i].Age.duration()
		return onlooker, now + min(again, spread(m.halfRefresh()))
	}
	return candidate, 0
}

// failedProbers are the processes whose probe has failed in this round.
func (m *Member) failedProbers(now time.Duration) []vote {
	rec := &m.known.rec
	return youngest(young(rec.Failed, m.known.ageAt(now), m.openTime(rec.Opens)), m.fleet.cfg.Quorum)
}

// leaseRecord is the record with a lease for this process.
func (m *Member) leaseRecord() record {
	return record{
		State:  Half,
		Lasts:  millisOf(m.leaseTime()),
		Opens:  m.known.rec.Opens,
		Failed: m.failedProbers(m.now()),
	}
}
