package before

import (
	"context"
	"slices"
	"time"
)

// A lease is the right to probe for all. Its version is what fences it: whoever
// takes it over writes another. One that has an end but no version is in doubt.
type lease struct {
	version uint64
	until   time.Duration
}

// A role is what the record lets a process do whose open time is over.
type role uint8

const (
	loner     role = iota // probe, for itself
	candidate             // probe for all, if it gets the lease
	onlooker              // wait: another probes, or the time is not over
)

// Elect asks whether this process may probe, its open time being over. It may,
// or may not, until then. It takes at most ReadTimeout and WriteTimeout.
func (m *Member) Elect(ctx context.Context) (mayProbe bool, until time.Duration) {
	alone := m.now() + m.leaseTime()
	if !m.load(context.WithoutCancel(ctx)) {
		return true, alone
	}
	m.mu.Lock()
	r, until := m.role()
	w := m.write(m.leased())
	m.asking = r == candidate
	m.mu.Unlock()
	switch r {
	case loner:
		return true, alone
	case onlooker:
		return false, until
	}
	ctx, cancel := m.fleet.writing(ctx)
	defer cancel()
	// Counted from before the swap: it ends here before it ends in the store.
	w.lease = m.now() + m.leaseTime()
	switch winner, end := m.swap(ctx, w); end {
	case lost:
		return m.outrun(w.old, winner)
	case doubtful:
		return true, alone
	}
	return true, w.lease
}

// outrun is for a candidate that lost to another.
func (m *Member) outrun(old uint64, winner Item) (mayProbe bool, until time.Duration) {
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
	if m.rec.State != Open && m.rec.State != Half {
		return loner, 0
	}
	if left := m.left(now); left > 0 {
		return onlooker, now + left
	}
	failed := m.failed(now)
	if i := slices.IndexFunc(failed, func(v vote) bool { return v.ID == m.fleet.id }); i >= 0 {
		again := m.openTime(m.rec.Opens) - failed[i].Age.duration()
		return onlooker, now + min(again, spread(m.halfRefresh()))
	}
	return candidate, 0
}

// failed are the processes whose probe has failed in this round.
func (m *Member) failed(now time.Duration) []vote {
	return youngest(young(m.rec.Failed, m.ageAt(now), m.openTime(m.rec.Opens)), m.fleet.cfg.Quorum)
}

// leased is the record with a lease for this process.
func (m *Member) leased() record {
	return record{State: Half, Lasts: millisOf(m.leaseTime()), Opens: m.rec.Opens, Failed: m.failed(m.now())}
}

// Probed tells how a probe, or the last of several, has ended. A probe without a
// lease speaks for this process alone: if it has failed, it is a vote. It takes
// at most WriteTimeout.
func (m *Member) Probed(ctx context.Context, ok bool, openFor time.Duration) {
	ctx, cancel := m.fleet.writing(ctx)
	defer cancel()
	if !m.resolve(ctx) {
		return
	}
	say := m.failedRound
	if ok {
		say = m.recovered
	}
	if !m.verdict(ctx, say) && !ok {
		m.vote(ctx, openFor)
	}
}

// Released tells that the probes of this process have ended without a verdict:
// the next may try. It takes at most WriteTimeout.
func (m *Member) Released(ctx context.Context) {
	ctx, cancel := m.fleet.writing(ctx)
	defer cancel()
	if m.resolve(ctx) {
		m.verdict(ctx, m.abandoned)
	}
}

func (m *Member) recovered() record { return record{State: Closed, Opens: m.rec.Opens} }

func (m *Member) abandoned() record {
	return record{State: Open, Opens: m.rec.Opens, Failed: m.failed(m.now())}
}

// failedRound adds this process to those whose probe has failed. Enough of them
// end the round; until then another process probes at once: one with a broken
// network of its own must not keep all others out.
func (m *Member) failedRound() record {
	failed := with(m.failed(m.now()), m.fleet.id, m.fleet.cfg.Quorum)
	if len(failed) < m.fleet.cfg.Quorum {
		return record{State: Open, Opens: m.rec.Opens, Failed: failed}
	}
	g := m.rec.Opens
	if m.openTime(g) < m.policy.MaxOpenFor {
		g = min(g+1, maxOpens)
	}
	return record{State: Open, Opens: g, Lasts: millisOf(m.openTime(g))}
}

// verdict writes what this process has found out over its lease, and gives that
// up. Without a lease it returns false. One that has run out says nothing; who
// lost it to another follows that.
func (m *Member) verdict(ctx context.Context, say func() record) bool {
	m.mu.Lock()
	held := m.lease
	if held.version == 0 {
		m.mu.Unlock()
		return false
	}
	if held.version != m.version || m.now() >= held.until {
		m.lease = lease{}
		m.follow(ctx)
		m.unlock()
		return true
	}
	w := m.write(say())
	m.mu.Unlock()
	m.swap(ctx, w)
	return true
}
