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

// A world is a scenario while it is played, in virtual time.
type world struct {
	*plan
	began   time.Time
	arrive  *rand.Rand
	clients []client

	mu       sync.Mutex
	visits   []visit
	inFlight int
}

// processStart is when the clock of go-zero starts. A bubble must not be earlier.
var processStart = time.Now().Round(0)

// An outcome is the result of a scenario that was played once.
type outcome struct {
	plan    *plan
	figures []float64 // one for each measure
	moments []moment
}

// play plays a scenario to a contender. With the same seed, all contenders are asked
// for the same requests.
func play(t *testing.T, sc *scenario, seed uint64, c *contender) (out outcome) {
	if c.leaves {
		defer func() {
			if p := recover(); p != nil && out.figures == nil {
				panic(p) // not only that goroutines are left
			}
		}()
	}
	synctest.Test(t, func(*testing.T) {
		time.Sleep(time.Until(processStart) + time.Hour) // a bubble starts in the year 2000
		w := newWorld(sc, seed, c)
		l := w.live()
		out = outcome{w.plan, w.judge(l), l.moments(w.length, moments)}
	})
	return out
}

func newWorld(sc *scenario, seed uint64, c *contender) *world {
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
		w.clients = append(w.clients, newClient(c.guards(sc, w), max(w.hosts, 1)))
	}
	return w
}

// A client has a circuit breaker of its own.
type client struct {
	rt    http.RoundTripper
	hosts []*http.Request // a request to each
}

// met makes names of hosts. Each client has its own, because some breakers are kept
// by host for the whole process.
var met atomic.Int64

func newClient(rt http.RoundTripper, hosts int) client {
	c := client{rt: rt}
	for range hosts {
		req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("https://host-%d.example.com/", met.Add(1)), nil)
		if err != nil {
			panic(err) // the URL is ours
		}
		c.hosts = append(c.hosts, req)
	}
	return c
}

// live sends all requests, and returns when the last one has ended.
func (w *world) live() *ledger {
	l := &ledger{}
	calls := make(chan call)
	var callers sync.WaitGroup
	for at := w.next(0); at < w.length; at = w.next(at) {
		r := &request{n: len(l.requests), at: at}
		l.requests = append(l.requests, r)
		from := pick(w.arrive, w.clients)
		c := call{r, from.rt, pick(w.arrive, from.hosts)}
		time.Sleep(at - time.Since(w.began))
		select {
		case calls <- c: // to a goroutine that has nothing else to do
		default:
			callers.Go(func() {
				w.ask(c)
				for c := range calls {
					w.ask(c)
				}
			})
		}
	}
	close(calls)
	callers.Wait()
	l.visits = w.visits
	return l
}

func pick[E any](r *rand.Rand, all []E) E { return all[r.IntN(len(all))] }

// next returns when the next request is asked for. Requests come independently of
// each other, as those of many users do.
func (w *world) next(at time.Duration) time.Duration {
	for {
		at += time.Duration(w.arrive.ExpFloat64() * float64(time.Second) / w.peak)
		if at >= w.length || w.arrive.Float64()*w.peak < w.rate(at) {
			return at
		}
	}
}

// A call is a request on its way through a client to a host.
type call struct {
	*request
	rt  http.RoundTripper
	req *http.Request
}

// ask sends a request, and again as often as the plan says.
func (w *world) ask(c call) {
	r := c.request
	for range 1 + w.retries {
		before := r.visits.Load()
		r.answered = w.attempt(c)
		r.refused = r.visits.Load() == before
		if r.answered || r.refused {
			break
		}
	}
}

func (w *world) attempt(c call) (answered bool) {
	ctx := &patience{Context: context.Background(), request: c.request, ends: time.Now().Add(w.deadline)}
	resp, err := c.rt.RoundTrip(c.req.WithContext(ctx))
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode < 500
}

// patience is the context of an attempt. Only its deadline ends it, so that it
// costs no timer unless somebody waits for that.
type patience struct {
	context.Context
	request *request
	ends    time.Time
	once    sync.Once
	done    chan struct{}
}

// Deadline implements [context.Context].
func (p *patience) Deadline() (time.Time, bool) { return p.ends, true }

// Done implements [context.Context].
func (p *patience) Done() <-chan struct{} {
	p.once.Do(func() {
		p.done = make(chan struct{})
		time.AfterFunc(time.Until(p.ends), func() { close(p.done) })
	})
	return p.done
}

// Err implements [context.Context].
func (p *patience) Err() error {
	if time.Now().Before(p.ends) {
		return nil
	}
	return context.DeadlineExceeded
}

type requestKey struct{}

// Value implements [context.Context].
func (p *patience) Value(key any) any {
	if key == (requestKey{}) {
		return p.request
	}
	return nil
}

// RoundTrip implements [http.RoundTripper]. It is what the hosts do.
func (w *world) RoundTrip(req *http.Request) (*http.Response, error) {
	r := req.Context().Value(requestKey{}).(*request)
	id, f := w.enter(r)
	defer w.leave(id)
	deadline, _ := req.Context().Deadline()
	time.Sleep(min(f.after, time.Until(deadline)))
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
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
