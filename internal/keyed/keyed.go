// Package keyed is a bounded map whose look-up takes no lock, and costs what is
// looked up nothing for the order in which entries are thrown out.
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

// A Value is held by a [Map], which can throw it out.
type Value[T any] interface {
	*T

	// Evict takes the value out of service at now. It returns false, and changes
	// nothing, if the value must be kept, or has been used since its number was
	// seen. That number changes when the value is used.
	Evict(now time.Duration, seen uint64) (used uint64, evicted bool)
}

// A Map holds values by key. Its methods may be called concurrently, but not by
// the functions given to them.
type Map[T any, V Value[T]] struct {
	bound int
	index [Spaces]index[T]

	mu      sync.Mutex
	entries []*entry[T]
	hand    int // the entry to look at next
	pinned  int // values that do not count towards the bound
	skip    int // newcomers to turn away before looking for room again
}

// New returns a Map that holds at most bound values, and those pinned.
func New[T any, V Value[T]](bound int) *Map[T, V] {
	m := &Map[T, V]{bound: bound}
	for i := range m.index {
		m.index[i].init()
	}
	return m
}

// Get returns the value of a key. It takes no lock.
func (m *Map[T, V]) Get(k Key) (v V, ok bool) {
	return m.index[k.Space].find(k.Name)
}

// Add returns the value of a key, which create makes of a zero one if there is none. If the map is
// full, it throws out a value that has not been used since the hand came by
// last, and can be evicted; without such a value it returns false.
func (m *Map[T, V]) Add(now time.Duration, k Key, create func(V)) (v V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok = m.Get(k); ok {
		return v, true
	}
	if !m.makeRoom(now) {
		return nil, false
	}
	return m.insert(k, create), true
}

// AddPinned is [Map.Add] beyond the bound. The value counts towards the bound
// unless it is pinned.
func (m *Map[T, V]) AddPinned(k Key, create func(V)) V {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.Get(k); ok {
		return v
	}
	return m.insert(k, create)
}

// Pin says that n more values, or fewer if it is negative, do not count towards
// the bound.
func (m *Map[T, V]) Pin(n int) {
	m.mu.Lock()
	m.pinned += n
	m.mu.Unlock()
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
	e := &entry[T]{name: k.Name, space: k.Space}
	create(&e.value)
	m.entries = append(m.entries, e)
	m.index[k.Space].insert(e)
	return &e.value
}

// makeRoom evicts until there is room for one more. Where a look at every value
// was in vain, it does not look again for each newcomer: who brings ever new
// keys must not make them dear.
func (m *Map[T, V]) makeRoom(now time.Duration) bool {
	for len(m.entries)-m.pinned >= m.bound {
		if m.skip > 0 {
			m.skip--
			return false
		}
		if !m.evictOne(now) {
			m.skip = len(m.entries) / 64
			return false
		}
	}
	return true
}

// evictOne goes round like the hand of a clock: a value that was used since it
// came by gets a second chance. Without one of those, a second round is in vain.
func (m *Map[T, V]) evictOne(now time.Duration) bool {
	for range 2 {
		spared := false
		for range m.entries {
			m.hand %= len(m.entries)
			e := m.entries[m.hand]
			used, evicted := V(&e.value).Evict(now, e.used)
			if evicted {
				m.remove(m.hand)
				return true
			}
			spared = spared || used != e.used
			e.used = used
			m.hand++
		}
		if !spared {
			break
		}
	}
	return false
}

func (m *Map[T, V]) remove(i int) {
	e := m.entries[i]
	m.index[e.space].remove(e)
	last := len(m.entries) - 1
	m.entries[i] = m.entries[last]
	m.entries[last] = nil
	m.entries = m.entries[:last]
}
