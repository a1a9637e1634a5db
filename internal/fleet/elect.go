package fleet

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
)

// A lease is the right to probe for all. Its version fences it: a process that takes it over writes
// another one. A lease that has an end but no version is in doubt.
type lease struct {
	version uint64
	until   time.Duration
	said    bool // the verdict has been sent, and the store has not said whether it was written
}

// A role is what the record lets a process do whose open time is over.
type role uint8

const (
	loner     role = iota // probe for itself
	candidate             // probe for all, if it gets the lease
	onlooker              // wait: another process probes, or the open time is not over
)

// An Election says whether a process may probe. The answer holds until Until.
type Election struct {
	MayProbe bool
	Until    time.Duration
	Probed   bool // another process probes, or is about to, so the circuit may close sooner
}

// Elect asks whether this process, whose open time is over, may probe. It takes at most ReadTimeout
// and WriteTimeout.
func (m *Member) Elect(ctx context.Context) Election {
	m.mu.Lock()
	alone := m.alone()
	m.mu.Unlock()
	switch err := m.load(context.WithoutCancel(ctx), ordinary); {
	case errors.Is(err, errFull):
		return m.lookAgain()
	case err != nil:
		return alone
	}
	m.mu.Lock()
	r, wait := m.role()
	// The time of the lease begins before the swap, so the lease ends here before it ends in the
	// store.
	w := write{old: m.known.version, next: m.leaseRecord(), leaseEnd: m.now() + m.leaseTime()}
	m.electing = r == candidate
	m.mu.Unlock()
	switch r {
	case loner:
		return alone
	case onlooker:
		return wait
	}
	ctx, cancel := m.fleet.writing(ctx)
	defer cancel()
	switch winner, o := m.swap(ctx, w); o {
	case won:
		return Election{MayProbe: true, Until: w.leaseEnd}
	case lost:
		return m.lostElection(w.old, winner)
	case full:
		return m.lookAgain()
	}
	return alone
}

// alone lets this process probe for itself. The caller holds mu.
func (m *Member) alone() Election {
	return Election{MayProbe: true, Until: m.now() + m.leaseTime()}
}

// lookAgain makes this process an onlooker.
func (m *Member) lookAgain() Election {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Election{Until: m.now() + spread(m.halfRefresh()), Probed: true}
}

// lostElection returns the election of a candidate that has lost the swap.
func (m *Member) lostElection(old uint64, winner store.Item) Election {
	m.mu.Lock()
	r, wait := m.role()
	alone := m.alone()
	m.mu.Unlock()
	switch {
	case r == loner:
		return alone
	case winner.Version <= old:
		return alone // no other process has won: the store is faulty
	case r == candidate:
		return m.lookAgain() // not twice in one request
	}
	return wait
}

// role returns the role of this process, and how long an onlooker has to wait. The caller holds mu.
func (m *Member) role() (r role, wait Election) {
	now := m.now()
	rec := &m.known.rec
	if rec.State != Open && rec.State != Half || m.ignores() {
		return loner, Election{}
	}
	if m.live(now) {
		if remaining := m.remaining(now); remaining > 0 {
			return onlooker, Election{Until: now + remaining, Probed: rec.State == Half}
		}
		failed := m.failedProbers(now)
		if i := slices.IndexFunc(failed, func(v vote) bool { return v.ID == m.fleet.voter.ID }); i >= 0 {
			again := m.openTime(rec.Opens) - failed[i].Age.duration()
			return onlooker, Election{Until: now + min(again, spread(m.halfRefresh())), Probed: true}
		}
	}
	switch {
	case m.fleet.cfg.DryRun:
		return loner, Election{}
	case now < m.pausedUntil:
		return onlooker, Election{Until: m.pausedUntil, Probed: true}
	}
	return candidate, Election{}
}

// failedProbers returns the processes whose probe has failed in this round. The caller holds mu.
func (m *Member) failedProbers(now time.Duration) []vote {
	rec := &m.known.rec
	return youngest(young(rec.Failed, m.known.ageAt(now), m.openTime(rec.Opens)), m.fleet.cfg.Quorum)
}

// leaseRecord returns the record with a lease for this process. The caller holds mu.
func (m *Member) leaseRecord() record {
	now := m.now()
	return record{
		State:  Half,
		Lasts:  millisOf(m.leaseTime()),
		Opens:  max(1, m.opensKept(now)),
		Failed: m.failedProbers(now),
		By:     m.known.rec.By,

		Ignored: m.known.rec.Ignored,
	}
}
