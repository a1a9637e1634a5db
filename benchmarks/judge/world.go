package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A world is a scenario while it happens, in virtual time.
type world struct {
	*plan
	began   time.Time
	arrive  *rand.Rand
	clients []http.RoundTripper
	hosts   []*http.Request // a request to each

	mu       sync.Mutex
	visits   []visit
	inFlight int
}

// processStart is when go-zero's clock starts, which must not go backwards.
var processStart = time.Now().Round(0)

// worlds counts them: some breakers are kept by host for the whole process.
var worlds atomic.Int64

// play lets a scenario happen to a client with a breaker. Whoever plays the same
// scenario with the same seed gets the same requests.
func play(t *testing.T, sc *scenario, seed uint64, guard guard) []float64 {
	var figures []float64
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(processStart) + time.Hour) // a bubble starts in the year 2000
		w := newWorld(sc, seed, guard)
		l := w.live(t.Context())
		figures = w.judge(l)
	})
	return figures
}

func newWorld(sc *scenario, seed uint64, guard guard) *world {
	w := &world{
		plan:   sc.draw(rand.New(rand.NewPCG(seed, 0))),
		began:  time.Now(),
		arrive: rand.New(rand.NewPCG(seed, 1)),
	}
	if w.peak == 0 {
		w.peak, w.rate = usualRate, steps(usualRate)
	}
	if w.deadline == 0 {
		w.deadline = usualDeadline
	}
	for range max(w.plan.clients, 1) {
		w.clients = append(w.clients, guard(w))
	}
	id := worlds.Add(1)
	for i := range max(w.plan.hosts, 1) {
		req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("https://host-%d.world-%d.example.com/", i, id), nil)
		if err != nil {
			panic(err) // the URL is ours
		}
		w.hosts = append(w.hosts, req)
	}
	return w
}

// live sends all requests, and returns when the last has ended.
func (w *world) live(ctx context.Context) *ledger {
	l := &ledger{}
	var callers sync.WaitGroup
	for at := w.next(0); at < w.length; at = w.next(at) {
		r := &request{n: len(l.requests), at: at}
		l.requests = append(l.requests, r)
		client, host := pick(w.arrive, w.clients), pick(w.arrive, w.hosts)
		time.Sleep(at - time.Since(w.began))
		callers.Go(func() { w.ask(ctx, r, client, host) })
	}
	callers.Wait()
	l.visits = w.visits
	return l
}

func pick[E any](r *rand.Rand, all []E) E { return all[r.IntN(len(all))] }

// next is when the next request is asked for: they come as those of many users
// do, independent of each other.
func (w *world) next(at time.Duration) time.Duration {
	for {
		at += time.Duration(w.arrive.ExpFloat64() * float64(time.Second) / w.peak)
		if at >= w.length || w.arrive.Float64()*w.peak < w.rate(at) {
			return at
		}
	}
}

type requestKey struct{}

// ask sends a request, again if need be.
func (w *world) ask(ctx context.Context, r *request, client http.RoundTripper, host *http.Request) {
	ctx = context.WithValue(ctx, requestKey{}, r)
	for range 1 + w.retries {
		before := r.visits.Load()
		r.answered = w.attempt(ctx, client, host)
		r.refused = r.visits.Load() == before
		if r.answered || r.refused {
			break
		}
	}
	r.ended = time.Since(w.began)
}

func (w *world) attempt(ctx context.Context, client http.RoundTripper, host *http.Request) (answered bool) {
	ctx, cancel := context.WithTimeout(ctx, w.deadline)
	defer cancel()
	resp, err := client.RoundTrip(host.WithContext(ctx))
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode < 500
}

// RoundTrip is the way to the hosts, and they.
func (w *world) RoundTrip(req *http.Request) (*http.Response, error) {
	r := req.Context().Value(requestKey{}).(*request)
	id, f := w.enter(r)
	defer w.leave(id)
	if deadline, ok := req.Context().Deadline(); ok && f.after >= time.Until(deadline) {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	time.Sleep(f.after)
	if f.err != nil {
		return nil, f.err
	}
	if f.status == 0 {
		f.status = http.StatusOK
	}
	return &http.Response{StatusCode: f.status, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

func (w *world) enter(r *request) (id int, f fate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.visits.Add(1)
	at := time.Since(w.began)
	f = w.fate(arrival{at: at, n: r.n, others: w.inFlight})
	w.inFlight++
	w.visits = append(w.visits, visit{from: at})
	return len(w.visits) - 1, f
}

func (w *world) leave(id int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inFlight--
	w.visits[id].to = time.Since(w.began)
}
