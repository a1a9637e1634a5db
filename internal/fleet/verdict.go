package fleet

import (
	"context"
	"math"
	"time"
)

// maxIgnored is how many probes of a process in a row may end without a verdict before it waits.
// Callers that cancel would otherwise let it write in a loop.
const maxIgnored = 2

// ProbeSucceeded publishes that the probe of this process, or the last of several, has succeeded.
// It takes at most WriteTimeout.
func (m *Member) ProbeSucceeded(ctx context.Context) { m.probeClosed(ctx, m.successRecord) }

// ProbeLimited gives up the lease of this process, whose circuit is closed because the host has
// asked its probe for less. That is no verdict for the other processes. It takes at most
// WriteTimeout.
func (m *Member) ProbeLimited(ctx context.Context) { m.probeClosed(ctx, m.ignoredRecord) }

// probeClosed replaces the lease by the record that next returns. This process, whose circuit its
// probe has closed, ignores what the record said before.
func (m *Member) probeClosed(ctx context.Context, next func() record) {
	ctx, cancel := m.fleet.writing(ctx)
	defer cancel()
	m.mu.Lock()
	m.ignored = 0
	if m.lease.version == 0 || m.lease.version == m.known.version {
		m.deafen() // otherwise another process has taken over, and its record counts
	}
	m.mu.Unlock()
	if _, o := m.publishVerdict(ctx, next); o == lost {
		m.mu.Lock()
		m.deaf = deafness{}
		m.follow(ctx)
		m.unlock()
	}
}

// ProbeFailed publishes that the probe of this process has failed, that its circuit opens for
// openFor, and the Retry-After that the probe got. A probe without a lease speaks for this process
// alone: it is a vote. It takes at most WriteTimeout.
func (m *Member) ProbeFailed(ctx context.Context, openFor, retryAfter time.Duration) {
	ctx, cancel := m.fleet.writing(ctx)
	defer cancel()
	m.mu.Lock()
	m.ignored = 0
	m.mu.Unlock()
	next := func() record { return m.failureRecord(retryAfter) }
	if leased, _ := m.publishVerdict(ctx, next); !leased {
		m.startVote(ctx, openFor)
	}
}

// ProbeIgnored publishes that the probes of this process have ended without a verdict: the next
// process may try. It takes at most WriteTimeout.
func (m *Member) ProbeIgnored(ctx context.Context) {
	m.mu.Lock()
	if m.ignored++; m.ignored >= maxIgnored {
		m.pausedUntil = m.now() + m.halfRefresh()
	}
	m.mu.Unlock()
	m.giveUp(ctx, m.ignoredRecord)
}

// Release gives up a lease that this process holds, without a verdict. It takes at most
// WriteTimeout.
func (m *Member) Release(ctx context.Context) { m.giveUp(ctx, m.releaseRecord) }

// giveUp replaces a lease that this process holds, or may hold, by the record that next returns,
// which is no verdict. A verdict that has been sent stands, even if the store has not said whether
// it was written.
func (m *Member) giveUp(ctx context.Context, next func() record) {
	m.mu.Lock()
	held := m.lease != (lease{}) && !m.lease.said
	m.mu.Unlock()
	if !held {
		return
	}
	ctx, cancel := m.fleet.writing(ctx)
	defer cancel()
	m.publishVerdict(ctx, next)
}

// publishVerdict gives up the lease, and replaces the record by the one that next returns. It
// returns false if this process has no lease. A process whose lease is over writes nothing, and
// follows the record. If the store does not say how the write has ended, and the next Load still
// shows the lease, the verdict is written once more, because all other processes wait for it.
func (m *Member) publishVerdict(ctx context.Context, next func() record) (leased bool, o outcome) {
	if m.resolveDoubt(ctx) != nil {
		return true, unknown // nobody knows whether there is a lease
	}
	m.mu.Lock()
	held := m.lease
	if held.version == 0 {
		m.mu.Unlock()
		return false, unsent
	}
	w := write{old: m.known.version, next: next(), priority: urgent}
	m.setLease(lease{})
	if held.version != m.known.version || m.now() >= held.until {
		m.follow(ctx)
		m.unlock()
		return true, unsent
	}
	m.mu.Unlock()
	if _, o = m.swap(ctx, w); held.said || o == won || o == lost || o == unsent {
		return true, o
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lease == (lease{}) && !m.electing {
		held.said = true
		m.lease = held
		m.atNextLoad = func(ctx context.Context) { m.publishVerdict(ctx, next) }
	}
	return true, o
}

// successRecord returns the record after a successful probe.
func (m *Member) successRecord() record {
	return record{State: Closed, Opens: m.known.rec.Opens}
}

// releaseRecord returns the record without the lease: the next process may probe at once.
func (m *Member) releaseRecord() record {
	next := m.known.rec
	next.State, next.Lasts, next.Failed = Open, 0, m.failedProbers(m.now())
	return next
}

// ignoredRecord returns the record after a probe without a verdict. If many processes take turns,
// none of them has two such probes in a row. So from the third such probe in a row, of whichever
// processes, all processes wait, and longer each time.
func (m *Member) ignoredRecord() record {
	next := m.releaseRecord()
	if next.Ignored = min(next.Ignored+1, maxOpens); next.Ignored > maxIgnored {
		wait := duration(float64(m.halfRefresh()) * math.Pow(2, float64(next.Ignored-maxIgnored-1)))
		next.Lasts = millisOf(min(wait, m.policy.OpenFor))
	}
	return next
}

// failureRecord adds this process to those whose probe has failed in this round. Quorum of them end
// the round, and the open time begins again. Until then another process may probe at once, because
// a process with a broken network must not keep all others out.
func (m *Member) failureRecord(retryAfter time.Duration) record {
	rec := &m.known.rec
	own := vote{ID: m.fleet.voter.ID, RetryAfter: millisOf(retryAfter)}
	failed := with(m.failedProbers(m.now()), own, m.fleet.cfg.Quorum)
	if len(failed) < m.fleet.cfg.Quorum {
		return record{State: Open, Opens: rec.Opens, Failed: failed, By: rec.By}
	}
	opens := rec.Opens
	if m.openTime(opens) < m.policy.MaxOpenFor {
		opens = min(opens+1, maxOpens)
	}
	lasts := millisOf(m.openTime(opens))
	for _, v := range failed {
		lasts = max(lasts, min(v.RetryAfter, millisOf(m.policy.MaxOpenFor)))
	}
	return record{State: Open, Opens: opens, Lasts: lasts, By: rec.By}
}
