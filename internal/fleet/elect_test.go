package fleet

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// elect returns the role that the process has got, and until when.
func (p *process) elect() (role, time.Duration) {
	e := p.Elect(context.Background())
	p.mu.Lock() // a verdict that has waited for a Load may be on its way
	defer p.mu.Unlock()
	switch {
	case !e.MayProbe:
		return onlooker, e.Until
	case p.lease.version != 0:
		return candidate, e.Until
	}
	return loner, e.Until
}

func (p *process) wantRole(want role, until time.Duration) {
	p.t.Helper()
	if r, got := p.elect(); r != want || got != until {
		p.t.Errorf("got role %v until %v, want %v until %v", r, got, want, until)
	}
}

// wantBarred checks that the process may not probe, and is to ask again at short intervals.
func (p *process) wantBarred() {
	p.t.Helper()
	r, until := p.elect()
	if wait := until - p.now(); r != onlooker || wait <= 0 || wait > 3*time.Second {
		p.t.Errorf("got role %v, and to ask again in %v; want onlooker, 0 to 3s", r, wait)
	}
}

// TestElect: the record decides which process may probe.
func TestElect(t *testing.T) {
	for name, c := range map[string]struct {
		value string
		age   time.Duration
		want  role
		until time.Duration // of an onlooker
	}{
		"absent":      {``, 0, loner, 0},
		"closed":      {`{"s":1,"st":"closed","d":0}`, 0, loner, 0},
		"suspect":     {`{"s":1,"st":"suspect","d":60000}`, 0, loner, 0},
		"poison":      {`{"s":1,"st":"ajar","d":60000}`, 0, loner, 0},
		"foreign":     {`{"s":2,"st":"open","d":60000}`, 0, loner, 0},
		"open":        {`{"s":1,"st":"open","d":60000}`, 59 * time.Second, onlooker, time.Second},
		"open, over":  {`{"s":1,"st":"open","d":60000}`, time.Minute, candidate, 0},
		"round":       {`{"s":1,"st":"open","d":0,"f":[{"i":"a","a":0}]}`, 0, candidate, 0},
		"lease":       {`{"s":1,"st":"half","d":31000}`, 30 * time.Second, onlooker, time.Second},
		"lease, over": {`{"s":1,"st":"half","d":31000}`, 31 * time.Second, candidate, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFakeStore()
				if c.value != "" {
					s.put(c.value)
				}
				time.Sleep(c.age)
				p := newProcess(t, s)
				until := c.until
				if c.want != onlooker {
					until = 31 * time.Second // ProbeTimeout and a second
				}
				p.wantRole(c.want, until)
				if wrote := s.swapped() > 0; wrote != (c.want == candidate) {
					t.Errorf("wrote: %v, want only to take a lease", wrote)
				}
			})
		})
	}
}

// TestOneLease: of many candidates one gets the lease, and the others stay open.
func TestOneLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.latency = time.Millisecond
		s.put(`{"s":1,"st":"open","d":0,"g":2,"f":[{"i":"a","a":0}]}`)
		var leases atomic.Int64
		var wg sync.WaitGroup
		for range 50 {
			p := newProcess(t, s)
			wg.Go(func() {
				switch r, until := p.elect(); r {
				case candidate:
					leases.Add(1)
					p.wantRecord(`{"s":1,"st":"half","d":31000,"o":"me","g":2,"f":[{"i":"a","a":1}]}`)
				case onlooker:
					p.wantCircuit(true, until)
				default:
					t.Error("got to probe alone")
				}
			})
		}
		wg.Wait()
		if got := leases.Load(); got != 1 {
			t.Errorf("got %d leases, want 1", got)
		}
	})
}

// leaseholder returns a process that has got the lease of that record.
func leaseholder(t *testing.T, s *fakeStore, value string, edit ...func(*Config, *Policy)) *process {
	t.Helper()
	s.put(value)
	p := newProcess(t, s, edit...)
	p.wantRole(candidate, 31*time.Second)
	return p
}

// TestLostElection: a candidate that has lost the swap does what the winner's record says, and does
// not try twice.
func TestLostElection(t *testing.T) {
	for name, c := range map[string]struct {
		winner string
		want   role
	}{
		"closed":   {`{"s":1,"st":"closed","d":0,"g":1}`, loner},
		"suspect":  {`{"s":1,"st":"suspect","d":60000,"g":1}`, loner},
		"half":     {`{"s":1,"st":"half","d":2000,"g":1}`, onlooker},
		"open":     {`{"s":1,"st":"open","d":2000,"g":1}`, onlooker},
		"released": {`{"s":1,"st":"open","d":0,"g":1}`, onlooker},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeStore()
			s.put(`{"s":1,"st":"open","d":0,"g":1}`)
			p := newProcess(t, s)
			s.onSwap = func(_ context.Context, swap func() (Item, bool)) (Item, bool, error) {
				s.put(c.winner)
				item, swapped := swap()
				return item, swapped, nil
			}
			if r, until := p.elect(); r != c.want || until <= p.now() || until > p.now()+31*time.Second {
				t.Errorf("%s: got role %v until %v, want %v", name, r, until, c.want)
			}
			if s.swapped() != 1 {
				t.Errorf("%s: got %d swaps, want 1", name, s.swapped())
			}
		})
	}
}

// TestOwnLease: a background read may find the lease before the swap that got it is answered. That
// does not change the circuit.
func TestOwnLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.put(`{"s":1,"st":"open","d":0,"g":1}`)
		p := newProcess(t, s)
		s.onSwap = func(_ context.Context, swap func() (Item, bool)) (Item, bool, error) {
			item, swapped := swap()
			p.circuit.opened = false
			p.hint()
			return item, swapped, nil
		}
		p.wantRole(candidate, 31*time.Second)
		p.wantCircuit(false, 0)
		s.onSwap = nil
		p.ProbeIgnored(t.Context()) // gives it up
		s.put(p.store.value())
		p.hint()
		p.wantCircuit(true, 0)
	})
}

// TestElectWithoutStore: if the store fails during the election, the process probes for itself. If
// that probe fails, it is no more than a vote.
func TestElectWithoutStore(t *testing.T) {
	down := func(context.Context) error { return errors.New("down") }
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.misbehave(down)
		p := newProcess(t, s)
		p.wantRole(loner, 31*time.Second)
		s.misbehave(nil)
		p.ProbeSucceeded(t.Context())
		if s.swapped() > 0 {
			t.Errorf("a success without a lease wrote %s", s.value())
		}
		p.ProbeFailed(t.Context(), time.Minute, 0)
		p.wantRecord(`{"s":1,"st":"suspect","d":60000,"o":"me","g":0,"v":[{"i":"me","a":0}]}`)
	})
	for _, value := range []string{`{"s":1,"st":"open","d":0,"g":1}`, `{"s":1,"st":"half","d":0,"g":1}`} {
		synctest.Test(t, func(t *testing.T) { // no vote replaces a live record
			s := newFakeStore()
			s.put(value)
			p := newProcess(t, s)
			p.request()
			s.misbehave(down)
			p.wantRole(loner, p.now()+31*time.Second)
			s.misbehave(nil)
			p.ProbeFailed(t.Context(), time.Minute, 0)
			if s.swapped() > 0 {
				t.Errorf("it wrote %s over %s", s.value(), value)
			}
		})
	}
}
