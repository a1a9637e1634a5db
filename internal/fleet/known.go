package fleet

import (
	"math"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
)

// known is what a member knows of its record. Member.mu is held while the local circuit follows it,
// so that a circuit never follows what has been overtaken.
type known struct {
	version uint64
	rec     record
	age     time.Duration // of rec when it was read
	at      time.Duration // when rec was read
	wasOpen bool          // the latest record that was not absent was open or half
	ignored uint64        // the version that a Reset has made this process ignore
}

// ageAt is the age of the record at now.
func (k *known) ageAt(now time.Duration) time.Duration { return k.age + now - k.at }

// remember replaces what is known by what the store has. The local circuit is left as it is.
func (m *Member) remember(item store.Item) {
	now := m.now()
	k := &m.known
	age := min(max(item.Age, 0), longest)
	switch item.Version {
	case 0:
		item.Value = nil
	case k.version:
		age = max(age, k.ageAt(now)) // a record gets no younger
	}
	k.version, k.age, k.at, m.reads.latest = item.Version, age, now, now
	rec, err := parse(item.Value)
	if limit := millisOf(m.limit(rec.State)); rec.Lasts > limit {
		rec.Lasts, err = limit, errTooLong
	}
	if err != nil {
		m.afterUnlock = append(m.afterUnlock, func() { m.fleet.cfg.OnError(OpRecord, err) })
	}
	k.rec, m.inDoubt = rec, false
	if k.version != 0 && m.wasReset != never && (k.version == k.ignored || k.age >= now-m.wasReset) {
		m.ignoreRecord()
	}
	if k.rec.State != Absent {
		k.wasOpen = k.rec.State == Open || k.rec.State == Half
	}
	m.resolveLease()
	m.schedule(now)
}

// ignoreRecord makes the record read as absent, and protects it from being overwritten.
func (m *Member) ignoreRecord() {
	m.known.ignored = m.known.version
	m.known.rec = record{foreign: true}
}

// remaining is what is left at now of the record's open time or lease. A process need not wait for
// a lease of its own: it asks once it has given that up.
func (m *Member) remaining(now time.Duration) time.Duration {
	if m.isOwnLease() {
		return 0
	}
	return max(0, m.known.rec.Lasts.duration()-m.known.ageAt(now))
}

// isOwnLease reports whether the record is a lease of this process's.
func (m *Member) isOwnLease() bool {
	return m.known.rec.State == Half && m.known.rec.Owner == m.fleet.id
}

// opensKept is the number of opens in a row that is not forgotten. One is forgotten for each
// MaxOpenFor that the record is closed.
func (m *Member) opensKept(now time.Duration) int {
	k := &m.known
	if k.rec.State != Closed {
		return k.rec.Opens
	}
	return max(0, k.rec.Opens-int(min(k.ageAt(now)/m.policy.MaxOpenFor, maxOpens)))
}

// limit is the longest open time or lease that is believed.
func (m *Member) limit(s State) time.Duration {
	if s == Half {
		return max(m.policy.MaxOpenFor, m.leaseTime())
	}
	return duration(float64(m.policy.MaxOpenFor) * (1 + m.policy.Jitter))
}

// leaseTime is how long a lease lasts.
func (m *Member) leaseTime() time.Duration {
	return min(m.policy.ProbeTimeout, longest) + time.Second
}

// openTime is that of a record that has opened g times in a row.
func (m *Member) openTime(g int) time.Duration {
	d := duration(float64(m.policy.OpenFor) * math.Pow(m.policy.OpenGrowth, float64(max(g, 1)-1)))
	return min(d, m.policy.MaxOpenFor)
}

// longest is the longest time that is calculated with. Sums of a few do not overflow.
const longest = time.Duration(math.MaxInt64 / 8)

// duration turns nanoseconds into a Duration of at most longest.
func duration(ns float64) time.Duration { return time.Duration(min(ns, float64(longest))) }
