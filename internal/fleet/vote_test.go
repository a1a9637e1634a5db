package fleet

import (
	"context"
	"errors"
	"math"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// TestQuorum: votes of Quorum different processes open the record, if all are younger than the open
// time. Fewer make it suspect.
func TestQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		a, b, c := newProcess(t, s), newProcess(t, s), newProcess(t, s)
		a.Tripped(t.Context(), time.Minute)
		a.wantRecord(`{"s":1,"st":"suspect","d":60000,"o":"me","g":0,"v":[{"i":"me","a":0}]}`)
		time.Sleep(10 * time.Second)
		a.Tripped(t.Context(), time.Minute) // still one voter
		a.wantRecord(`{"s":1,"st":"suspect","d":60000,"o":"me","g":0,"v":[{"i":"me","a":0}]}`)
		time.Sleep(time.Minute)
		b.Tripped(t.Context(), time.Minute) // the first vote is too old
		b.wantRecord(`{"s":1,"st":"suspect","d":60000,"o":"me","g":0,"v":[{"i":"me","a":0}]}`)
		time.Sleep(59 * time.Second)
		c.Tripped(t.Context(), time.Minute)
		c.wantRecord(`{"s":1,"st":"open","d":60000,"o":"me","g":1}`)
		if got, want := s.swaps[len(s.swaps)-1].ttl, 24*time.Hour+time.Minute; got != want {
			t.Errorf("the record expires after %v, want %v", got, want)
		}
		for _, p := range []*process{a, b, c} {
			p.wantCircuit(false, 0) // a process that has tripped is open already
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p := newProcess(t, newFakeStore(), func(cfg *Config, _ *Policy) { cfg.Quorum = 1 })
		p.Tripped(t.Context(), time.Minute)
		p.wantRecord(`{"s":1,"st":"open","d":60000,"o":"me","g":1}`)
	})
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.put(`{"s":1,"st":"suspect","d":60000,"o":"a","g":0,"v":[{"i":"pod-7","a":30000}]}`)
		p := newProcess(t, s, func(cfg *Config, _ *Policy) { cfg.Quorum = 3 })
		time.Sleep(time.Second)
		p.Tripped(t.Context(), time.Minute)
		p.wantRecord(`{"s":1,"st":"suspect","d":60000,"o":"me","g":0,"v":[{"i":"me","a":0},{"i":"pod-7","a":31000}]}`)
	})
}

// TestTripTime: a record opens for as long as the circuit whose vote completed the quorum, or for
// its own grown time if that is longer. It never opens for longer than the limit.
func TestTripTime(t *testing.T) {
	for name, c := range map[string]struct {
		before  string
		age     time.Duration
		openFor time.Duration
		want    string
	}{
		"Retry-After": {``, 0, 2 * time.Minute, `"d":120000,"o":"me","g":1`},
		"for ever":    {``, 0, time.Hour, `"d":300000,"o":"me","g":1`},
		"kept":        {`{"s":1,"st":"closed","d":0,"g":3}`, time.Minute, time.Minute, `"d":240000,"o":"me","g":3`},
		"forgotten":   {`{"s":1,"st":"closed","d":0,"g":3}`, 10 * time.Minute, time.Minute, `"d":60000,"o":"me","g":1`},
		"of old":      {`{"s":1,"st":"closed","d":0,"g":3}`, 1000 * time.Hour, time.Minute, `"d":60000,"o":"me","g":1`},
		"suspect":     {`{"s":1,"st":"suspect","d":0,"g":2}`, 4 * time.Minute, time.Minute, `"d":120000,"o":"me","g":2`},
		"old suspect": {`{"s":1,"st":"suspect","d":0,"g":2}`, 1000 * time.Hour, time.Minute, `"d":60000,"o":"me","g":1`},
		"at most":     {`{"s":1,"st":"suspect","d":0,"g":2147483647}`, 0, time.Minute, `"d":300000,"o":"me","g":2147483647`},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeStore()
			if c.before != "" {
				s.put(c.before)
			}
			p := newProcess(t, s, func(cfg *Config, policy *Policy) { cfg.Quorum, policy.OpenGrowth = 1, 2 })
			time.Sleep(c.age)
			p.Tripped(t.Context(), c.openFor)
			t.Log(name)
			p.wantRecord(`{"s":1,"st":"open",` + c.want + `}`)
		})
	}
	synctest.Test(t, func(t *testing.T) { // an age that is impossible
		p := newProcess(t, newFakeStore(), func(cfg *Config, _ *Policy) { cfg.Quorum = 1 })
		p.answer(Item{Value: []byte(`{"s":1,"st":"closed","d":0,"g":3}`), Age: math.MaxInt64})
		time.Sleep(time.Second)
		p.Tripped(t.Context(), time.Minute)
		p.wantRecord(`{"s":1,"st":"open","d":60000,"o":"me","g":1}`)
	})
	// A suspect record keeps the opens in a row that the closed one has not forgotten.
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.put(`{"s":1,"st":"closed","d":0,"g":3}`)
		p := newProcess(t, s)
		time.Sleep(6 * time.Minute)
		p.Tripped(t.Context(), time.Minute)
		p.wantRecord(`{"s":1,"st":"suspect","d":60000,"o":"me","g":2,"w":360000,"v":[{"i":"me","a":0}]}`)
	})
}

// TestLostVote: a process that has lost the swap follows the winner, or tries again: three times at
// most, and within WriteTimeout in total.
func TestLostVote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		p := newProcess(t, s)
		p.request()
		s.put(`{"s":1,"st":"suspect","d":60000,"o":"a","g":0,"v":[{"i":"a","a":0}]}`)
		p.Tripped(t.Context(), time.Minute)
		p.wantRecord(`{"s":1,"st":"open","d":60000,"o":"me","g":1}`)
	})
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		p := newProcess(t, s)
		p.request()
		s.put(`{"s":1,"st":"open","d":60000,"o":"a","g":1}`)
		p.Tripped(t.Context(), time.Minute)
		if p.wantCircuit(true, p.now()+time.Minute); s.swapped() != 1 {
			t.Errorf("got %d swaps, want 1", s.swapped())
		}
	})
	for latency, want := range map[time.Duration]int{0: 4, 40 * time.Millisecond: 2} {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeStore()
			p := newProcess(t, s)
			p.request()
			tries := 0
			s.latency = latency
			s.onSwap = func(context.Context, func() (Item, bool)) (Item, bool, error) {
				tries++
				return Item{Value: []byte(`{"s":1,"st":"closed"}`), Version: uint64(tries)}, false, nil
			}
			before := p.now()
			p.Tripped(t.Context(), time.Minute)
			if took := p.now() - before; tries != want || took > 100*time.Millisecond {
				t.Errorf("got %d attempts in %v, want %d in WriteTimeout", tries, took, want)
			}
		})
	}
}

// TestAmbiguousVote: after a write without an answer the process reads the record at the next
// occasion, and writes nothing before.
func TestAmbiguousVote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		p := newProcess(t, s)
		p.request()
		s.misbehave(blackHole)
		p.Tripped(t.Context(), time.Minute)
		p.wantErrors("[compare_and_swap]")
		if !p.Due(p.now()) {
			t.Error("the record is not due")
		}
		s.misbehave(nil)
		before := s.loaded()
		p.Tripped(t.Context(), time.Minute)
		if got := s.loaded() - before; got != 1 {
			t.Errorf("got %d reads before the next write, want 1", got)
		}
		p.wantRecord(`{"s":1,"st":"suspect","d":60000,"o":"me","g":0,"v":[{"i":"me","a":0}]}`)
		s.misbehave(func(context.Context) error { return errors.New("down") })
		p.Tripped(t.Context(), time.Minute)
		before = s.loaded()
		p.Tripped(t.Context(), time.Minute)
		if p.wantErrors("[compare_and_swap load]"); s.loaded() != before+1 {
			t.Error("there was another write without a read")
		}
		time.Sleep(time.Minute)
		s.onSwap = nil
		p.ProbeFailed(t.Context(), time.Minute, 0)
		if p.wantErrors("[load]"); s.swapped() != 1 {
			t.Error("there was another write without a read")
		}
	})
}

// TestCancelledRequest: what a request has found out is published even if the request was
// cancelled.
func TestCancelledRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.latency = time.Millisecond
		p := newProcess(t, s)
		p.request()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		p.Tripped(ctx, time.Minute)
		p.wantRecord(`{"s":1,"st":"suspect","d":60000,"o":"me","g":0,"v":[{"i":"me","a":0}]}`)
		s.put(`{"s":1,"st":"open","d":0,"g":1}`)
		if p.Elect(ctx); p.lease.version == 0 {
			t.Error("a cancelled request got no lease")
		}
		p.Release(ctx)
		p.wantRecord(`{"s":1,"st":"open","d":0,"o":"me","g":1}`)
	})
}

// TestKeptVote: a vote that could not be cast, because of this process, is cast when the record is read
// next, whatever the user's hook does then; but not if the circuit was reset meanwhile.
func TestKeptVote(t *testing.T) {
	for _, tt := range []struct {
		name  string
		reset bool
		hook  func()
		want  State
	}{
		{"in the end", false, nil, Suspect},
		{"the hook ends the request's goroutine", false, runtime.Goexit, Suspect},
		{"reset", true, nil, Closed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFakeStore()
				s.put(`{"s":1,"st":"closed","d":0,"g":1}`)
				p := newProcess(t, s)
				p.request()
				for range maxCalls {
					p.fleet.slots.take(0, false)
				}
				time.AfterFunc(40*time.Millisecond, func() { // it has to wait, and then the store is too slow
					s.misbehave(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
					p.fleet.slots.free()
				})
				p.trip(time.Minute)
				if tt.reset {
					p.Reset(t.Context())
				}
				s.misbehave(nil)
				for range maxCalls - 1 {
					p.fleet.slots.free()
				}
				if tt.hook == nil {
					p.readTimes(20 * time.Second)
				} else {
					p.circuit.tell = tt.hook
					go p.load(t.Context(), ordinary)
				}
				synctest.Wait()
				if got := p.known.rec.State; got != tt.want {
					t.Errorf("the record is %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// TestNoVoteReplacesALiveRecord: not even that of a process which does not listen to the record.
func TestNoVoteReplacesALiveRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.put(`{"s":1,"st":"open","d":60000,"g":1}`)
		p := newProcess(t, s)
		p.request()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.vote = &ownVote{at: p.now(), openFor: time.Minute}
		p.deafen()
		if next, ok := p.voteRecord(); ok {
			t.Errorf("the vote makes %+v of it, want nothing", next)
		}
	})
}

// TestDryRunInAFleet: a process that refuses nothing neither votes nor takes a lease.
func TestDryRunInAFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		p := newProcess(t, s, func(cfg *Config, _ *Policy) { cfg.DryRun, cfg.Quorum = true, 1 })
		p.request()
		p.trip(time.Minute)
		if v := s.value(); v != "" {
			t.Errorf("a vote: the record is %s, want none", v)
		}
		s.put(`{"s":1,"st":"open","d":0,"g":1}`)
		p.hint()
		if e := p.Elect(t.Context()); !e.MayProbe {
			t.Errorf("got %+v, want that it may probe", e)
		}
		p.wantRecord(`{"s":1,"st":"open","d":0,"o":"","g":1}`)
	})
}
