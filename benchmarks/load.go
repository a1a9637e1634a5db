package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// A load sends requests, each to the next of many hosts. The request is the same
// one with another host, as if it were new.
type load struct {
	req   *http.Request
	hosts []string
	next  int
}

func newLoad(ctx context.Context, hosts []string) *load {
	req := (&http.Request{
		Method:   http.MethodGet,
		URL:      &url.URL{Scheme: "https", Host: hosts[0], Path: "/"},
		Header:   http.Header{},
		Response: &http.Response{StatusCode: http.StatusOK, Header: http.Header{}},
	}).WithContext(ctx)
	return &load{req: req, hosts: hosts}
}

// hostNames makes n names.
func hostNames(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%06d.example.com", prefix, i)
	}
	return names
}

// otherOrder yields the hosts in an order which is not the one that a load visits
// them in. What a guard keeps of them then lies in memory in another order than
// it is used, as that of a long-running program does; otherwise the processor
// would fetch it ahead.
func otherOrder(hosts []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(len(hosts)) {
			if !yield(hosts[i]) {
				return
			}
		}
	}
}

// run sends n requests through rt, and closes what comes back.
func (l *load) run(rt http.RoundTripper, n int) (failed int) {
	for range n {
		l.req.URL.Host = l.hosts[l.next]
		if l.next++; l.next == len(l.hosts) {
			l.next = 0
		}
		resp, err := rt.RoundTrip(l.req)
		if err != nil {
			failed++
			continue
		}
		_ = resp.Body.Close()
	}
	return failed
}

// runParallel runs the loads at the same time.
func runParallel(rt http.RoundTripper, n int, loads ...*load) (failed int) {
	var sum atomic.Int64
	var wg sync.WaitGroup
	for _, l := range loads {
		wg.Go(func() { sum.Add(int64(l.run(rt, n))) })
	}
	wg.Wait()
	return int(sum.Load())
}

// meet sends a request to each host, so that rt knows it. It keeps none of them.
func meet(rt http.RoundTripper, hosts []string) {
	for host := range otherOrder(hosts) {
		must(fetch(rt, "https://"+host+"/"))
	}
}

// open makes rt refuse requests to the hosts, which fail.
func open(rt http.RoundTripper, hosts []string, upstream *failing) error {
	for host := range otherOrder(hosts) {
		for start := time.Now(); ; {
			hits := upstream.hits.Load()
			_ = fetch(rt, "https://"+host+"/")
			if upstream.hits.Load() == hits {
				break
			}
			if time.Since(start) > 10*time.Second {
				return fmt.Errorf("%s does not open", host)
			}
		}
	}
	return nil
}

// fetch sends a request, reads the answer and returns its error.
func fetch(rt http.RoundTripper, url string) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Response = &http.Response{StatusCode: http.StatusOK, Header: http.Header{}}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}

// must is for what cannot fail unless the measurement is wrong.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
