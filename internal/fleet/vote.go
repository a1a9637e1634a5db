package fleet

import (
	"context"
	"errors"
	"time"
)

// maxSwaps bounds the attempts to add a vote.
const maxSwaps = 4

// An ownVote is a vote of this process.
type ownVote struct {
	at      time.Duration // when the circuit tripped
	openFor time.Duration
}

// Tripped publishes that the local circuit has opened for openFor by its own rules: a vote to open
// the circuits of all processes. It takes at most WriteTimeout. If too many calls are under way,
// the vote is cast after the next read of the record.
func (m *Member) Tripped(ctx context.Context, openFor time.Duration) {
	ctx, cancel := m.fleet.writing(ctx)
	defer cancel()
	m.startVote(ctx, openFor)
}

// startVote casts a vote. A process that was deaf to the record listens to it again.
func (m *Member) startVote(ctx context.Context, openFor time.Duration) {
	m.mu.Lock()
	m.deaf = deafness{}
	if !m.fleet.cfg.DryRun {
		m.vote = &ownVote{at: m.now(), openFor: openFor}
	}
	m.mu.Unlock()
	m.tryVote(ctx)
}

// tryVote casts the vote of this process. A vote that cannot be cast now is kept for the next Load,
// or forgotten.
func (m *Member) tryVote(ctx context.Context) {
	if err := m.resolveDoubt(ctx); err != nil {
		m.keepVote(errors.Is(err, errFull) || errors.Is(err, errDelayed))
		return
	}
	for range maxSwaps {
		m.mu.Lock()
		next, ok := m.voteRecord()
		w := write{old: m.known.version, next: next}
		m.mu.Unlock()
		if !ok {
			m.keepVote(false)
			return
		}
		switch winner, o := m.swap(ctx, w); {
		case o == lost && winner.Version != 0 && winner.Version < w.old:
			m.keepVote(true) // until it is certain that the store has lost writes
			return
		case o != lost:
			m.keepVote(o == full || o == delayed)
			return
		}
	}
	m.keepVote(false)
}

// keepVote keeps the vote for the next Load, or forgets it.
func (m *Member) keepVote(keep bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !keep {
		m.vote = nil
		return
	}
	if m.vote != nil {
		m.atNextLoad = m.tryVote
		next := m.now() + spread(m.fleet.cfg.WriteTimeout)
		m.due.Store(min(m.due.Load(), int64(next)))
	}
}

// voteRecord returns the record with the vote of this process. It returns false if there is nothing
// to write. No vote replaces a live record, even if this process is deaf to it.
func (m *Member) voteRecord() (next record, ok bool) {
	rec, now := &m.known.rec, m.now()
	if m.vote == nil || rec.foreign || m.live(now) {
		return record{}, false
	}
	opens := m.opensKept(now)
	own := m.fleet.voter
	own.Age = millisOf(now - m.vote.at)
	if own.Age >= millisOf(m.votesLast(opens)) {
		return record{}, false
	}
	votes := with(young(rec.Votes, m.known.ageAt(now), m.votesLast(opens)), own, m.fleet.cfg.Quorum)
	if len(votes) < m.fleet.cfg.Quorum {
		next = record{State: Suspect, Lasts: millisOf(m.policy.OpenFor), Opens: opens, Votes: votes}
		if healthy, ok := m.known.healthyAt(now); ok {
			w := millisOf(healthy)
			next.Healthy = &w
		}
		return next, true
	}
	open := min(max(m.vote.openFor, m.openTime(opens)), m.limit(Open))
	next = record{State: Open, Lasts: millisOf(open), Opens: max(1, opens)}
	for _, v := range votes {
		if v.Name != "" {
			next.By = append(next.By, v.Name)
		}
	}
	return next, true
}
