package keyed_test

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// TestManyComeAndGo has every name sought after each change.
func TestManyComeAndGo(t *testing.T) {
	const bound, newcomers = 20, 1000
	s := newShelf(t, bound)
	for i := range newcomers {
		s.add(fmt.Sprint(i))
		here := map[string]bool{}
		for _, v := range s.All() {
			here[v.key.Name] = true
		}
		for j := range i + 2 {
			k := name(fmt.Sprint(j))
			if v, ok := s.Get(k); ok != here[k.Name] || ok && v.key != k {
				t.Fatalf("after %d newcomers Get(%q) returned %+v, %v, want a value: %v", i+1, k.Name, v, ok, here[k.Name])
			}
		}
		if v, ok := s.Get(name("")); ok {
			t.Fatalf("after %d newcomers the empty name has a value: %+v", i+1, v)
		}
	}
}

// TestAValueIsFoundWhileOthersComeAndGo seeks what is never evicted.
func TestAValueIsFoundWhileOthersComeAndGo(t *testing.T) {
	const bound, newcomers = 16, 20_000
	s := newShelf(t, bound)
	stays := []*thing{s.add("a"), s.add("b"), s.add("c")}
	for _, v := range stays {
		v.kept.Store(true)
	}
	var over atomic.Bool
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for !over.Load() {
				for _, v := range stays {
					if found, ok := s.Get(v.key); !ok || found != v {
						t.Errorf("Get(%v) returned %+v, %v, want what has been there all the time", v.key, found, ok)
						return
					}
				}
			}
		})
	}
	for i := range newcomers {
		s.add(fmt.Sprint(i))
	}
	over.Store(true)
	all.Wait()
}

// TestANewcomerAtTheBoundIsCheap finds work that is done over and over by the
// memory that it takes.
func TestANewcomerAtTheBoundIsCheap(t *testing.T) {
	const bound, newcomers = 1000, 10_000
	s := newShelf(t, bound)
	i := 0
	come := func(n int) {
		for range n {
			i++
			s.add(fmt.Sprint(i))
		}
	}
	come(bound)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	come(newcomers)
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / newcomers; each > 1000 {
		t.Errorf("a newcomer takes %d bytes, want hundreds", each)
	}
}
