package keyed_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

func TestConcurrentUse(t *testing.T) {
	const bound, names, clients = 16, 40, 8
	s := newShelf(t, bound)
	var made, refused atomic.Int64
	var all sync.WaitGroup
	for i := range uint64(clients) {
		all.Go(func() {
			random := rand.New(rand.NewPCG(i, 1))
			for range 2000 {
				k := name(fmt.Sprint(random.IntN(names)))
				v, ok := s.Get(k)
				if !ok {
					v, ok = s.Add(0, k, func(v *thing) { made.Add(1); s.make(k)(v) })
				}
				switch {
				case !ok:
					refused.Add(1)
				case v.key != k:
					t.Errorf("the value of %v is that of %v", k, v.key)
				default:
					v.uses.Add(1)
					v.kept.Store(random.IntN(4) == 0)
				}
				switch random.IntN(50) {
				case 0:
					if got := len(s.All()); got > bound {
						t.Errorf("there are %d values, want %d at most", got, bound)
					}
				case 1:
					s.Pin(0) // for the race detector
				case 2:
					s.Locked(func(values []*thing) {
						for _, v := range values {
							if v.gone.Load() {
								t.Errorf("%v has been evicted and is still there", v.key)
							}
						}
					})
				}
			}
		})
	}
	all.Wait()
	seen := map[string]bool{}
	for _, v := range s.All() {
		if seen[v.key.Name] {
			t.Errorf("there are two values of %v", v.key)
		}
		seen[v.key.Name] = true
		if found, ok := s.Get(v.key); !ok || found != v {
			t.Errorf("Get(%v) returned %v, %v, want what All has", v.key, found, ok)
		}
	}
	if made.Load() <= bound {
		t.Errorf("only %d values were made, want some to have been evicted", made.Load())
	}
	for i := range names {
		if _, ok := s.Get(name(fmt.Sprint(i))); ok != seen[fmt.Sprint(i)] {
			t.Errorf("Get(%d) finds a value: %v, All: %v", i, ok, !ok)
		}
	}
}
