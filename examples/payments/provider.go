package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
)

// A provider stands in for one on the internet. It books a payment once for each
// Idempotency-Key, and can fail after it has booked.
type provider struct {
	*httptest.Server
	down     atomic.Bool
	forgets  atomic.Bool // books, but the answer gets lost
	statuses atomic.Int64
	posts    atomic.Int64 // while it was down
	alerts   atomic.Int64

	mu     sync.Mutex
	booked map[string]int // amount by key
	twice  int            // bookings under one key with another amount
	bad    int            // requests without the token or the key
}

const token = "secret-token"

func newProvider() *provider {
	p := &provider{booked: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /payments", p.pay)
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		p.statuses.Add(1)
		if p.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("POST /alert", func(_ http.ResponseWriter, req *http.Request) {
		p.alerts.Add(1)
		_, _ = io.Copy(io.Discard, req.Body)
	})
	p.Server = httptest.NewServer(mux)
	return p
}

func (p *provider) pay(w http.ResponseWriter, req *http.Request) {
	if p.down.Load() {
		p.posts.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	var in payment
	err := json.NewDecoder(req.Body).Decode(&in)
	key := req.Header.Get("Idempotency-Key")
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil || key == "" || req.Header.Get("Authorization") != "Bearer "+token {
		p.bad++
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if amount, ok := p.booked[key]; ok && amount != in.Amount {
		p.twice++
	}
	p.booked[key] = in.Amount
	if p.forgets.Load() {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(http.StatusCreated)
}

// books returns the number of payments booked, and their sum.
func (p *provider) books() (n, sum int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, amount := range p.booked {
		n++
		sum += amount
	}
	return n, sum
}
