package fleet

import (
	"context"
	"fmt"
	"time"
)

var errTooLong = fmt.Errorf("%w: its time is too long", errPoison)

// maxSwaps bounds the attempts to add a vote.
const maxSwaps = 4

// Tripped tells that the local circuit has opened by its own rules, for that
// long: a vote to open for all.
func (m *Member) Tripped(ctx context.Context, openFor time.Duration) {
	m.mu.Lock()
	known := m.read != never && m.version != 0
	m.mu.Unlock()
	if !known && !m.loadNow(ctx) {
		return
	}
	for range maxSwaps {
		m.mu.Lock()
		old, next, ok := m.voted(openFor)
		m.mu.Unlock()
		if !ok {
			return
		}
		s, err := m.fleet.swap(ctx, m.key, old, next)
		if err != nil {
			m.unsure()
			return
		}
		m.adopt(s.cur)
		if s.swapped {
			return
		}
	}
}

// voted returns the record with a vote of this process's. It returns false if
// there is nothing to write.
func (m *Member) voted(openFor time.Duration) (old uint64, next record, ok bool) {
	if m.rec.foreign || m.rec.State == Open || m.rec.State == Half {
		return 0, record{}, false
	}
	now := m.fleet.cfg.Now()
	g := m.kept(now)
	votes := with(young(m.rec.Votes, m.ageAt(now), m.openTime(g), m.fleet.id), m.fleet.id, m.fleet.cfg.Quorum)
	next = record{State: Suspect, Millis: m.policy.OpenFor.Milliseconds(), Owner: m.fleet.id, Opens: m.rec.Opens, Votes: votes}
	if len(votes) >= m.fleet.cfg.Quorum {
		d := min(max(openFor, m.openTime(g)), m.limit(Open))
		next = record{State: Open, Millis: d.Milliseconds(), Owner: m.fleet.id, Opens: g}
	}
	return m.version, next, true
}

// Probed tells how a probe, or the last of several, has ended. A probe without a
// lease speaks for this process alone.
func (m *Member) Probed(ctx context.Context, ok bool, openFor time.Duration) {
	m.mu.Lock()
	leased := m.lease != 0
	m.mu.Unlock()
	switch {
	case leased && ok:
		m.verdict(ctx, func(r record, _ time.Duration) record {
			return record{State: Closed, Opens: r.Opens}
		})
	case leased:
		m.verdict(ctx, m.failedRound)
	case !ok:
		m.Tripped(ctx, openFor)
	}
}

// Released tells that the probe of this process has ended without a verdict.
func (m *Member) Released(ctx context.Context) {
	m.verdict(ctx, func(r record, age time.Duration) record {
		return record{State: Open, Opens: r.Opens, Failed: young(r.Failed, age, m.openTime(r.Opens), "")}
	})
}

// failedRound adds this process to those whose probe has failed. Enough of them
// end the round; until then another process probes at once: one with a broken
// network of its own must not keep all others out.
func (m *Member) failedRound(r record, age time.Duration) record {
	failed := with(young(r.Failed, age, m.openTime(r.Opens), m.fleet.id), m.fleet.id, m.fleet.cfg.Quorum)
	if len(failed) < m.fleet.cfg.Quorum {
		return record{State: Open, Opens: r.Opens, Failed: failed}
	}
	g := r.Opens
	if m.openTime(g) < m.policy.MaxOpenFor {
		g++
	}
	return record{State: Open, Opens: g, Millis: m.openTime(g).Milliseconds()}
}

// verdict writes over the lease that this process holds. Who lost it meanwhile
// follows the winner.
func (m *Member) verdict(ctx context.Context, say func(r record, age time.Duration) record) {
	m.mu.Lock()
	lease := m.lease
	m.lease = 0
	next := say(m.rec, m.ageAt(m.fleet.cfg.Now()))
	next.Owner = m.fleet.id
	valid := lease != 0 && lease == m.version
	m.mu.Unlock()
	if !valid {
		return
	}
	s, err := m.fleet.swap(ctx, m.key, lease, next)
	if err != nil {
		m.unsure()
		return
	}
	if !s.swapped {
		m.adopt(s.cur)
		return
	}
	m.mu.Lock()
	m.learn(s.cur) // the local circuit has gone ahead
	m.mu.Unlock()
}

// unsure makes the record due: a write may or may not have come through.
func (m *Member) unsure() { m.due.Store(int64(m.fleet.cfg.Now())) }

// A Ballot is the result of an election.
type Ballot uint8

const (
	Alone Ballot = iota // probe, for this process alone
	Lease               // probe, for all
	Stay                // another does, or the time is not over
)

// Elect asks whether this process may probe, its open time being over. With Stay
// it may ask again at until. It takes at most ReadTimeout and WriteTimeout.
func (m *Member) Elect(ctx context.Context) (b Ballot, until time.Duration) {
	if !m.loadNow(ctx) {
		return Alone, 0
	}
	m.mu.Lock()
	b, until = m.standing()
	old, next := m.version, m.leased()
	m.mu.Unlock()
	if b != Lease {
		return b, until
	}
	s, err := m.fleet.swap(ctx, m.key, old, next)
	if err != nil {
		m.unsure()
		return Alone, 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.swapped {
		m.lease = s.cur.Version
	}
	m.learn(s.cur)
	if s.swapped {
		return Lease, 0
	}
	if b, until = m.standing(); b == Lease {
		return Stay, m.fleet.cfg.Now() + spread(m.halfRefresh()) // not twice in one request
	}
	return b, until
}

// standing says what the record lets this process do.
func (m *Member) standing() (b Ballot, until time.Duration) {
	now := m.fleet.cfg.Now()
	switch {
	case m.rec.State != Open && m.rec.State != Half:
		return Alone, 0
	case m.left(now) > 0:
		return Stay, now + m.left(now)
	case len(young(m.rec.Failed, m.ageAt(now), m.openTime(m.rec.Opens), "")) > len(young(m.rec.Failed, m.ageAt(now), m.openTime(m.rec.Opens), m.fleet.id)):
		return Stay, now + spread(m.halfRefresh())
	}
	return Lease, 0
}

// leased is the record with a lease for this process.
func (m *Member) leased() record {
	return record{
		State:  Half,
		Millis: m.leaseTime().Milliseconds(),
		Owner:  m.fleet.id,
		Opens:  m.rec.Opens,
		Failed: young(m.rec.Failed, m.ageAt(m.fleet.cfg.Now()), m.openTime(m.rec.Opens), ""),
	}
}
