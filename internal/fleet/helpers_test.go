package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
)

// A process is a fleet with one member, and a circuit that remembers what it was told.
type process struct {
	*Member
	t        *testing.T
	store    *fakeStore
	start    time.Time
	circuit  fakeCircuit
	failing  bool          // its latest requests have failed
	patience time.Duration // the time that its requests have; 0 means no limit
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

// A fakeCircuit follows its record as a real one does.
type fakeCircuit struct {
	mu     sync.Mutex
	opened bool
	Opening
	tell func()
}

func (c *fakeCircuit) AdoptOpen(_ context.Context, o Opening) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened, c.Opening = true, o
	return c.tell
}

func (c *fakeCircuit) AdoptClosed(_ context.Context, closedAt time.Duration) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.opened && c.At < closedAt {
		c.opened = false
	}
	return c.tell
}

// trip opens the circuit by its own rules.
func (p *process) trip(openFor time.Duration) {
	p.t.Helper()
	p.circuit.mu.Lock()
	p.circuit.opened, p.circuit.Opening = true, Opening{At: p.now(), Until: p.now() + openFor}
	p.circuit.mu.Unlock()
	p.Tripped(context.Background(), openFor)
}

func (c *fakeCircuit) isOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opened
}

var pods atomic.Int64

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
		Instance:     fmt.Sprint("pod-", pods.Add(1)),
		OnError:      p.errs.add,
		OnCall:       func(string, string) {},
		Now:          func() time.Duration { return time.Since(p.start) },
	}
	policy := testPolicy()
	for _, e := range edit {
		e(&cfg, &policy)
	}
	p.Member = New(cfg).Member("host", policy, &p.circuit)
	return p
}

// request does what a Transport does before it sends a request, and returns how long the request
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

// readTimes sends a request every 10 ms for d, and returns the times at which the store was read.
func (p *process) readTimes(d time.Duration) (at []time.Duration) {
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

// answer adopts an item as the store's answer to a call that began now.
func (p *process) answer(item Item) {
	p.adoptNow(context.Background(), item, p.now())
}

// hint reads the record now, as a hint does.
func (p *process) hint() { p.fleet.read(context.Background(), []*Member{p.Member}, func() {}) }

func (p *process) fail() { p.Failed(context.Background(), p.now()) }

func (p *process) wantCircuit(opened bool, until time.Duration) {
	p.t.Helper()
	p.circuit.mu.Lock()
	defer p.circuit.mu.Unlock()
	if c := &p.circuit; c.opened != opened || opened && c.Until != until {
		p.t.Errorf("the circuit is open: %v, until %v; want %v, %v", c.opened, c.Until, opened, until)
	}
}

func (p *process) wantErrors(want string) {
	p.t.Helper()
	synctest.Wait() // they are reported last
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
		if id == p.fleet.id || id == p.fleet.voter.ID {
			return "me"
		}
		return id
	}
	r.Owner, r.By = mask(r.Owner), nil
	for _, votes := range [][]vote{r.Votes, r.Failed} {
		for i := range votes {
			votes[i].ID, votes[i].Name = mask(votes[i].ID), ""
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

// Item is an abbreviation.
type Item = store.Item

// A fakeStore holds one record for each key, and can be told to misbehave.
type fakeStore struct {
	mu      sync.Mutex
	records map[string]fakeRecord
	loads   [][]string
	swaps   []fakeSwap

	latency time.Duration
	// Unless they are nil, these are called first, and may answer in place of the store.
	onLoad func(ctx context.Context, keys []string) ([]Item, error, bool)
	onSwap func(ctx context.Context, swap func() (Item, bool)) (Item, bool, error)
}

type fakeRecord struct {
	value   []byte
	version uint64
	written time.Time
}

type fakeSwap struct {
	value string
	ttl   time.Duration
	won   bool
}

func newFakeStore() *fakeStore { return &fakeStore{records: map[string]fakeRecord{}} }

func (s *fakeStore) Load(ctx context.Context, keys []string) ([]Item, error) {
	s.mu.Lock()
	s.loads = append(s.loads, keys)
	onLoad, latency := s.onLoad, s.latency
	s.mu.Unlock()
	if err := travel(ctx, latency); err != nil {
		return nil, err
	}
	if onLoad != nil {
		if items, err, done := onLoad(ctx, keys); done {
			return items, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	items := make([]Item, len(keys))
	for i, key := range keys {
		items[i] = s.records[key].item()
	}
	return items, nil
}

func (s *fakeStore) CompareAndSwap(ctx context.Context, key string, old uint64, value []byte, ttl time.Duration) (Item, bool, error) {
	s.mu.Lock()
	onSwap, latency := s.onSwap, s.latency
	s.mu.Unlock()
	if err := travel(ctx, latency); err != nil {
		return Item{}, false, err
	}
	swap := func() (Item, bool) { return s.swap(key, old, value, ttl) }
	if onSwap != nil {
		return onSwap(ctx, swap)
	}
	item, swapped := swap()
	return item, swapped, nil
}

func travel(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *fakeStore) swap(key string, old uint64, value []byte, ttl time.Duration) (Item, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records[key]
	won := r.version == old
	s.swaps = append(s.swaps, fakeSwap{string(value), ttl, won})
	if won {
		r = fakeRecord{value, max(old+1, uint64(time.Now().UnixMilli())), time.Now()}
		s.records[key] = r
	}
	return r.item(), won
}

func (r fakeRecord) item() Item {
	if r.version == 0 {
		return Item{}
	}
	return Item{Value: r.value, Version: r.version, Age: time.Since(r.written)}
}

// put writes a record as another process would.
func (s *fakeStore) put(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records["ns/host"] = fakeRecord{[]byte(value), max(s.records["ns/host"].version+1, uint64(time.Now().UnixMilli())), time.Now()}
}

func (s *fakeStore) value() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.records["ns/host"].value)
}

func (s *fakeStore) loaded() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.loads)
}

func (s *fakeStore) swapped() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.swaps)
}

// misbehave makes every call end as how does, until it is called with nil.
func (s *fakeStore) misbehave(how func(ctx context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onLoad, s.onSwap = nil, nil
	if how != nil {
		s.onLoad = func(ctx context.Context, _ []string) ([]Item, error, bool) { return nil, how(ctx), true }
		s.onSwap = func(ctx context.Context, _ func() (Item, bool)) (Item, bool, error) { return Item{}, false, how(ctx) }
	}
}

// loseAnswers makes the store write without answering.
func (s *fakeStore) loseAnswers() {
	s.onSwap = func(ctx context.Context, swap func() (Item, bool)) (Item, bool, error) {
		swap()
		return Item{}, false, blackHole(ctx)
	}
}

func blackHole(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}
