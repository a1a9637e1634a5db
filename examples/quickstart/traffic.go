package main

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/breakerhttp/breakerhttp"
)

// An outcome is what a caller gets.
type outcome string

const (
	answered    outcome = "answered"
	failed      outcome = "failed"
	refused     outcome = "refused"     // by the circuit breaker, at once or on a retry
	interrupted outcome = "interrupted" // by the end of the program
)

// A request is one call of the http.Client.
type request struct {
	Outcome outcome `json:"outcome"`
	Sent    int     `json:"sent"`    // attempts that reached the wire: more than one with retries, none if refused at first
	Seconds float64 `json:"seconds"` // that the caller waited
	Error   string  `json:"error,omitempty"`
}

// get requests the page of a host, and reads it to its end: it may break off.
func get(ctx context.Context, client *http.Client, tracer trace.Tracer, host string) request {
	ctx, span := tracer.Start(ctx, "page of "+host)
	defer span.End()
	var sent atomic.Int64
	began := time.Now()
	err := fetch(context.WithValue(ctx, sentKey{}, &sent), client, "http://"+host)
	r := request{Outcome: answered, Sent: int(sent.Load()), Seconds: time.Since(began).Seconds()}
	if err == nil {
		return r
	}
	span.SetStatus(codes.Error, "")
	r.Outcome = failed
	if errors.Is(err, breakerhttp.ErrOpen) {
		r.Outcome = refused
	}
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		r.Error = cause.Error() // the innermost says it best
	}
	return r
}

func fetch(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// A cast is who takes part in a scenario.
type cast struct {
	scenario
	upstreams upstreams
	client    *http.Client
	tracer    trace.Tracer
	twin      *http.Client // makes the same requests without breakers
	feed      *feed
}

// play runs the scenario, to its end or to that of ctx.
func (c *cast) play(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	acting, cancel := context.WithTimeout(ctx, c.length)
	defer cancel()
	for i, h := range c.hosts {
		random := rand.New(rand.NewPCG(c.seed, uint64(i+1)))
		wg.Go(func() { c.request(ctx, acting, h.name, random) })
		if h.fault != nil {
			wg.Go(func() { c.trouble(acting, h) })
		}
	}
	<-acting.Done()
}

// request asks for the page of a host again and again until acting ends, from
// both clients at the same moments. Like users, it does not wait for an answer
// before it asks again.
func (c *cast) request(ctx, acting context.Context, host string, random *rand.Rand) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for sleep(acting, c.interval/2+time.Duration(random.Int64N(int64(c.interval)))) {
		wg.Go(func() { c.tell(ctx, host, get(ctx, c.client, c.tracer, host), false) })
		wg.Go(func() { c.tell(ctx, host, get(ctx, c.twin, noop.Tracer{}, host), true) })
	}
}

func (c *cast) tell(ctx context.Context, host string, r request, twin bool) {
	if r.Outcome == failed && ctx.Err() != nil {
		r.Outcome = interrupted
	}
	c.feed.add(event{Type: requestEvent, Host: host, request: &r, twin: twin})
}

// trouble gives an upstream its fault, and takes it away again.
func (c *cast) trouble(ctx context.Context, h host) {
	change := func(after time.Duration, f *fault, text string) {
		if !sleep(ctx, after) {
			return
		}
		if err := c.upstreams[h.name].suffer(f); err != nil {
			text = err.Error()
		}
		c.feed.add(event{Type: upstreamEvent, Host: h.name, Text: text})
	}
	change(h.from, h.fault, h.fault.begins)
	if h.until > 0 {
		change(h.until-h.from, nil, h.fault.ends)
	}
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
