package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"
)

// A process is a fleet with one member, and a circuit that notes what it is told.
type process struct {
	*Member
	t        *testing.T
	store    *fakeStore
	start    time.Time
	circuit  fakeCircuit
	failing  bool          // its latest requests have failed
	patience time.Duration // of its requests; 0 means for ever
	errs     errorLog
}

type errorLog struct {
	mu  sync.Mutex
	ops []string
}

func (l *errorLog) add(op string, _ error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ops = append(l.ops, op)
}

func (l *errorLog) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := fmt.Sprint(l.ops)
	l.ops = nil
	return out
}

type fakeCircuit struct {
	mu     sync.Mutex
	opened bool
	until  time.Duration
	tell   func()
}

func (c *fakeCircuit) AdoptOpen(_ context.Context, until time.Duration) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened, c.until = true, until
	return c.tell
}

func (c *fakeCircuit) AdoptClosed(context.Context) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened = false
	return c.tell
}

func (c *fakeCircuit) isOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opened
}

func testPolicy() Policy {
	return Policy{OpenFor: time.Minute, MaxOpenFor: 5 * time.Minute, ProbeTimeout: 30 * time.Second, OpenGrowth: 1}
}

// newProcess returns a process with the default sharing.
func newProcess(t *testing.T, s *fakeStore, edit ...func(*Config, *Policy)) *process {
	p := &process{t: t, store: s, start: time.Now()}
	cfg := Config{
		Store:        s,
		Namespace:    "ns",
		Quorum:       2,
		Refresh:      10 * time.Second,
		ReadTimeout:  50 * time.Millisecond,
		WriteTimeout: 100 * time.Millisecond,
		OnError:      p.errs.add,
		Now:          func() time.Duration { return time.Since(p.start) },
	}
	policy := testPolicy()
	for _, e := range edit {
		e(&cfg, &policy)
	}
	p.Member = New(cfg).Member("host", policy, &p.circuit)
	return p
}

// request does what a request does before it is sent, and returns how long it
// had to wait.
func (p *process) request() time.Duration {
	p.t.Helper()
	before := time.Now()
	ctx := context.Background()
	if p.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.patience)
		defer cancel()
	}
	if now := p.now(); p.Due(now) {
		p.Refresh(ctx, now, p.failing)
	}
	return time.Since(before)
}

// reads lets requests come every 10 ms for d, and returns when the store was
// read.
func (p *process) reads(d time.Duration) (at []time.Duration) {
	p.t.Helper()
	for end := p.now() + d; p.now() < end; time.Sleep(10 * time.Millisecond) {
		before := p.store.loaded()
		p.request()
		time.Sleep(time.Nanosecond) // for the read to begin
		if p.store.loaded() > before {
			at = append(at, p.now())
		}
	}
	return at
}

func (p *process) fail() { p.Failed(context.Background(), p.now()) }

func (p *process) wantCircuit(opened bool, until time.Duration) {
	p.t.Helper()
	p.circuit.mu.Lock()
	defer p.circuit.mu.Unlock()
	if c := &p.circuit; c.opened != opened || opened && c.until != until {
		p.t.Errorf("the circuit is open: %v, until %v; want %v, %v", c.opened, c.until, opened, until)
	}
}

func (p *process) wantErrors(want string) {
	p.t.Helper()
	if got := p.errs.take(); got != want {
		p.t.Errorf("got errors of %s, want %s", got, want)
	}
}

// wantRecord compares a record with its JSON, in which the process's own id is
// "me".
func (p *process) wantRecord(want string) {
	p.t.Helper()
	wantJSON(p.t, p.masked(p.store.value()), want)
}

func (p *process) masked(value string) string {
	var r record
	if err := json.Unmarshal([]byte(value), &r); err != nil {
		p.t.Fatalf("record %q: %v", value, err)
	}
	mask := func(id string) string {
		if id == p.fleet.id {
			return "me"
		}
		return id
	}
	r.Owner = mask(r.Owner)
	for _, votes := range [][]vote{r.Votes, r.Failed} {
		for i := range votes {
			votes[i].ID = mask(votes[i].ID)
		}
	}
	return string(r.encode())
}

func wantJSON(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got record  %s\nwant        %s", got, want)
	}
}
