package fleet

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
)

// known is what a member knows of its record. Member.mu is held while the local circuit follows it,
// so a circuit never follows a record after a newer one is known.
type known struct {
	version uint64
	rec     record
	age     time.Duration // of rec when it was read
	at      time.Duration // when rec was read
	since   time.Duration // when this version was read first
	wasOpen bool          // the circuit follows a record that was open or half, and none has closed it since
	lower   lowerVersions
}

// ageAt returns the age of the record at now.
func (k *known) ageAt(now time.Duration) time.Duration { return k.age + now - k.at }

// healthyAt returns how long the host has been healthy at now, if the record is closed or suspect
// and says that.
func (k *known) healthyAt(now time.Duration) (d time.Duration, ok bool) {
	switch {
	case k.rec.State == Closed:
		return k.ageAt(now), true
	case k.rec.State == Suspect && k.rec.Healthy != nil:
		return k.rec.Healthy.duration() + k.ageAt(now), true
	}
	return 0, false
}

// remember replaces what is known by the store's item. It does not change the local circuit. The
// caller holds mu.
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
	if item.Version != k.version {
		k.since = now
	}
	k.version, k.age, k.at, m.reads.latest = item.Version, age, now, now
	rec, err := parse(item.Value)
	if limit := millisOf(m.limit(rec.State)); rec.Lasts > limit {
		rec.Lasts, err = limit, errTooLong
	}
	k.rec, m.inDoubt, k.lower = rec, false, lowerVersions{}
	if err == nil && m.sameInstance(now) {
		err = errSameInstance
	}
	if err != nil {
		m.report(err)
	}
	m.listen(now)
	m.resolveLease()
	m.schedule(now)
}

func (m *Member) report(err error) {
	m.afterUnlock = append(m.afterUnlock, func() { m.fleet.cfg.OnError(OpRecord, err) })
}

var errSameInstance = errors.New("breakerhttp: another process has the same Sharing.Instance as this one, so that their votes count once")

// sameInstance reports whether another process has voted under the name of this one. A vote that is
// older than this process may be its own, from before a restart.
func (m *Member) sameInstance(now time.Duration) bool {
	rec := &m.known.rec
	if rec.State != Suspect || len(rec.Votes) == 0 || ownedHere(rec.Owner) {
		return false
	}
	owner := rec.Votes[0] // the youngest
	return owner.ID == m.fleet.voter.ID && owner.Age.duration()+m.known.age < now
}

// lowerVersions counts answers whose version is lower than the known one.
type lowerVersions struct {
	count int
	since time.Duration
}

const (
	believeLower      = 3
	believeLowerAfter = 2 * time.Second
)

// overtaken reports whether an answer is to be ignored because a higher version is known. If the
// call began before that version was read, the answer is only late. Answers of later calls are
// counted: after a few of them, the store must have lost writes, and they are believed. The caller
// holds mu.
func (m *Member) overtaken(item store.Item, began time.Duration) bool {
	k := &m.known
	if item.Version >= k.version {
		return false
	}
	now := m.now()
	m.reads.latest = now
	if began <= k.since {
		m.schedule(now)
		return true
	}
	if item.Version == 0 {
		return false // there is no record any more
	}
	if k.lower.count++; k.lower.count == 1 {
		k.lower.since = now
	}
	if k.lower.count < believeLower || now-k.lower.since < believeLowerAfter {
		m.due.Store(int64(now + afterFailure))
		return true
	}
	m.report(fmt.Errorf("breakerhttp: the store has lost writes: version %d of a record became %d", k.version, item.Version))
	return false
}

// live reports whether the record is open or half, and not dead. A record is dead when one lease
// time has passed since its own time was over.
func (m *Member) live(now time.Duration) bool {
	s := m.known.rec.State
	return (s == Open || s == Half) && m.known.ageAt(now) < m.known.rec.Lasts.duration()+m.leaseTime()
}

// holds reports whether the record is live and this process is not deaf to it.
func (m *Member) holds(now time.Duration) bool { return m.live(now) && !m.ignores() }

// remaining returns what is left at now of the record's open time or lease. It is 0 for a lease of
// this process, which has given that lease up when it asks for another one.
func (m *Member) remaining(now time.Duration) time.Duration {
	if m.isOwnLease() {
		return 0
	}
	return max(0, m.known.rec.Lasts.duration()-m.known.ageAt(now))
}

// isOwnLease reports whether the record is a lease that this process has got.
func (m *Member) isOwnLease() bool {
	return m.known.rec.State == Half && m.known.rec.Owner == m.fleet.id
}

// opensKept returns the record's number of openings in a row, less one for each MaxOpenFor for
// which the host has been healthy or the record has been dead.
func (m *Member) opensKept(now time.Duration) int64 {
	rec, age := &m.known.rec, m.known.ageAt(now)
	steps := func(d time.Duration) int64 { return int64(min(d/m.policy.MaxOpenFor, maxOpens)) }
	var forgotten int64
	switch {
	case rec.State == Suspect && rec.Healthy != nil:
		// Its Opens were reduced when it was written: only what was forgotten since then counts.
		forgotten = steps(rec.Healthy.duration()+age) - steps(rec.Healthy.duration())
	case rec.State == Closed, rec.State == Suspect:
		forgotten = steps(age)
	case !m.live(now):
		forgotten = steps(age - rec.Lasts.duration() - m.leaseTime())
	}
	return max(0, rec.Opens-forgotten)
}

// limit returns the longest open time or lease of a record that is believed.
func (m *Member) limit(s State) time.Duration {
	if s == Half {
		return max(m.policy.MaxOpenFor, m.leaseTime())
	}
	return duration(float64(m.policy.MaxOpenFor) * (1 + m.policy.Jitter))
}

// leaseTime returns how long a lease lasts.
func (m *Member) leaseTime() time.Duration {
	return min(m.policy.ProbeTimeout, longest) + time.Second
}

// openTime returns the open time of a record that has opened g times in a row.
func (m *Member) openTime(g int64) time.Duration {
	d := duration(float64(m.policy.OpenFor) * math.Pow(m.policy.OpenGrowth, float64(max(g, 1)-1)))
	return min(d, m.policy.MaxOpenFor)
}

// votesLast returns how long a vote counts, if the record has opened g times in a row.
func (m *Member) votesLast(g int64) time.Duration { return max(m.openTime(g), m.policy.VotesLast) }

// longest is the longest duration in use. The sum of several such durations does not overflow.
const longest = time.Duration(math.MaxInt64 / 8)

// duration returns nanoseconds as a Duration of at most longest.
func duration(ns float64) time.Duration { return time.Duration(min(ns, float64(longest))) }
