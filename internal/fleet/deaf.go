package fleet

import "time"

// A process is deaf while it knows more than the record says, because a person has reset it or its
// own probe has succeeded. It ignores the record as it is, and what others write in the same round,
// until a record says something new. Member.mu guards this.
type deafness struct {
	on      bool
	since   time.Duration
	version uint64 // of the record when it began
}

// deafen makes this process ignore the record as it is. The caller holds mu.
func (m *Member) deafen() {
	now := m.now()
	m.deaf = deafness{on: true, since: now, version: m.known.version}
	m.known.wasOpen = false
	m.schedule(now)
}

// listen ends the deafness if the record, which has just been read, says something new. The caller
// holds mu.
func (m *Member) listen(now time.Duration) {
	k := &m.known
	switch {
	case !m.deaf.on || k.version == 0 || k.version == m.deaf.version:
		return
	case k.ageAt(now) >= now-m.deaf.since:
		m.deaf.version = k.version // it was written before the deafness began
		return
	}
	switch k.rec.State {
	case Closed, Suspect:
		m.deaf = deafness{}
	case Open:
		if k.rec.Owner != m.fleet.id && k.rec.Lasts >= millisOf(m.policy.OpenFor) {
			m.deaf = deafness{}
		}
	}
}

// ignores reports whether this process is deaf to the record. It is deaf only to a record that is
// open or half. The caller holds mu.
func (m *Member) ignores() bool {
	return m.deaf.on && (m.known.rec.State == Open || m.known.rec.State == Half)
}
