package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"
)

// A turn is far shorter than what an operating system gives a process at a time,
// except for real requests.
const (
	slice     = 200 * time.Microsecond
	slowSlice = 5 * time.Millisecond
)

// closed measures requests to so many healthy hosts. With 100,000, collecting garbage in every round
// would take too long.
func closed(budget time.Duration, hosts int) *field {
	f := &field{quiet: hosts <= 1000}
	names := hostNames(fmt.Sprintf("closed-%d", hosts), hosts)
	for _, c := range contenders {
		if c.most == 0 || hosts <= c.most {
			rt := c.guard(&stub{http.NoBody})
			meet(rt, names)
			f.addLoad(c.name, rt, newLoad(context.Background(), names))
		}
	}
	f.measure(budget, slice)
	return f
}

// addLoad adds a subject that sends l through rt. Before its turn is timed, it visits up to 1,000
// hosts three times each: after one visit, a figure still depends on which subject had its turn
// before.
func (f *field) addLoad(name string, rt http.RoundTripper, l *load) {
	f.add(subject{Name: name, warm: 3 * min(len(l.hosts), 1000), send: func(n int) int { return l.run(rt, n) }})
}

// refusing measures requests to so many hosts that are down.
func refusing(budget time.Duration, hosts int) (*field, error) {
	f := &field{}
	names := hostNames(fmt.Sprintf("open-%d", hosts), hosts)
	for _, c := range contenders {
		if !c.refuses || c.most > 0 && hosts > c.most {
			continue
		}
		upstream := &failing{}
		rt := c.guard(upstream)
		if err := open(rt, names, upstream); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		f.addLoad(c.name, rt, newLoad(context.Background(), names))
	}
	f.measure(budget, slice)
	return f, nil
}

const clients = 2

// crowded measures what requests take longer when two goroutines send them to
// the same host. The subjects that are alone have a mark in their names.
func crowded(budget time.Duration) *field {
	f := &field{quiet: true}
	names := hostNames("crowded", 1)
	for _, c := range contenders {
		rt := c.guard(&stub{http.NoBody})
		meet(rt, names)
		f.addLoad(alone(c.name), rt, newLoad(context.Background(), names))
		var loads [clients]*load
		for i := range loads {
			loads[i] = newLoad(context.Background(), names)
		}
		f.add(subject{Name: c.name, send: func(n int) int { return runParallel(rt, n, loads[:]...) }})
	}
	f.measure(budget, 2*slice)
	return f
}

func alone(name string) string { return name + ", alone" }

// loopback measures real requests, whose small answer is read.
func loopback(budget time.Duration) *field {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))
	defer server.Close()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	f := &field{}
	for _, c := range contenders {
		rt := c.guard(base)
		f.add(subject{Name: c.name, send: func(n int) (failed int) {
			for range n {
				if fetch(rt, server.URL) != nil {
					failed++
				}
			}
			return failed
		}})
	}
	f.measure(budget, slowSlice)
	return f
}
