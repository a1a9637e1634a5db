// Package keyed is a bounded concurrent map. Look-ups take no lock and keep no
// order of use; eviction is CLOCK, by numbers that the values keep anyway.
package keyed

import (
	"sync"
	"time"
)

// Key of an entry. Names in different spaces are different keys.
type Key struct {
	Space uint8 // below Spaces
	Name  string
}

// Spaces is the number of name spaces of a [Map].
const Spaces = 3

// A Value is held by a [Map], which can evict it.
type Value[T any] interface {
	*T

	// Evict takes the value out of service. It returns false, and changes nothing, if the value
	// must stay, or has been used since an earlier Evict returned the number seen. Each use of the
	// value changes that number. Some values can be evicted only as a last resort.
	Evict(seen uint64, lastResort bool) (used uint64, evicted bool)
}

// A Map holds values by key. Its methods may be called concurrently, but not by
// the functions that are given to them, and not by Evict.
type Map[T any, V Value[T]] struct {
	bound  int
	spaces [Spaces]sync.Map // of *entry[T] by name: a key of two parts would take twice as long to find

	mu      sync.Mutex
	entries []*entry[T]
	hand    int // index of the entry to look at next
	pinned  int // number of values that do not count towards the bound

	full time.Time // until then, new keys are turned away without a search for room
}

type entry[T any] struct {
	value T
	key   Key
	used  uint64 // as the hand saw it last
}

// New returns a Map that holds at most bound values, not counting those that are pinned.
func New[T any, V Value[T]](bound int) *Map[T, V] { return &Map[T, V]{bound: bound} }

// Get returns the value of a key. It takes no lock.
func (m *Map[T, V]) Get(k Key) (v V, ok bool) {
	if e, ok := m.spaces[k.Space].Load(k.Name); ok {
		return &e.(*entry[T]).value, true
	}
	return nil, false
}

// Add returns the value of a key. If there is none, create makes one of a zero value. If the map is
// full, another value is evicted: one that has not been used since the hand last passed it. If none
// can be evicted, Add returns false.
func (m *Map[T, V]) Add(k Key, create func(V)) (v V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok = m.Get(k); ok {
		return v, true
	}
	if !m.makeRoom(1, nil) {
		return nil, false
	}
	return m.insert(k, create), true
}

// AddPinned is [Map.Add] for a caller that pins the value afterwards by [Map.Pin]. It adds the
// value even if the map is full. Until Pin is called, the value counts towards the bound.
func (m *Map[T, V]) AddPinned(k Key, create func(V)) V {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.Get(k); ok {
		return v
	}
	return m.insert(k, create)
}

// Pin makes one more value not count towards the bound.
func (m *Map[T, V]) Pin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pinned++
}

// Unpin makes v count towards the bound again, and evicts other values if there are too many then.
func (m *Map[T, V]) Unpin(v V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pinned--
	m.full = time.Time{}
	m.makeRoom(0, v)
}

// All returns the values, in no order.
func (m *Map[T, V]) All() []V {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.all()
}

// Locked calls f with all values, while none can come or go.
func (m *Map[T, V]) Locked(f func(all []V)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(m.all())
}

func (m *Map[T, V]) all() []V {
	all := make([]V, len(m.entries))
	for i, e := range m.entries {
		all[i] = &e.value
	}
	return all
}

func (m *Map[T, V]) insert(k Key, create func(V)) V {
	e := &entry[T]{key: k}
	create(&e.value)
	m.entries = append(m.entries, e)
	m.spaces[k.Space].Store(k.Name, e)
	return &e.value
}

// makeRoom evicts values other than keep until there is room for n more. If none can be evicted, it
// turns new keys away for a while without another search, because otherwise an attacker could make
// requests expensive by sending new keys.
func (m *Map[T, V]) makeRoom(n int, keep V) bool {
	for len(m.entries)-m.pinned+n > m.bound {
		if !m.full.IsZero() && time.Now().Before(m.full) {
			return false
		}
		if !m.evictOne(keep) {
			m.full = time.Now().Add(time.Duration(len(m.entries)/64) * pause)
			return false
		}
	}
	return true
}

// pause is the time without a search, for each 64 values, after a search that has found nothing. A
// search takes about a hundredth of that.
const pause = 5 * time.Millisecond

// evictOne moves the hand like that of a clock, for at most three rounds. A value that has been
// used since the hand last passed it stays in the first round. A value that can be evicted only as
// a last resort stays in the first two.
func (m *Map[T, V]) evictOne(keep V) bool {
	for _, lastResort := range []bool{false, false, true} {
		if m.round(keep, lastResort) {
			return true
		}
	}
	return false
}

// round looks at each value once, until one has been evicted. It reports whether one has.
func (m *Map[T, V]) round(keep V, lastResort bool) bool {
	for range m.entries {
		m.hand %= len(m.entries)
		e := m.entries[m.hand]
		if v := V(&e.value); v != keep {
			used, evicted := v.Evict(e.used, lastResort)
			if evicted {
				m.remove(m.hand)
				return true
			}
			e.used = used
		}
		m.hand++
	}
	return false
}

func (m *Map[T, V]) remove(i int) {
	e := m.entries[i]
	m.spaces[e.key.Space].Delete(e.key.Name)
	last := len(m.entries) - 1
	m.entries[i] = m.entries[last]
	m.entries[last] = nil
	m.entries = m.entries[:last]
}
