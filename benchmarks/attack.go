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
	nameRoom   = "host never seen, circuits full but idle"
	nameNoRoom = "host never seen, circuits full and open"
	nameAmid   = "known host amid ever new ones"
	nameApart  = "known host beside a Transport amid ever new ones"
)

// full returns a Transport that has as many circuits as it may.
func full(down bool) (http.RoundTripper, error) {
	sick, well := &failing{}, &stub{http.NoBody}
	var recovered bool
	rt := guardOurs(breakerhttp.WithMaxCircuits(bound))(peers.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		if recovered {
			return well.RoundTrip(req)
		}
		return sick.RoundTrip(req)
	}))
	hosts := hostNames("full", bound)
	if !down {
		recovered = true
		meet(rt, hosts)
		return rt, nil
	}
	err := open(rt, hosts, sick)
	recovered = true
	return rt, err
}

// attacked measures the requests of one who chooses ever new hosts.
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

// beset measures what the requests of such a one do to those of others: beside
// his, while he attacks their Transport, and while he attacks another one.
func beset(budget time.Duration) (*field, error) {
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
		f.add(subject{name: a.name, send: func(n int) (failed int) {
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
