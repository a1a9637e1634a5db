package main

import (
	"net/http"
	"runtime"
)

// A weight is what a contender keeps of each host.
type weight struct{ bytes, goroutines float64 }

// weigh measures what a contender keeps of n hosts.
func weigh(c contender, n int) weight {
	if c.most > 0 {
		n = min(n, c.most)
	}
	names := hostNames("weigh", n)
	bytes, goroutines := heap(), runtime.NumGoroutine()
	rt := c.guard(&stub{http.NoBody})
	meet(rt, names)
	w := weight{
		bytes:      (heap() - bytes) / float64(n),
		goroutines: float64(runtime.NumGoroutine()-goroutines) / float64(n),
	}
	runtime.KeepAlive(rt)
	runtime.KeepAlive(names)
	return w
}

// heap is the size of what is reachable.
func heap() float64 {
	runtime.GC()
	runtime.GC() // the first one leaves what sync.Pools hold
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
