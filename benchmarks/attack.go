package main

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/benchmarks/internal/peers"
)

const (
	bound     = 10_000 // the default of WithMaxCircuits
	newcomers = 10 * bound
)

const (
	nameRoom   = "new host, at the bound, known hosts idle"
	nameNoRoom = "new host, at the bound, all circuits open"
	nameAmid   = "known host, while another caller sends to new hosts"
	nameApart  = "while it does so by another Transport"
)

// full returns a Transport that has as many circuits as it may.
func full(down bool) (http.RoundTripper, error) {
	dead, healthy := &failing{}, &stub{http.NoBody}
	var recovered bool
	rt := guardOurs(breakerhttp.WithMaxCircuits(bound))(peers.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		if recovered {
			return healthy.RoundTrip(req)
		}
		return dead.RoundTrip(req)
	}))
	hosts := hostNames("full", bound)
	if !down {
		recovered = true
		meet(rt, hosts)
		return rt, nil
	}
	err := open(rt, hosts, dead)
	recovered = true
	return rt, err
}

// attacked measures the requests of a caller that chooses a new host each time.
func attacked(budget time.Duration) (*field, error) {
	f := &field{}
	names := hostNames("new", newcomers)
	for _, a := range []struct {
		name string
		down bool
	}{{nameRoom, false}, {nameNoRoom, true}} {
		rt, err := full(a.down)
		if err != nil {
			return nil, err
		}
		f.addLoad(a.name, rt, newLoad(context.Background(), names))
	}
	f.measure(budget, slowSlice)
	return f, nil
}

// disturbed measures what such a caller does to the requests of another one: they
// are timed while it attacks their Transport, and while it attacks a second one.
func disturbed(budget time.Duration) (*field, error) {
	f := &field{}
	rt, err := full(false)
	if err != nil {
		return nil, err
	}
	other, err := full(false)
	if err != nil {
		return nil, err
	}
	l := newLoad(context.Background(), hostNames("known", 1))
	meet(rt, l.hosts)
	for _, a := range []struct {
		name   string
		target http.RoundTripper
	}{{nameApart, other}, {nameAmid, rt}} {
		attack := newLoad(context.Background(), hostNames("new", newcomers))
		f.add(subject{Name: a.name, send: func(n int) (failed int) {
			besides(func() { attack.run(a.target, 10) }, func() { failed = l.run(rt, n) })
			return failed
		}})
	}
	f.measure(budget, slowSlice)
	return f, nil
}

// besides calls f over and over while do runs.
func besides(f, do func()) {
	var over atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !over.Load() {
			f()
		}
	})
	do()
	over.Store(true)
	wg.Wait()
}
