package sim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
	"github.com/breakerhttp/breakerhttp/internal/fleet"
	"github.com/breakerhttp/breakerhttp/internal/fleet/sim/testdata/before"
	contract "github.com/breakerhttp/breakerhttp/store"
	"github.com/breakerhttp/breakerhttp/store/storetest"
)

// A protocol is the old or the new protocol, as a peer calls it.
type protocol interface {
	Due(now time.Duration) bool
	Refresh(ctx context.Context, now time.Duration, failing bool)
	Failed(ctx context.Context, now time.Duration)
	Elect(ctx context.Context) circuit.Election
	Tripped(ctx context.Context, openFor time.Duration)
	Probed(ctx context.Context, ok bool, e circuit.Event)
	Ignored(ctx context.Context)
}

// A newProtocol is the present one.
type newProtocol struct{ *fleet.Member }

func (m newProtocol) Elect(ctx context.Context) circuit.Election {
	return circuit.Election(m.Member.Elect(ctx))
}

func (m newProtocol) Probed(ctx context.Context, ok bool, e circuit.Event) {
	if ok {
		m.ProbeSucceeded(ctx)
	} else {
		m.ProbeFailed(ctx, e.OpenFor, e.RetryAfter)
	}
}

func (m newProtocol) Ignored(ctx context.Context) { m.ProbeIgnored(ctx) }

// An oldProtocol is the one of package before.
type oldProtocol struct{ *before.Member }

func (m oldProtocol) Elect(ctx context.Context) circuit.Election {
	mayProbe, until := m.Member.Elect(ctx)
	return circuit.Election{MayProbe: mayProbe, Until: until}
}

func (m oldProtocol) Probed(ctx context.Context, ok bool, e circuit.Event) {
	m.Member.Probed(ctx, ok, e.OpenFor)
}

func (m oldProtocol) Ignored(ctx context.Context) { m.Released(ctx) }

// A peer is an old or a new process: a real circuit, and one of the protocols.
type peer struct {
	circuit.Circuit
	start    time.Time
	protocol protocol
}

// Now and Record implement [circuit.Owner].
func (p *peer) Now() time.Duration { return time.Since(p.start) }

func (p *peer) TimeLeft(context.Context) (time.Duration, bool) { return 0, false }
func (p *peer) Record(context.Context, circuit.Event)          {}

// newLocal and oldLocal adapt the circuit to the two protocols.
type (
	newLocal struct{ *peer }
	oldLocal struct{ *peer }
)

func (p newLocal) AdoptOpen(ctx context.Context, o fleet.Opening) func() {
	p.Circuit.AdoptOpen(&circuit.Cause{Context: ctx}, circuit.Opening(o))
	return nil
}

func (p newLocal) AdoptClosed(ctx context.Context, at time.Duration) func() {
	p.Circuit.AdoptClosed(&circuit.Cause{Context: ctx}, at)
	return nil
}

func (p oldLocal) AdoptOpen(ctx context.Context, until time.Duration) func() {
	p.Circuit.AdoptOpen(&circuit.Cause{Context: ctx}, circuit.Opening{Until: until})
	return nil
}

func (p oldLocal) AdoptClosed(ctx context.Context) func() {
	p.Circuit.AdoptClosed(&circuit.Cause{Context: ctx}, math.MaxInt64)
	return nil
}

const leaseFor = 30 * time.Second

func newPeer(s *mixedStore, number int, old bool) *peer {
	p := &peer{start: time.Now()}
	p.Init(&circuit.Config{
		ConsecutiveFailures: 5, OpenFor: openFor, OpenGrowth: 1, MaxOpenFor: 5 * time.Minute, Window: 10 * time.Second,
		Probes: 1, ProbeSuccesses: 1, ProbeTimeout: leaseFor, Elect: true,
	}, p)
	if old {
		f := before.New(before.Config{
			Store: oldStore{s}, Namespace: "ns", Quorum: 2, Refresh: 10 * time.Second, ReadTimeout: 50 * time.Millisecond,
			WriteTimeout: 100 * time.Millisecond, OnError: func(string, error) {}, Now: p.Now,
		})
		policy := before.Policy{OpenFor: openFor, MaxOpenFor: 5 * time.Minute, ProbeTimeout: leaseFor, OpenGrowth: 1}
		p.protocol = oldProtocol{f.Member("host", policy, oldLocal{p})}
		return p
	}
	f := fleet.New(fleet.Config{
		Store: s, Namespace: "ns", Quorum: 2, Refresh: 10 * time.Second, ReadTimeout: 50 * time.Millisecond,
		WriteTimeout: 100 * time.Millisecond, OnError: func(string, error) {}, OnCall: func(string, string) {}, Now: p.Now,
		Instance: fmt.Sprint(number),
	})
	policy := fleet.Policy{OpenFor: openFor, MaxOpenFor: 5 * time.Minute, ProbeTimeout: leaseFor, OpenGrowth: 1}
	p.protocol = newProtocol{f.Member("host", policy, newLocal{p})}
	return p
}

// request sends a request as a Transport does.
func (p *peer) request(ctx context.Context, host func() bool) {
	if now := p.Now(); p.protocol.Due(now) {
		p.protocol.Refresh(ctx, now, p.Run() >= 2)
	}
	by := circuit.Cause{Context: ctx}
	var call circuit.Call
	if !p.Enter(&call) {
		_, d := p.Admit(&by, &call, true)
		if d == circuit.Elect {
			p.publish(&by)
			_, d = p.Elected(&by, &call, p.protocol.Elect(ctx), true)
		}
		p.publish(&by)
		if d != circuit.Admitted {
			return
		}
	}
	v := circuit.Verdict{Outcome: circuit.Success, Whole: true}
	if !host() {
		v = circuit.Verdict{Outcome: circuit.Failure, ErrorType: "503"}
	}
	p.Done(&by, &call, v)
	p.publish(&by)
	switch {
	case v.Outcome == circuit.Failure:
		p.protocol.Failed(ctx, p.Now())
	case by.Released:
		p.protocol.Ignored(ctx)
	}
}

func (p *peer) publish(by *circuit.Cause) {
	events := by.Events
	by.Events = nil
	for _, e := range events {
		switch e.Reason {
		case circuit.ProbeSucceeded, circuit.ProbeFailed, circuit.ProbeTimedOut:
			p.protocol.Probed(by.Context, e.Reason == circuit.ProbeSucceeded, e)
		case circuit.ConsecutiveFailures:
			p.protocol.Tripped(by.Context, e.OpenFor)
		}
	}
}

// A mixedStore can be told to refuse writes, or to lose all records.
type mixedStore struct {
	readOnly atomic.Bool
	mu       sync.Mutex
	memory   *storetest.Memory
}

func (s *mixedStore) now() *storetest.Memory {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.memory
}

func (s *mixedStore) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory = storetest.NewMemory()
}

func (s *mixedStore) Load(ctx context.Context, keys []string) ([]contract.Item, error) {
	time.Sleep(time.Millisecond)
	return s.now().Load(ctx, keys)
}

func (s *mixedStore) CompareAndSwap(ctx context.Context, key string, old uint64, value []byte, ttl time.Duration) (contract.Item, bool, error) {
	time.Sleep(time.Millisecond)
	if s.readOnly.Load() {
		return contract.Item{}, false, errors.New("READONLY")
	}
	return s.now().CompareAndSwap(ctx, key, old, value, ttl)
}

// An oldStore adapts a mixedStore to the old protocol.
type oldStore struct{ *mixedStore }

func (s oldStore) Load(ctx context.Context, keys []string) ([]before.Item, error) {
	items, err := s.mixedStore.Load(ctx, keys)
	out := make([]before.Item, len(items))
	for i, item := range items {
		out[i] = before.Item{Value: item.Value, Version: item.Version, Age: item.Age}
	}
	return out, err
}

func (s oldStore) CompareAndSwap(ctx context.Context, key string, old uint64, value []byte, ttl time.Duration) (before.Item, bool, error) {
	item, swapped, err := s.mixedStore.CompareAndSwap(ctx, key, old, value, ttl)
	return before.Item{Value: item.Value, Version: item.Version, Age: item.Age}, swapped, err
}

// A mixture is what has happened to a fleet in which some processes are old.
type mixture struct {
	hits int // on the dead host
	open int // requests that met a circuit that was not closed, long after the host had recovered
}

// mix simulates an outage of five minutes for ten processes, of which so many are old. During the
// outage trouble is called with their store.
func mix(t *testing.T, old int, trouble func(*mixedStore)) (m mixture) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		const processes = 10
		s := &mixedStore{memory: storetest.NewMemory()}
		start := time.Now()
		down, up, end := 30*time.Second, 330*time.Second, 630*time.Second
		healthy := func() bool { return time.Since(start) < down || time.Since(start) >= up }
		var hits, open atomic.Int64
		time.AfterFunc(down+75*time.Second, func() { trouble(s) })
		var all sync.WaitGroup
		for i := range processes {
			p := newPeer(s, i, i < old)
			all.Go(func() {
				time.Sleep(time.Duration(i) * 47 * time.Millisecond)
				for time.Since(start) < end {
					if time.Since(start) > up+soon && p.State() != circuit.Closed {
						open.Add(1)
					}
					p.request(t.Context(), func() bool {
						ok := healthy()
						if !ok {
							hits.Add(1)
						}
						time.Sleep(10 * time.Millisecond)
						return ok
					})
					time.Sleep(490 * time.Millisecond)
				}
			})
		}
		all.Wait()
		time.Sleep(time.Second)
		m = mixture{int(hits.Load()), int(open.Load())}
	})
	return m
}

// TestRollingUpgrade: a fleet in which half of the processes are old does no worse than one in
// which all are.
func TestRollingUpgrade(t *testing.T) {
	for name, trouble := range map[string]func(*mixedStore){
		"an outage":      func(*mixedStore) {},
		"writes refused": func(s *mixedStore) { s.readOnly.Store(true) },
		"a flush":        (*mixedStore).flush,
	} {
		t.Run(name, func(t *testing.T) {
			old, half, none := mix(t, 10, trouble), mix(t, 5, trouble), mix(t, 0, trouble)
			t.Logf("all old %+v, half %+v, none %+v", old, half, none)
			if half.hits > old.hits*11/10+10 || half.open > old.open+10 {
				t.Errorf("half old: %+v, want no worse than all old: %+v", half, old)
			}
			if none.open > 10 {
				t.Errorf("none old: %d requests to a healthy host met a circuit that was not closed", none.open)
			}
		})
	}
}
