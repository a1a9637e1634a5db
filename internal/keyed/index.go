package keyed

import (
	"hash/maphash"
	"math/bits"
	"sync/atomic"
)

// An index finds entries by name. To find takes no lock, and may be done while
// another goroutine inserts or removes; those must not be done concurrently.
//
// It is a hash table with linear probing, at most half full. Nothing ever moves
// within a table, or a search that is under way could miss it: a mark stays where
// an entry was removed, and a table full of entries and marks is replaced.
type index[T any] struct {
	seed  maphash.Seed
	table atomic.Pointer[table[T]]
	mark  entry[T]
	n     int // entries
	taken int // slots with an entry or a mark
}

// A table has a power of two of slots. Those never taken are nil.
type table[T any] []atomic.Pointer[entry[T]]

type entry[T any] struct {
	name  string
	value T
	space uint8
	used  uint64 // as the hand of the Map saw it last
}

const fewestSlots = 8

func (x *index[T]) init() {
	x.seed = maphash.MakeSeed()
	t := make(table[T], fewestSlots)
	x.table.Store(&t)
}

// find returns the value of a name.
func (x *index[T]) find(name string) (*T, bool) {
	t := *x.table.Load()
	for i := maphash.String(x.seed, name); ; i++ {
		switch e := t[i&uint64(len(t)-1)].Load(); {
		case e == nil:
			return nil, false
		case e.name == name && e != &x.mark:
			return &e.value, true
		}
	}
}

// insert adds an entry whose name is not there.
func (x *index[T]) insert(e *entry[T]) {
	if t := *x.table.Load(); 2*x.taken >= len(t) {
		x.replace(t)
	}
	x.slot(*x.table.Load(), e.name, nil).Store(e)
	x.n++
	x.taken++
}

// remove takes an entry out.
func (x *index[T]) remove(e *entry[T]) {
	x.slot(*x.table.Load(), e.name, e).Store(&x.mark)
	x.n--
}

// slot is where a search for a name comes upon e, which may be nil.
func (x *index[T]) slot(t table[T], name string, e *entry[T]) *atomic.Pointer[entry[T]] {
	for i := maphash.String(x.seed, name); ; i++ {
		if s := &t[i&uint64(len(t)-1)]; s.Load() == e {
			return s
		}
	}
}

// replace leaves the marks behind, and room for half as many entries again: the
// work is not to be done over and over.
func (x *index[T]) replace(old table[T]) {
	t := make(table[T], max(fewestSlots, 1<<bits.Len(uint(3*x.n))))
	for i := range old {
		if e := old[i].Load(); e != nil && e != &x.mark {
			x.slot(t, e.name, nil).Store(e)
		}
	}
	x.taken = x.n
	x.table.Store(&t)
}
