package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// A lane is a client's requests to one host.
type lane struct {
	*client
	host  string
	marks []mark // in the order in which the requests ended
	tally tally
}

// An outcome is what a caller gets.
type outcome int

const (
	refused outcome = iota // by the circuit breaker: nothing was sent
	answered
	failed
)

// A mark is a request in the picture, at the time when it was made.
type mark struct {
	at      time.Duration // since the scenario began
	outcome outcome
}

// A tally counts requests by outcome.
type tally struct {
	count  [failed + 1]int
	waited time.Duration // by the callers
}

// An event is a line of the story. Events are in the order of their times.
type event struct {
	at         time.Duration // since the start
	host, text string
	state      *breakerhttp.State // that the host's circuit is now in; nil: another event
}

// A show plays a scenario.
type show struct {
	scenario
	start   time.Time
	clients []*client
	lanes   []*lane // host by host, in the order of clients
	page    string  // its URL; "" if there is none

	mu    sync.Mutex // guards what is below, and the marks and tallies of lanes
	began time.Time  // the scenario, which may be played again and again
	news  []event    // that nobody has taken yet
}

// newShow starts the servers of a scenario.
func newShow(n network, sc scenario) (*show, error) {
	now := time.Now()
	s := &show{scenario: sc, start: now, began: now}
	for _, p := range append(sc.policies, policy{}) {
		c, err := s.newClient(n, p)
		if err != nil {
			s.close()
			return nil, err
		}
		s.clients = append(s.clients, c)
	}
	for _, h := range sc.hosts {
		for _, c := range s.clients {
			s.lanes = append(s.lanes, &lane{client: c, host: h.name})
		}
	}
	s.tell(event{text: s.about})
	return s, nil
}

func (s *show) close() {
	for _, c := range s.clients {
		c.close()
	}
}

// play plays the scenario to its end, or again and again, until ctx ends.
func (s *show) play(ctx context.Context, again bool) error {
	for first := true; first || again && ctx.Err() == nil; first = false {
		s.mu.Lock()
		s.began = time.Now()
		for _, l := range s.lanes {
			l.marks = nil
		}
		s.mu.Unlock()
		if err := s.playOnce(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *show) playOnce(ctx context.Context) error {
	acting, stop := context.WithTimeout(ctx, s.length)
	defer stop()
	errs := make([]error, len(s.hosts))
	var wg sync.WaitGroup
	for i, h := range s.hosts {
		wg.Go(func() { s.request(ctx, acting, h) })
		wg.Go(func() { errs[i] = s.trouble(acting, h) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// request asks for a page of a host again and again until acting ends, in all
// lanes at the same moments. Like users, it does not wait for an answer before
// it asks again.
func (s *show) request(ctx, acting context.Context, h host) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for sleep(acting, s.gap()) {
		for _, l := range s.lanes {
			if l.host == h.name {
				wg.Go(func() { s.get(ctx, l) })
			}
		}
	}
}

// gap is the time until the next request to a host.
func (s *show) gap() time.Duration {
	if s.random {
		return time.Duration(rand.ExpFloat64() * float64(s.interval))
	}
	return s.interval/2 + rand.N(s.interval)
}

// get makes a request, reads the answer to its end, and notes what came of it.
func (s *show) get(ctx context.Context, l *lane) {
	made := time.Now()
	err := fetch(ctx, &l.http, "http://"+l.host)
	waited := time.Since(made)
	if err != nil && ctx.Err() != nil {
		return // the program ends
	}
	o := answered
	switch {
	case errors.Is(err, breakerhttp.ErrOpen):
		o = refused
	case err != nil:
		o = failed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l.marks = append(l.marks, mark{made.Sub(s.began), o})
	l.tally.count[o]++
	l.tally.waited += waited
}

// trouble gives the servers of a host their fault, and repairs them.
func (s *show) trouble(ctx context.Context, h host) error {
	if h.fault == nil || !sleep(ctx, h.from) {
		return nil
	}
	s.tell(event{host: h.name, text: h.fault.begins})
	if err := s.suffer(h.name, h.fault); err != nil || !sleep(ctx, h.until-h.from) {
		return err
	}
	s.tell(event{host: h.name, text: h.fault.ends})
	return s.suffer(h.name, nil)
}

func (s *show) suffer(host string, f *fault) error {
	var errs []error
	for _, c := range s.clients {
		errs = append(errs, c.servers[host].suffer(f))
	}
	return errors.Join(errs...)
}

// changed is the transition hook of a client.
func (s *show) changed(c *client, t breakerhttp.Transition) {
	var text string
	switch {
	case t.To == breakerhttp.StateClosed:
		text = "CLOSED: " + t.Detail
	case t.To == breakerhttp.StateHalfOpen:
		text = "HALF-OPEN: one request is sent as a probe"
	case t.OpenFor == 0: // forced
		text = "OPEN: " + t.Detail
	default:
		text = fmt.Sprintf("OPEN for %v: %s", t.OpenFor.Round(10*time.Millisecond), t.Detail)
	}
	if len(s.policies) > 1 {
		text = c.policy + ": " + text
	}
	s.tell(event{host: strings.TrimPrefix(t.Key, "http://"), text: text, state: &t.To})
}

// tell adds an event, at the present time. It never blocks for long: a
// circuit's hook must not wait for a terminal.
func (s *show) tell(e event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.at = time.Since(s.start)
	s.news = append(s.news, e)
}

// take returns the events since the last take.
func (s *show) take() []event {
	s.mu.Lock()
	defer s.mu.Unlock()
	news := s.news
	s.news = nil
	return news
}

// sleep waits for d. It returns false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
