package before

import (
	"context"
	"math"
	"math/rand/v2"
	"time"
)

// Policy is what the protocol needs to know of a circuit's policy.
type Policy struct {
	OpenFor, MaxOpenFor, ProbeTimeout time.Duration
	OpenGrowth, Jitter                float64
}

// Local is the circuit of a [Member]. Its methods must not call the fleet. They
// return what tells of the change they have made, or nil: that is called when
// the fleet can be called again.
type Local interface {
	// AdoptOpen opens the circuit until then, unless it has its own reasons to
	// be open for longer, is probing, or is forced.
	AdoptOpen(ctx context.Context, until time.Duration) (tell func())
	// AdoptClosed closes the circuit, unless it is probing or forced.
	AdoptClosed(ctx context.Context) (tell func())
}

// known is what a member knows of its record. The lock of the member is held
// while the local circuit follows it, so that circuits never follow what has
// been overtaken.
type known struct {
	version uint64
	rec     record
	age     time.Duration // of rec when it was read
	at      time.Duration // when rec was read
	shut    bool          // the latest record that was not absent was open or half
	ignored uint64        // the version that a Reset has made unheard
}

// adopt takes in what the store has, and lets the local circuit follow.
func (m *Member) adopt(ctx context.Context, item Item) {
	m.mu.Lock()
	defer m.unlock()
	m.learn(ctx, item)
}

func (m *Member) learn(ctx context.Context, item Item) {
	if item.Version != 0 && item.Version < m.version {
		m.read = m.now() // from a replica that lags behind
		m.schedule(m.read)
		return
	}
	was, wasShut := m.rec.State, m.shut
	m.take(item)
	switch {
	case m.mine() && (m.asking || m.lease.version == m.version):
		// This process probes, or is about to.
	case m.rec.State == Closed && !wasShut, m.rec.State == Suspect && was != Open && was != Half:
		// If the local circuit is open, it is so by its own rules.
	default:
		m.follow(ctx)
	}
}

// follow lets the local circuit do as the record says.
func (m *Member) follow(ctx context.Context) {
	var tell func()
	switch m.rec.State {
	case Open, Half:
		now := m.now()
		tell = m.local.AdoptOpen(ctx, now+m.left(now))
	case Closed, Suspect:
		tell = m.local.AdoptClosed(ctx)
	}
	if tell != nil {
		m.later = append(m.later, tell)
	}
}

// take takes in what the store has. The local circuit is left as it is.
func (m *Member) take(item Item) {
	now := m.now()
	age := min(max(item.Age, 0), longest)
	switch item.Version {
	case 0:
		item.Value = nil
	case m.version:
		age = max(age, m.ageAt(now)) // a record gets no younger
	}
	m.version, m.age, m.at, m.read = item.Version, age, now, now
	rec, err := parse(item.Value)
	if limit := millisOf(m.limit(rec.State)); rec.Lasts > limit {
		rec.Lasts, err = limit, errTooLong
	}
	if err != nil {
		m.later = append(m.later, func() { m.fleet.cfg.OnError(OpRecord, err) })
	}
	m.rec, m.doubts = rec, false
	if m.version != 0 && m.reset != never && (m.version == m.ignored || m.age >= now-m.reset) {
		m.unhear()
	}
	if m.rec.State != Absent {
		m.shut = m.rec.State == Open || m.rec.State == Half
	}
	m.resolveLease()
	m.schedule(now)
}

// unhear reads the record as absent, and protects it from being written over.
func (m *Member) unhear() {
	m.ignored = m.version
	m.rec = record{foreign: true}
}

// schedule sets the time of the next read.
func (m *Member) schedule(now time.Duration) {
	next := now
	switch m.rec.State {
	case Open:
		next += m.left(now) + spread(m.halfRefresh())
	case Half:
		next += spread(m.halfRefresh())
	default:
		next += spread(m.fleet.cfg.Refresh)
	}
	m.due.Store(int64(next))
	m.hasten()
}

// halfRefresh is the time between reads while somebody probes, or should.
func (m *Member) halfRefresh() time.Duration { return min(2*time.Second, m.policy.OpenFor/4) }

// left is what is left at now of the record's open time or lease. A process need
// not wait for a lease of its own: it asks once it has given that up.
func (m *Member) left(now time.Duration) time.Duration {
	if m.mine() {
		return 0
	}
	return max(0, m.rec.Lasts.duration()-m.ageAt(now))
}

// mine reports whether the record is a lease of this process's.
func (m *Member) mine() bool { return m.rec.State == Half && m.rec.Owner == m.fleet.id }

// ageAt is the age of the record at now.
func (m *Member) ageAt(now time.Duration) time.Duration { return m.age + now - m.at }

// limit is the longest open time or lease that is believed.
func (m *Member) limit(s State) time.Duration {
	if s == Half {
		return max(m.policy.MaxOpenFor, m.leaseTime())
	}
	return duration(float64(m.policy.MaxOpenFor) * (1 + m.policy.Jitter))
}

// leaseTime is what a lease is given for.
func (m *Member) leaseTime() time.Duration {
	return min(m.policy.ProbeTimeout, longest) + time.Second
}

// openTime is that of a record that has opened g times in a row.
func (m *Member) openTime(g int) time.Duration {
	d := duration(float64(m.policy.OpenFor) * math.Pow(m.policy.OpenGrowth, float64(max(g, 1)-1)))
	return min(d, m.policy.MaxOpenFor)
}

// kept is the number of opens in a row that is not forgotten: by one for each
// MaxOpenFor that the record is closed.
func (m *Member) kept(now time.Duration) int {
	if m.rec.State != Closed {
		return m.rec.Opens
	}
	return max(0, m.rec.Opens-int(min(m.ageAt(now)/m.policy.MaxOpenFor, maxOpens)))
}

// longest is the longest time that is reckoned with. Sums of a few do not
// overflow.
const longest = time.Duration(math.MaxInt64 / 8)

// duration turns nanoseconds into a Duration of at most longest.
func duration(ns float64) time.Duration { return time.Duration(min(ns, float64(longest))) }

// spread keeps processes from doing things at the same moment.
func spread(d time.Duration) time.Duration { return duration(float64(d) * (0.5 + rand.Float64())) }
