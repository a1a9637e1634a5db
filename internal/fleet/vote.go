package fleet

import (
	"context"
	"time"
)

// maxSwaps bounds the attempts to add a vote.
const maxSwaps = 4

// Tripped publishes that the local circuit has opened for openFor by its own rules: a vote to open
// for all. It takes at most WriteTimeout.
func (m *Member) Tripped(ctx context.Context, openFor time.Duration) {
	ctx, cancel := m.fleet.writing(ctx)
	defer cancel()
	if m.resolveDoubt(ctx) {
		m.vote(ctx, openFor)
	}
}

func (m *Member) vote(ctx context.Context, openFor time.Duration) {
	for range maxSwaps {
		m.mu.Lock()
		next, ok := m.voteRecord(openFor)
		w := m.replace(next)
		m.mu.Unlock()
		if !ok {
			return
		}
		if _, o := m.swap(ctx, w); o != lost {
			return
		}
	}
}

// voteRecord returns the record with a vote of this process's. It returns false if there is nothing
// to write.
func (m *Member) voteRecord(openFor time.Duration) (next record, ok bool) {
	rec := &m.known.rec
	if rec.foreign || rec.State == Open || rec.State == Half {
		return record{}, false
	}
	now := m.now()
	opens := m.opensKept(now)
	open := m.openTime(opens)
	votes := with(young(rec.Votes, m.known.ageAt(now), open), m.fleet.id, m.fleet.cfg.Quorum)
	if len(votes) < m.fleet.cfg.Quorum {
		return record{State: Suspect, Lasts: millisOf(m.policy.OpenFor), Opens: opens, Votes: votes}, true
	}
	open = min(max(openFor, open), m.limit(Open))
	return record{State: Open, Lasts: millisOf(open), Opens: max(1, opens)}, true
}
