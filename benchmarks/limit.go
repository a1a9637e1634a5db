package main

import (
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A limit is the least that a circuit breaker for every host can do: it looks
// the host up in a map, loads its state, and adds the outcome. It is no circuit
// breaker: once open it stays so.
type limit struct {
	base  http.RoundTripper
	hosts sync.Map // host → *limitHost
	epoch time.Time
	timed bool // reads the clock once, as one that opens for a time must
}

type limitHost struct {
	openUntil atomic.Int64 // since the epoch
	succeeded atomic.Uint64
	failed    atomic.Uint64
}

var errLimit = errors.New("open")

func newLimit(base http.RoundTripper) *limit { return &limit{base: base, epoch: time.Now()} }

// RoundTrip implements [http.RoundTripper].
func (l *limit) RoundTrip(req *http.Request) (*http.Response, error) {
	h := l.host(req.URL.Host)
	var now time.Duration
	if l.timed {
		now = time.Since(l.epoch)
	}
	if time.Duration(h.openUntil.Load()) > now {
		return nil, errLimit
	}
	resp, err := l.base.RoundTrip(req)
	if err == nil && resp.StatusCode < 500 {
		h.succeeded.Add(1)
	} else if h.failed.Add(1) == 5 {
		h.openUntil.Store(int64(time.Hour))
	}
	return resp, err
}

func (l *limit) host(name string) *limitHost {
	if h, ok := l.hosts.Load(name); ok {
		return h.(*limitHost)
	}
	h, _ := l.hosts.LoadOrStore(name, new(limitHost))
	return h.(*limitHost)
}
