package keyed_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/breakerhttp/breakerhttp/internal/keyed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// thing is a value that counts what it is asked.
type thing struct {
	key    keyed.Key
	uses   atomic.Uint64
	kept   atomic.Bool // it must not be evicted
	last   atomic.Bool // it goes only as a last resort
	gone   atomic.Bool
	looked *atomic.Int64 // how often any thing was asked
}

func (v *thing) Evict(seen uint64, lastResort bool) (used uint64, evicted bool) {
	v.looked.Add(1)
	used = v.uses.Load()
	return used, used == seen && !v.kept.Load() && (lastResort || !v.last.Load()) && !v.gone.Swap(true)
}

// shelf is a map of things.
type shelf struct {
	*testing.T
	*keyed.Map[thing, *thing]
	looked atomic.Int64
}

func newShelf(t *testing.T, bound int) *shelf {
	return &shelf{T: t, Map: keyed.New[thing](bound)}
}

func name(n string) keyed.Key { return keyed.Key{Name: n} }

func (s *shelf) make(k keyed.Key) func(*thing) {
	return func(v *thing) { v.key, v.looked = k, &s.looked }
}

func (s *shelf) add(names ...string) (last *thing) {
	s.Helper()
	for _, n := range names {
		v, ok := s.Add(name(n), s.make(name(n)))
		if !ok || v.key != name(n) {
			s.Fatalf("Add(%q) returned %+v, %v", n, v, ok)
		}
		last = v
	}
	return last
}

func (s *shelf) want(names ...string) {
	s.Helper()
	var got []string
	for _, v := range s.All() {
		got = append(got, v.key.Name)
		if found, ok := s.Get(v.key); !ok || found != v {
			s.Errorf("Get(%v) returned %+v, %v, want what All has", v.key, found, ok)
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(names, got); diff != "" {
		s.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestAKeyHasOneValue(t *testing.T) {
	s := newShelf(t, 9)
	if v, ok := s.Get(name("a")); ok || v != nil {
		t.Errorf("Get of an unknown key returned %v, %v", v, ok)
	}
	first := s.add("a")
	never := func(*thing) { t.Error("a second value is made") }
	if v, ok := s.Add(name("a"), never); v != first || !ok {
		t.Errorf("Add returned another value: %v, %v", v, ok)
	}
	if v := s.AddPinned(name("a"), never); v != first {
		t.Errorf("AddPinned returned another value: %v", v)
	}
	if v, ok := s.Get(name("a")); v != first || !ok {
		t.Errorf("Get returned another value: %v, %v", v, ok)
	}
	other := keyed.Key{Space: keyed.Spaces - 1, Name: "a"}
	second, _ := s.Add(other, s.make(other))
	for k, want := range map[keyed.Key]*thing{name("a"): first, other: second} {
		if v, ok := s.Get(k); v != want || v.key != k || !ok {
			t.Errorf("Get(%v) returned %+v, %v, want %+v: the same name in two spaces is two keys", k, v, ok, want)
		}
	}
}

func TestTheBound(t *testing.T) {
	s := newShelf(t, 3)
	for i := range 100 {
		s.add(fmt.Sprint(i))
		if got, want := len(s.All()), min(i+1, 3); got != want {
			t.Fatalf("after %d there are %d, want %d", i+1, got, want)
		}
	}
	var all []*thing
	s.Locked(func(values []*thing) { all = values })
	if diff := cmp.Diff(len(s.All()), len(all)); diff != "" {
		t.Errorf("number of values (-All +Locked):\n%s", diff)
	}
}

// TestNewcomersLeaveNothingBehind sends what someone who chooses the keys may.
func TestNewcomersLeaveNothingBehind(t *testing.T) {
	const bound, newcomers = 16, 50_000
	s := newShelf(t, bound)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range newcomers {
		s.add(fmt.Sprint(i))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if got := int64(after.HeapAlloc) - int64(before.HeapAlloc); got > 500_000 {
		t.Errorf("%d newcomers, of whom %d are kept, take %d bytes, want some thousands", newcomers, len(s.All()), got)
	}
}

func TestTheUnusedGoFirst(t *testing.T) {
	s := newShelf(t, 4)
	a, c := s.add("a"), s.add("b", "c")
	s.add("d")
	a.uses.Add(1)
	c.uses.Add(1)
	s.add("e").uses.Add(1)
	s.want("a", "c", "d", "e")
	s.add("f").uses.Add(1)
	s.want("a", "c", "e", "f")
}

func TestThereIsRoomWhereAllWereInUse(t *testing.T) {
	s := newShelf(t, 3)
	for _, n := range []string{"a", "b", "c"} {
		s.add(n).uses.Add(1)
	}
	s.add("d") // the hand comes by a second time
	s.want("b", "c", "d")
}

func TestTheLastResort(t *testing.T) {
	s := newShelf(t, 2)
	a := s.add("a")
	a.last.Store(true)
	s.add("b")
	s.add("c") // b goes, though a is first
	s.want("a", "c")
	s.add("c").kept.Store(true)
	s.add("d") // no other can go
	s.want("c", "d")
}

func TestTheLastResortComesAfterASecondChance(t *testing.T) {
	s := newShelf(t, 2)
	s.add("a").last.Store(true)
	s.add("b").uses.Add(1)
	s.add("c") // b has been used since the hand saw it, and goes all the same
	s.want("a", "c")
}

func TestNoneCanGo(t *testing.T) { synctest.Test(t, testNoneCanGo) }

func testNoneCanGo(t *testing.T) {
	const bound = 640
	s := newShelf(t, bound)
	for i := range bound {
		s.add(fmt.Sprint(i)).kept.Store(true)
	}
	never := func(*thing) { t.Error("a value is made without room for it") }
	refused := func(key int) {
		if v, ok := s.Add(name(fmt.Sprint(key)), never); ok || v != nil {
			t.Fatalf("Add without room returned %v, %v", v, ok)
		}
	}
	s.looked.Store(0)
	refused(bound)
	once := s.looked.Load()
	if once < bound {
		t.Errorf("%d looks before it gave up, want one at least at each of %d", once, bound)
	}

	const newcomers, seconds = 10_000, 5
	s.looked.Store(0)
	for i := range newcomers {
		time.Sleep(seconds * time.Second / newcomers)
		refused(bound + i)
	}
	if got := s.looked.Load() / seconds; got > 40_000 {
		t.Errorf("%d looks a second, want at most 40,000, whatever comes", got)
	}

	free, _ := s.Get(name("77"))
	free.kept.Store(false)
	time.Sleep(time.Second / 10)
	s.add("new")
	if _, ok := s.Get(name("77")); ok || !free.gone.Load() {
		t.Error("the one that could go has not gone")
	}
	if got := len(s.All()); got != bound {
		t.Errorf("there are %d values, want %d", got, bound)
	}
}

// TestFewAreLookedAtAtOnce: a search of a small map costs so little that none is left out.
func TestFewAreLookedAtAtOnce(t *testing.T) { synctest.Test(t, testFewAreLookedAtAtOnce) }

func testFewAreLookedAtAtOnce(t *testing.T) {
	s := newShelf(t, 63)
	for i := range 63 {
		s.add(fmt.Sprint(i)).kept.Store(true)
	}
	if _, ok := s.Add(name("new"), s.make(name("new"))); ok {
		t.Error("there was room, want none")
	}
	free, _ := s.Get(name("7"))
	free.kept.Store(false)
	s.add("new")
}

func TestPinned(t *testing.T) {
	s := newShelf(t, 2)
	s.add("a").kept.Store(true)
	s.add("b").kept.Store(true)
	for _, n := range []string{"p", "q"} {
		s.AddPinned(name(n), s.make(name(n))).kept.Store(true)
		s.Pin()
	}
	s.want("a", "b", "p", "q")
	if _, ok := s.Add(name("c"), s.make(name("c"))); ok {
		t.Error("there is room beyond the bound")
	}
	b, _ := s.Get(name("b"))
	b.kept.Store(false)
	s.add("c")
	s.want("a", "c", "p", "q")

	for _, n := range []string{"p", "q"} { // pinned no longer: one too many each time
		v, _ := s.Get(name(n))
		v.kept.Store(false)
		s.Unpin(v)
	}
	if got := len(s.All()); got != 2 {
		t.Errorf("there are %d values, want 2", got)
	}
}

// TestUnpinned: a value that counts towards the bound again is not what has to go for that; and room is
// looked for though there was none for a newcomer a moment ago.
func TestUnpinned(t *testing.T) {
	const bound = 128
	s := newShelf(t, bound)
	p := s.AddPinned(name("p"), s.make(name("p")))
	p.kept.Store(true)
	s.Pin()
	for i := range bound {
		s.add(fmt.Sprint(i)).kept.Store(true)
	}
	if _, ok := s.Add(name("newcomer"), s.make(name("newcomer"))); ok {
		t.Fatal("there is room for a newcomer")
	}
	free, _ := s.Get(name("77"))
	free.kept.Store(false)
	p.kept.Store(false)
	s.Unpin(p)
	if p.gone.Load() || !free.gone.Load() {
		t.Errorf("evicted are what was unpinned: %t, another value that could go: %t", p.gone.Load(), free.gone.Load())
	}
}

func TestGetTakesNoLockAndNoMemory(t *testing.T) {
	s := newShelf(t, 3)
	a := s.add("a", "b", "c")
	s.Locked(func([]*thing) { // Get would wait here for ever
		allocs := testing.AllocsPerRun(100, func() {
			if v, ok := s.Get(name("c")); !ok || v != a {
				t.Errorf("Get returned %v, %v", v, ok)
			}
		})
		if allocs != 0 {
			t.Errorf("Get allocates %v times, want 0", allocs)
		}
	})
	if before := s.looked.Load(); before != 0 {
		t.Errorf("a value was asked %d times without need", before)
	}
}

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
					v, ok = s.Add(k, func(v *thing) { made.Add(1); s.make(k)(v) })
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
					if got := len(s.All()); got > bound+clients { // each client may have one pinned
						t.Errorf("there are %d values, want %d at most", got, bound+clients)
					}
				case 1:
					s.Pin() // for the race detector
					s.Unpin(nil)
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
