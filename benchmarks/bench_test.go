package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/breakerhttp/breakerhttp/benchmarks/internal/peers"
)

// TestOtherOrder: hosts are met in another order than they are visited in later,
// and all of them.
func TestOtherOrder(t *testing.T) {
	names := hostNames("ordered", 1000)
	var met []string
	meet(peers.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		met = append(met, req.URL.Host)
		return (&stub{http.NoBody}).RoundTrip(req)
	}), names)
	inOrder := 0
	for i, host := range met[1:] {
		if slices.Index(names, host) == slices.Index(names, met[i])+1 {
			inOrder++
		}
	}
	if inOrder > 20 {
		t.Errorf("%d of %d hosts were met right after the one before them", inOrder, len(names))
	}
	slices.Sort(met)
	if !slices.Equal(met, names) { // which are sorted
		t.Error("not each host was met once")
	}
}

// TestContenders shows that what is measured does what the table says: healthy
// hosts are asked once a request, and those that are open not at all.
func TestContenders(t *testing.T) {
	names := hostNames("tested", 3)
	for _, c := range contenders {
		upstream := &failing{}
		hits := 0
		rt := c.guard(peers.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
			hits++
			return (&stub{http.NoBody}).RoundTrip(req)
		}))
		meet(rt, names)
		if hits != len(names) {
			t.Errorf("%s sent %d requests, want %d", c.name, hits, len(names))
		}
		if !c.refuses {
			continue
		}
		down := hostNames("down", 3) // some keep their circuits for the whole process
		rt = c.guard(upstream)
		if err := open(rt, down, upstream); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		before := upstream.hits.Load()
		newLoad(context.Background(), down).run(rt, 30)
		if got := upstream.hits.Load() - before; got > int64(len(down)) { // a probe each at most
			t.Errorf("%s sent %d of 30 requests to hosts that are open", c.name, got)
		}
	}
}

// TestMerge adds up what two programs have measured of the same field, and hand over as JSON.
func TestMerge(t *testing.T) {
	sum := timed{}
	for _, took := range []float64{10, 30} {
		f := &field{}
		f.add(subject{Name: nameBase, Took: []float64{took / 2}, Sent: 5})
		f.add(subject{Name: nameOurs, Took: []float64{took}, Sent: 7, Failed: 1})
		text, err := json.Marshal(timed{closedField(1): f})
		if err != nil {
			t.Fatal(err)
		}
		var read timed
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		sum.merge(read)
	}
	f := sum[closedField(1)]
	if got, want := f.over(nameOurs, nameBase), []float64{5, 15}; !slices.Equal(got, want) {
		t.Errorf("over the base, by round: got %v, want %v", got, want)
	}
	if s := f.find(nameOurs); len(f.Subjects) != 2 || s.Sent != 14 || s.Failed != 2 {
		t.Errorf("got %d subjects, %d requests sent, %d failed; want 2, 14, 2", len(f.Subjects), s.Sent, s.Failed)
	}
}

// TestNothingIsLeft drops a Transport that has met many hosts.
func TestNothingIsLeft(t *testing.T) {
	names := hostNames("left", 10_000)
	before := heap()
	rt := guardOurs()(&stub{http.NoBody})
	meet(rt, names)
	with := heap() - before
	runtime.KeepAlive(rt)
	rt = nil
	heap() // runs the cleanup of the metrics' callback
	if left := heap() - before; left > with/20 {
		t.Errorf("a Transport of %.0f bytes leaves %.0f behind", with, left)
	}
	runtime.KeepAlive(names)
}

// TestMemory: so much is kept of a healthy host, the SDK's part included.
func TestMemory(t *testing.T) {
	const most = 512
	if got := weigh(named(nameOurs), 50_000); got.bytes > most {
		t.Errorf("a host takes %.0f bytes, want at most %d", got.bytes, most)
	}
}

// TestNoGoroutines: a bubble counts the goroutines that were started in it, and
// no others, such as those of the clients of other tests. The test fails if one
// has not ended.
func TestNoGoroutines(t *testing.T) {
	synctest.Test(t, func(*testing.T) {
		meet(guardOurs()(&stub{http.NoBody}), hostNames("without", 1000))
	})
}

func BenchmarkClosed(b *testing.B) {
	for _, hosts := range []int{1, 1000} {
		for _, c := range contenders {
			b.Run(fmt.Sprintf("hosts=%d/%s", hosts, c.name), func(b *testing.B) {
				names := hostNames("bench", hosts)
				rt := c.guard(&stub{http.NoBody})
				meet(rt, names)
				benchmark(b, rt, newLoad(context.Background(), names))
			})
		}
	}
}

func BenchmarkRefusing(b *testing.B) {
	for _, c := range contenders {
		if !c.refuses {
			continue
		}
		b.Run(c.name, func(b *testing.B) {
			names := hostNames("refused", 1)
			upstream := &failing{}
			rt := c.guard(upstream)
			if err := open(rt, names, upstream); err != nil {
				b.Fatal(err)
			}
			l := newLoad(context.Background(), names)
			if c.name == nameOurs || c.name == nameBare {
				wantAllocs(b, rt, l, 1)
			}
			benchmark(b, rt, l)
		})
	}
}

func BenchmarkVariants(b *testing.B) {
	for _, v := range variants {
		b.Run(v.name, func(b *testing.B) {
			names := hostNames("variant", 1)
			l, base, cancel := v.load(context.Background(), names)
			defer cancel()
			rt := v.guards()[0].guard(base)
			meet(rt, names)
			wantAllocs(b, rt, l, v.allocs)
			benchmark(b, rt, l)
		})
	}
}

func benchmark(b *testing.B, rt http.RoundTripper, l *load) {
	b.ReportAllocs()
	b.ResetTimer()
	l.run(rt, b.N)
}

// mostBytes is what an allocation may take.
const mostBytes = 80

// wantAllocs fails if a request does not make so many small allocations.
func wantAllocs(b *testing.B, rt http.RoundTripper, l *load, want float64) {
	b.Helper()
	const requests = 10_000
	send := func() { l.run(rt, 1) }
	if got := testing.AllocsPerRun(requests, send); got != want {
		b.Fatalf("a request makes %v allocations, want %v", got, want)
	}
	// What others allocate meanwhile, such as the collector, is not there each time.
	least := math.Inf(1)
	for range 10 {
		least = min(least, bytesPerRequest(rt, l, requests))
	}
	if least > want*mostBytes+1 {
		b.Fatalf("a request allocates %.1f bytes, want %v of %d at most", least, want, mostBytes)
	}
}

func bytesPerRequest(rt http.RoundTripper, l *load, requests int) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	l.run(rt, requests)
	runtime.ReadMemStats(&after)
	return float64(after.TotalAlloc-before.TotalAlloc) / float64(requests)
}
