package fleet

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestAmbiguousLease: a process that got no answer when it asked for a lease finds the lease at the
// next read, at the latest at that of the verdict, and uses it.
func TestAmbiguousLease(t *testing.T) {
	succeed := func(p *process) { p.ProbeSucceeded(p.t.Context()) }
	release := func(p *process) { p.Release(p.t.Context()) }
	for name, c := range map[string]struct {
		through bool
		refresh bool
		say     func(*process)
		want    string
	}{
		"lost, then open": {false, false, func(p *process) {
			p.store.put(`{"s":1,"st":"open","d":60000,"o":"b","g":1}`)
			succeed(p)
		}, `{"s":1,"st":"open","d":60000,"o":"b","g":1}`},
		"success":             {true, false, succeed, `{"s":1,"st":"closed","d":0,"o":"me","g":1}`},
		"success, read":       {true, true, succeed, `{"s":1,"st":"closed","d":0,"o":"me","g":1}`},
		"release":             {true, false, release, `{"s":1,"st":"open","d":0,"o":"me","g":1}`},
		"lost, success":       {false, false, succeed, `{"s":1,"st":"open","d":0,"o":"a","g":1}`},
		"lost, success, read": {false, true, succeed, `{"s":1,"st":"open","d":0,"o":"a","g":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFakeStore()
				s.put(`{"s":1,"st":"open","d":0,"o":"a","g":1}`)
				p := newProcess(t, s)
				p.request()
				if s.misbehave(blackHole); c.through {
					s.loseAnswers()
				}
				s.onLoad = nil
				p.wantRole(loner, p.now()+31*time.Second)
				s.misbehave(nil)
				if c.refresh {
					p.request()
				}
				time.Sleep(time.Second)
				c.say(p)
				p.wantRecord(c.want)
			})
		})
	}
}

// TestAmbiguousWithoutStore: while the store cannot be read, a lease that is in doubt is not used
// but given up, and nothing is written.
func TestAmbiguousWithoutStore(t *testing.T) {
	for name, ok := range map[string]bool{"success": true, "failure": false} {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeStore()
			s.put(`{"s":1,"st":"open","d":0,"o":"a","g":1}`)
			p := newProcess(t, s)
			s.loseAnswers()
			p.wantRole(loner, 31*time.Second)
			s.onSwap = nil
			s.onLoad = func(context.Context, []string) ([]Item, error, bool) { return nil, errors.New("down"), true }
			p.probed(ok)
			p.wantRecord(`{"s":1,"st":"half","d":31000,"o":"me","g":1}`)
			s.misbehave(nil)
			p.circuit.opened = false
			time.Sleep(16 * time.Second)
			p.request()
			synctest.Wait()
			// After a failure it may ask again at once. After a success it is deaf.
			p.wantCircuit(!ok, p.now())
			if p.lease != (lease{}) {
				t.Errorf("%s: it holds a lease still", name)
			}
		})
	}
	// The time of a lease that was in doubt runs from when the process asked for it, which was one
	// latency after Elect began. A verdict after that time is not written.
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.put(`{"s":1,"st":"open","d":0,"o":"a","g":1}`)
		p := newProcess(t, s)
		s.latency = 40 * time.Millisecond
		s.loseAnswers()
		_, until := p.elect()
		s.misbehave(nil)
		p.request()
		time.Sleep(until + s.latency - p.now())
		p.ProbeSucceeded(t.Context())
		p.wantRecord(`{"s":1,"st":"half","d":31000,"o":"me","g":1}`)
	})
	synctest.Test(t, func(t *testing.T) { // a process may find an older lease of its own
		s := newFakeStore()
		p := leaseholder(t, s, `{"s":1,"st":"open","d":0,"o":"a","g":1}`)
		time.Sleep(10 * time.Second)
		s.misbehave(blackHole)
		s.onLoad = nil
		p.probed(false)
		if r, until := p.elect(); r != loner || until < p.now()+30*time.Second {
			t.Errorf("got role %v until %v", r, until)
		}
		s.misbehave(nil)
		time.Sleep(25 * time.Second)
		p.ProbeSucceeded(t.Context())
		p.wantRecord(`{"s":1,"st":"half","d":31000,"o":"me","g":1}`)
	})
}

// TestAmbiguousVerdict: if the store does not answer the write of a verdict, the verdict is written
// once more when a Load still shows the lease. Until then, and if that write is not answered
// either, the process is deaf to its own lease.
func TestAmbiguousVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		again bool // the second write is not answered either
		say   func(*process)
		want  string
	}{
		"success":             {false, func(p *process) { p.probed(true) }, `{"s":1,"st":"closed","d":0,"o":"me","g":1}`},
		"success, lost again": {true, func(p *process) { p.probed(true) }, `{"s":1,"st":"half","d":31000,"o":"me","g":1}`},
		"failure":             {false, func(p *process) { p.probed(false) }, `{"s":1,"st":"open","d":0,"o":"me","g":1,"f":[{"i":"me","a":0}]}`},
		"release":             {false, func(p *process) { p.Release(p.t.Context()) }, `{"s":1,"st":"open","d":0,"o":"me","g":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFakeStore()
				p := leaseholder(t, s, `{"s":1,"st":"open","d":0,"g":1}`)
				losing := func(context.Context) error { return context.DeadlineExceeded }
				s.misbehave(losing)
				p.circuit.opened = false
				c.say(p)
				s.misbehave(nil)
				swaps := 0
				s.onSwap = func(_ context.Context, swap func() (Item, bool)) (Item, bool, error) {
					if swaps++; c.again {
						return Item{}, false, context.DeadlineExceeded
					}
					item, swapped := swap()
					return item, swapped, nil
				}
				p.readTimes(30 * time.Second)
				p.wantRecord(c.want)
				if p.circuit.isOpen() && name != "failure" && name != "release" {
					t.Error("the circuit is open")
				}
				if swaps > 1 {
					t.Errorf("it was written %d times more, want once", swaps)
				}
			})
		})
	}
}

// TestDoubtIsBounded: to resolve a doubt takes no longer than to write, even if a read may.
func TestDoubtIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		p := newProcess(t, s, func(c *Config, _ *Policy) { c.ReadTimeout = 5 * time.Second })
		s.misbehave(blackHole)
		p.trip(time.Minute)
		for name, publish := range map[string]func(){
			"a trip":    func() { p.Tripped(t.Context(), time.Minute) },
			"a release": func() { p.Release(t.Context()) },
		} {
			before := p.now()
			if publish(); p.now()-before > p.fleet.cfg.WriteTimeout {
				t.Errorf("%s took %v, want at most %v", name, p.now()-before, p.fleet.cfg.WriteTimeout)
			}
		}
	})
}

// TestLyingStore: a store whose versions are wrong keeps no process from probing for longer than
// the record's limit.
func TestLyingStore(t *testing.T) {
	const over = `{"s":1,"st":"open","d":0,"g":1}`
	for name, winner := range map[string]uint64{"the same version again": 7, "a lower version": 3, "none": 0} {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeStore()
			s.onLoad = func(context.Context, []string) ([]Item, error, bool) {
				return []Item{{Value: []byte(over), Version: 7}}, nil, true
			}
			s.onSwap = func(context.Context, func() (Item, bool)) (Item, bool, error) {
				return Item{Value: []byte(over), Version: winner}, false, nil
			}
			p := newProcess(t, s)
			if r, _ := p.elect(); r != loner {
				t.Errorf("%s: got role %v, want loner", name, r)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // one answer with a version of the far future
		s := newFakeStore()
		p := newProcess(t, s)
		p.answer(Item{Value: []byte(over), Version: 1 << 62})
		time.Sleep(10 * time.Minute)
		p.circuit.opened = false
		s.put(`{"s":1,"st":"open","d":60000,"g":1}`)
		p.wantRole(loner, p.now()+31*time.Second)
		p.readTimes(2 * time.Second)
		p.wantCircuit(false, 0)
		p.readTimes(2 * time.Second)
		p.wantErrors("[record]")
		p.wantCircuit(true, 11*time.Minute)
	})
}
