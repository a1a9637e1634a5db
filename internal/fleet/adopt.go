package fleet

import (
	"math"
	"time"
)

// adopt takes in what the store has, and lets the local circuit follow.
func (m *Member) adopt(item Item) {
	m.mu.Lock()
	follow := m.learn(item)
	m.mu.Unlock()
	if follow != nil {
		follow()
	}
}

// learn takes in what the store has. It returns what the local circuit is to do,
// or nil.
func (m *Member) learn(item Item) (follow func()) {
	now := m.fleet.cfg.Now()
	m.read = now
	if item.Version != 0 && item.Version < m.version {
		m.schedule(now)
		return nil // from a replica that lags behind
	}
	m.version, m.at, m.age = item.Version, now, max(item.Age, 0)
	rec, err := parse(item.Value)
	if err != nil {
		m.fleet.cfg.OnError(OpRecord, err)
	}
	if rec.Millis > m.limit(rec.State).Milliseconds() {
		m.fleet.cfg.OnError(OpRecord, errTooLong)
		rec.Millis = m.limit(rec.State).Milliseconds()
	}
	m.rec = rec
	defer m.schedule(now)
	if item.Version != 0 && item.Version == m.ignored {
		m.rec = record{foreign: true} // a Reset has done away with it
		return nil
	}
	before := m.seen
	if rec.State != Absent {
		m.seen = rec.State
	}
	switch rec.State {
	case Open, Half:
		if m.lease != 0 && m.lease == item.Version {
			return nil // this process probes
		}
		until := now + m.left(now)
		return func() { m.local.AdoptOpen(until) }
	case Closed, Suspect:
		if before == Open || before == Half {
			return m.local.AdoptClosed
		}
	}
	return nil
}

// schedule sets the time of the next read.
func (m *Member) schedule(now time.Duration) {
	switch {
	case m.rec.State == Open && m.left(now) > 0:
		m.due.Store(int64(now + m.left(now)))
	case m.rec.State == Open || m.rec.State == Half:
		m.due.Store(int64(now + spread(m.halfRefresh())))
	default:
		m.due.Store(int64(now + spread(m.fleet.cfg.Refresh)))
	}
}

// halfRefresh is the time between reads while somebody probes.
func (m *Member) halfRefresh() time.Duration { return min(2*time.Second, m.policy.OpenFor/4) }

// left is what is left at now of the record's open time or lease. A lease of this
// process's own that it no longer uses is over.
func (m *Member) left(now time.Duration) time.Duration {
	if m.rec.State == Half && m.rec.Owner == m.fleet.id && m.lease == 0 {
		return 0
	}
	d := time.Duration(m.rec.Millis) * time.Millisecond
	return max(0, d-m.ageAt(now))
}

// ageAt is the age of the record at now.
func (m *Member) ageAt(now time.Duration) time.Duration { return m.age + now - m.at }

// limit is the longest open time or lease that is believed.
func (m *Member) limit(s State) time.Duration {
	if s == Half {
		return max(m.policy.MaxOpenFor, m.leaseTime())
	}
	return duration(float64(m.policy.MaxOpenFor) * (1 + m.policy.Jitter))
}

func (m *Member) leaseTime() time.Duration { return m.policy.ProbeTimeout + time.Second }

// openTime is that of a record that has opened g times in a row.
func (m *Member) openTime(g int) time.Duration {
	d := duration(float64(m.policy.OpenFor) * math.Pow(m.policy.OpenGrowth, float64(max(g, 1)-1)))
	return min(d, m.policy.MaxOpenFor)
}

// kept is the number of opens in a row that is not yet forgotten: by one for each
// MaxOpenFor that the record is closed.
func (m *Member) kept(now time.Duration) int {
	g := m.rec.Opens
	if m.rec.State == Closed {
		g -= int(min(m.ageAt(now)/m.policy.MaxOpenFor, math.MaxInt32))
	}
	return max(1, g)
}

// duration turns nanoseconds into a Duration, saturating far below the end, so
// that times can be added.
func duration(ns float64) time.Duration { return time.Duration(min(ns, math.MaxInt64/4)) }
