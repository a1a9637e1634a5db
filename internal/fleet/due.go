package fleet

import (
	"context"
	"math/rand/v2"
	"time"
)

// reads is what a member knows of its own reading. Member.mu guards it.
type reads struct {
	latest     time.Duration // time of the latest attempt, or never
	wantedSoon bool          // a failure wants a read one second after the latest
	firstEnds  chan struct{} // closed when the first read has ended; nil if none is under way
}

// afterFailure is the shortest time between two reads that failures cause.
const afterFailure = time.Second

// Due reports whether the record is to be read again. A request to a healthy host does nothing else
// for sharing.
func (m *Member) Due(now time.Duration) bool { return int64(now) >= m.due.Load() }

// NextRead returns when the record is to be read again.
func (m *Member) NextRead() time.Duration { return time.Duration(m.due.Load()) }

// Failed is called when a request of this process has failed. Other processes may know more about
// the host, so the record is read soon.
func (m *Member) Failed(ctx context.Context, now time.Duration) {
	m.mu.Lock()
	m.reads.wantedSoon = true
	m.readSoon()
	m.mu.Unlock()
	if m.Due(now) {
		m.fleet.readDue(ctx, m, now, false)
	}
}

// schedule sets the time of the next read. The caller holds mu.
func (m *Member) schedule(now time.Duration) {
	refresh := m.fleet.cfg.Refresh
	var wait time.Duration
	switch {
	case !m.holds(now):
		if wait = spread(refresh); m.deaf.on {
			wait = min(wait, refresh)
		}
	case m.known.rec.State == Open:
		wait = m.remaining(now) + spread(m.halfRefresh())
	default:
		wait = spread(m.halfRefresh())
	}
	m.due.Store(int64(now + wait))
	m.readSoon()
}

// readSoon schedules the read that a failure wants: one second after the latest read, but never
// before the time of an open record is up. The caller holds mu.
func (m *Member) readSoon() {
	next := m.reads.latest + afterFailure
	if k := &m.known; k.rec.State == Open && m.holds(k.at) {
		next = max(next, k.at+m.remaining(k.at))
	}
	if m.reads.wantedSoon && int64(next) < m.due.Load() {
		m.due.Store(int64(next))
	}
}

// readFailed schedules the next read after one that has failed, or that a guard has forbidden: it
// comes at the ordinary time, and no request waits for it.
func (m *Member) readFailed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads.latest = m.now()
	m.schedule(m.reads.latest)
}

// halfRefresh is the time between two reads while another process probes, or should.
func (m *Member) halfRefresh() time.Duration { return min(2*time.Second, m.policy.OpenFor/4) }

// spread keeps processes from doing things at the same moment: d × 0.5 to 1.5.
func spread(d time.Duration) time.Duration { return duration(float64(d) * (0.5 + rand.Float64())) }
