package fleet

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestReset: what was written before a Reset is not heard and not written over,
// also if it has not been read yet; what comes after is.
func TestReset(t *testing.T) {
	const (
		open    = `{"s":1,"st":"open","d":60000,"o":"a","g":1}`
		suspect = `{"s":1,"st":"suspect","d":60000,"o":"a","g":0,"v":[{"i":"a","a":0}]}`
	)
	for name, value := range map[string]string{"open": open, "suspect": suspect} {
		for _, known := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				s := newFakeStore()
				p := newProcess(t, s)
				p.request()
				s.put(value)
				time.Sleep(time.Second)
				if known {
					p.Hint(t.Context())
				}
				p.Reset()
				p.circuit.opened = false
				time.Sleep(time.Second)
				p.Tripped(t.Context(), time.Minute)
				p.Hint(t.Context())
				p.Tripped(t.Context(), time.Minute)
				p.Hint(t.Context())
				if got := s.value(); got != value || p.circuit.opened {
					t.Errorf("%s, known %v: after a Reset the circuit is open: %v, and the record %s", name, known, p.circuit.opened, got)
				}
				if r, _ := p.elect(); r != loner {
					t.Errorf("%s, known %v: after a Reset got role %v, want loner", name, known, r)
				}
				s.put(open)
				p.Hint(t.Context())
				p.wantCircuit(true, p.now()+time.Minute)
			})
		}
	}
}

// TestResetOtherwise: a Reset hears a record whose age is rounded down no more
// than another, lets an absent one be written, and gives up a lease.
func TestResetOtherwise(t *testing.T) {
	const open = `{"s":1,"st":"open","d":60000,"o":"a","g":1}`
	synctest.Test(t, func(t *testing.T) {
		p := newProcess(t, newFakeStore())
		p.adopt(t.Context(), Item{Value: []byte(open), Version: 7, Age: time.Second})
		p.Reset()
		p.circuit.opened = false
		time.Sleep(time.Second)
		p.adopt(t.Context(), Item{Value: []byte(open), Version: 7, Age: 0})
		p.wantCircuit(false, 0)
	})
	synctest.Test(t, func(t *testing.T) {
		p := newProcess(t, newFakeStore())
		p.request()
		p.Reset()
		p.Hint(t.Context())
		p.Tripped(t.Context(), time.Minute)
		p.wantRecord(`{"s":1,"st":"suspect","d":60000,"o":"me","g":0,"v":[{"i":"me","a":0}]}`)
	})
	synctest.Test(t, func(t *testing.T) {
		p := leaseholder(t, newFakeStore(), open[:len(open)-1]+`,"d":0}`)
		p.Reset()
		p.Probed(t.Context(), true, 0)
		p.wantRecord(`{"s":1,"st":"half","d":31000,"o":"me","g":1}`)
	})
}

// TestResetDuringSwap: what was being written when a Reset came is not heard
// either, and no lease comes of it.
func TestResetDuringSwap(t *testing.T) {
	for name, ambiguous := range map[string]bool{"won": false, "ambiguous": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFakeStore()
				s.put(`{"s":1,"st":"open","d":0,"o":"a","g":1}`)
				var ticks atomic.Int64 // a clock never says the same time twice
				p := newProcess(t, s)
				now := p.fleet.cfg.Now
				p.fleet.cfg.Now = func() time.Duration { return now() + time.Duration(ticks.Add(1)) }
				p.request()
				s.latency = 10 * time.Millisecond
				if ambiguous {
					s.loseAnswers()
				}
				time.AfterFunc(15*time.Millisecond, func() {
					p.Reset()
					p.circuit.AdoptClosed(t.Context())
				})
				if r, _ := p.elect(); r == candidate {
					t.Error("got a lease after a Reset")
				}
				p.wantRecord(`{"s":1,"st":"half","d":31000,"o":"me","g":1}`)
				p.Probed(t.Context(), true, 0)
				p.Hint(t.Context())
				p.wantCircuit(false, 0)
				p.wantRecord(`{"s":1,"st":"half","d":31000,"o":"me","g":1}`)
			})
		})
	}
}
