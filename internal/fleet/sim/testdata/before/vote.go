package before

import (
	"context"
	"time"
)

// maxSwaps bounds the attempts to add a vote.
const maxSwaps = 4

// Tripped tells that the local circuit has opened by its own rules, for that
// long: a vote to open for all. It takes at most WriteTimeout.
func (m *Member) Tripped(ctx context.Context, openFor time.Duration) {
	ctx, cancel := m.fleet.writing(ctx)
	defer cancel()
	if m.resolve(ctx) {
		m.vote(ctx, openFor)
	}
}

func (m *Member) vote(ctx context.Context, openFor time.Duration) {
	for range maxSwaps {
		m.mu.Lock()
		next, ok := m.voted(openFor)
		w := m.write(next)
		m.mu.Unlock()
		if !ok {
			return
		}
		if _, end := m.swap(ctx, w); end != lost {
			return
		}
	}
}

// voted returns the record with a vote of this process's. It returns false if
// there is nothing to write.
func (m *Member) voted(openFor time.Duration) (next record, ok bool) {
	if m.rec.foreign || m.rec.State == Open || m.rec.State == Half {
		return record{}, false
	}
	now := m.now()
	kept := m.kept(now)
	open := m.openTime(kept)
	votes := with(young(m.rec.Votes, m.ageAt(now), open), m.fleet.id, m.fleet.cfg.Quorum)
	if len(votes) < m.fleet.cfg.Quorum {
		return record{State: Suspect, Lasts: millisOf(m.policy.OpenFor), Opens: kept, Votes: votes}, true
	}
	open = min(max(openFor, open), m.limit(Open))
	return record{State: Open, Lasts: millisOf(open), Opens: max(1, kept)}, true
}
