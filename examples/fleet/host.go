package main

import (
	"net/http"
	"sync"
	"time"
)

// The headers by which a host knows who calls it and why.
const (
	processHeader = "Fleet-Process"
	probeHeader   = "Fleet-Probe" // present in probes
)

// A hit is one request that has reached a host.
type hit struct {
	at      time.Time
	process string
	probe   bool
	down    bool // the host was down
}

// A host stands in for one on the internet.
type host struct {
	hangs bool // on probes, while it is down

	mu   sync.Mutex
	down bool
	log  []hit
}

func (h *host) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	got := hit{at: time.Now(), process: req.Header.Get(processHeader), probe: req.Header.Get(probeHeader) != ""}
	h.mu.Lock()
	got.down = h.down
	h.log = append(h.log, got)
	h.mu.Unlock()
	switch {
	case got.down && got.probe && h.hangs:
		<-req.Context().Done()
	case got.down:
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// setDown takes the host down or brings it back, and returns when it did.
func (h *host) setDown(down bool) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = down
	return time.Now()
}

// hits returns those that keep wants, in order.
func (h *host) hits(keep func(hit) bool) []hit {
	h.mu.Lock()
	defer h.mu.Unlock()
	var kept []hit
	for _, got := range h.log {
		if keep(got) {
			kept = append(kept, got)
		}
	}
	return kept
}

// answered returns when each process got its first answer since a time.
func (h *host) answered(since time.Time) map[string]time.Time {
	first := map[string]time.Time{}
	for _, got := range h.hits(func(got hit) bool { return !got.down && got.at.After(since) }) {
		if _, ok := first[got.process]; !ok {
			first[got.process] = got.at
		}
	}
	return first
}
