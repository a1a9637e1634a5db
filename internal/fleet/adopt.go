package fleet

import (
	"context"

	"github.com/breakerhttp/breakerhttp/store"
)

// adopt learns what the store has, and lets the local circuit follow.
func (m *Member) adopt(ctx context.Context, item store.Item) {
	m.mu.Lock()
	defer m.unlock()
	m.learn(ctx, item)
}

// learn is adopt for a caller that holds mu.
func (m *Member) learn(ctx context.Context, item store.Item) {
	if item.Version != 0 && item.Version < m.known.version {
		m.reads.latest = m.now() // from a replica that lags behind
		m.schedule(m.reads.latest)
		return
	}
	state, wasOpen := m.known.rec.State, m.known.wasOpen
	m.remember(item)
	rec := &m.known.rec
	switch {
	case m.isOwnLease() && (m.electing || m.lease.version == m.known.version):
		// This process probes, or is about to.
	case rec.State == Closed && !wasOpen, rec.State == Suspect && state != Open && state != Half:
		// If the local circuit is open, it is so by its own rules.
	default:
		m.follow(ctx)
	}
}

// follow lets the local circuit do as the record says.
func (m *Member) follow(ctx context.Context) {
	var deliver func()
	switch m.known.rec.State {
	case Open, Half:
		now := m.now()
		deliver = m.local.AdoptOpen(ctx, now+m.remaining(now))
	case Closed, Suspect:
		deliver = m.local.AdoptClosed(ctx)
	}
	if deliver != nil {
		m.afterUnlock = append(m.afterUnlock, deliver)
	}
}
