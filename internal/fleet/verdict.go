package fleet

import (
	"context"
	"time"
)

// Probed publishes how a probe, or the last of several, has ended. A probe without a lease speaks for
// this process alone: if it has failed, it is a vote. It takes at most WriteTimeout.
func (m *Member) Probed(ctx context.Context, ok bool, openFor time.Duration) {
	ctx, cancel := m.fleet.writing(ctx)
	defer cancel()
	if !m.resolveDoubt(ctx) {
		return
	}
	next := m.failureRecord
	if ok {
		next = m.successRecord
	}
	if !m.endLease(ctx, next) && !ok {
		m.vote(ctx, openFor)
	}
}

// Released publishes that the probes of this process have ended without a verdict: the next process
// may try. It takes at most WriteTimeout.
func (m *Member) Released(ctx context.Context) {
	ctx, cancel := m.fleet.writing(ctx)
	defer cancel()
	if m.resolveDoubt(ctx) {
		m.endLease(ctx, m.releaseRecord)
	}
}

// endLease replaces the lease by the record that next returns. It reports false if this process has
// no lease. A process whose lease has run out has nothing to say. One that has lost it to another
// process follows that.
func (m *Member) endLease(ctx context.Context, next func() record) bool {
	m.mu.Lock()
	held := m.lease
	if held.version == 0 {
		m.mu.Unlock()
		return false
	}
	if held.version != m.known.version || m.now() >= held.until {
		m.lease = lease{}
		m.follow(ctx)
		m.unlock()
		return true
	}
	w := m.replace(next())
	m.mu.Unlock()
	m.swap(ctx, w)
	return true
}

// successRecord is the record after a successful probe.
func (m *Member) successRecord() record { return record{State: Closed, Opens: m.known.rec.Opens} }

// releaseRecord is the record after a probe without a verdict.
func (m *Member) releaseRecord() record {
	return record{State: Open, Opens: m.known.rec.Opens, Failed: m.failedProbers(m.now())}
}

// failureRecord adds this process to those whose probe has failed in this round. Enough of them end
// the round. Until then another process probes at once: a process with a broken network must not
// keep all others out.
func (m *Member) failureRecord() record {
	opens := m.known.rec.Opens
	failed := with(m.failedProbers(m.now()), m.fleet.id, m.fleet.cfg.Quorum)
	if len(failed) < m.fleet.cfg.Quorum {
		return record{State: Open, Opens: opens, Failed: failed}
	}
	if m.openTime(opens) < m.policy.MaxOpenFor {
		opens = min(opens+1, maxOpens)
	}
	return record{State: Open, Opens: opens, Lasts: millisOf(m.openTime(opens))}
}
