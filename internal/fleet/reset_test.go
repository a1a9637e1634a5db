package fleet

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestReset: a process that was reset reads again at once, releases its lease, and still votes when
// it trips.
func TestReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.put(`{"s":1,"st":"open","d":300000,"o":"a","g":1}`)
		p := newProcess(t, s)
		p.request()
		p.Reset(t.Context())
		p.circuit.opened = false
		if at := p.readTimes(time.Minute); len(at) < 6 || at[0] > 10*time.Millisecond {
			t.Errorf("after a Reset, reads at %v, want one at once and then one for each Refresh", at)
		}
		p.wantCircuit(false, 0)
	})
	synctest.Test(t, func(t *testing.T) {
		p := leaseholder(t, newFakeStore(), `{"s":1,"st":"open","d":0,"o":"a","g":1}`)
		p.Reset(t.Context())
		p.wantRecord(`{"s":1,"st":"open","d":0,"o":"me","g":1}`)
		p.ProbeSucceeded(t.Context()) // too late: the lease was given up by the Reset
		p.wantRecord(`{"s":1,"st":"open","d":0,"o":"me","g":1}`)
	})
	synctest.Test(t, func(t *testing.T) { // the record was suspect: this vote is the second
		s := newFakeStore()
		s.put(`{"s":1,"st":"suspect","d":60000,"o":"a","g":0,"v":[{"i":"a","a":0}]}`)
		p := newProcess(t, s)
		p.Reset(t.Context())
		p.trip(time.Minute)
		p.wantRecord(`{"s":1,"st":"open","d":60000,"o":"me","g":1}`)
	})
	synctest.Test(t, func(t *testing.T) { // the record is still open, and later dead
		s := newFakeStore()
		s.put(`{"s":1,"st":"open","d":60000,"o":"a","g":1}`)
		p := newProcess(t, s)
		p.Reset(t.Context())
		time.Sleep(time.Minute)
		p.trip(time.Minute)
		p.wantRecord(`{"s":1,"st":"open","d":60000,"o":"a","g":1}`)
		time.Sleep(32 * time.Second)
		p.trip(time.Minute)
		p.wantRecord(`{"s":1,"st":"suspect","d":60000,"o":"me","g":1,"v":[{"i":"me","a":0}]}`)
	})
}

// TestResetDuringElection: a lease that is won after a Reset does not open the circuit, and the
// request that asked for it releases it.
func TestResetDuringElection(t *testing.T) {
	for name, ambiguous := range map[string]bool{"won": false, "ambiguous": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFakeStore()
				s.put(`{"s":1,"st":"open","d":0,"o":"a","g":1}`)
				p := newProcess(t, s)
				p.request()
				s.latency = 10 * time.Millisecond
				if ambiguous {
					s.loseAnswers()
				}
				time.AfterFunc(15*time.Millisecond, func() {
					p.Reset(t.Context())
					p.circuit.AdoptClosed(t.Context(), longest)
				})
				p.elect()
				s.misbehave(nil)
				p.Release(t.Context())
				p.hint()
				p.wantCircuit(false, 0)
				p.wantRecord(`{"s":1,"st":"open","d":0,"o":"me","g":1}`)
			})
		})
	}
}

// TestResetFleet: ResetFleet replaces any record by a closed one, except one of another schema.
func TestResetFleet(t *testing.T) {
	const closed = `{"s":1,"st":"closed","d":0,"o":"me","g":0}`
	for name, value := range map[string]string{
		"absent":  ``,
		"closed":  `{"s":1,"st":"closed","d":0,"g":4}`,
		"suspect": `{"s":1,"st":"suspect","d":60000,"v":[{"i":"a","a":0}]}`,
		"open":    `{"s":1,"st":"open","d":60000,"g":3}`,
		"half":    `{"s":1,"st":"half","d":31000,"g":3}`,
		"poison":  `}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFakeStore()
				p := newProcess(t, s)
				other := newProcess(t, s)
				if value != "" {
					s.put(value)
				}
				p.request()
				other.trip(time.Hour) // by its own rules
				if value != "" {
					s.put(value)
				}
				time.Sleep(time.Second)
				if err := p.fleet.Reset(t.Context(), "host"); err != nil {
					t.Error(err)
				}
				p.wantRecord(closed)
				p.wantCircuit(false, 0)
				other.hint()
				other.wantCircuit(false, 0)
			})
		})
	}
	t.Run("another schema", func(t *testing.T) {
		s := newFakeStore()
		s.put(`{"s":2}`)
		p := newProcess(t, s)
		if err := p.fleet.Reset(t.Context(), "host"); err == nil || s.value() != `{"s":2}` || s.loaded() != 1 {
			t.Errorf("got error %v and record %s after %d reads, want an error at once", err, s.value(), s.loaded())
		}
	})
	t.Run("it tries though the store is left alone, and again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeStore()
			p := newProcess(t, s)
			s.misbehave(func(context.Context) error { return errors.New("READONLY") })
			for range 5 {
				p.hint()
			}
			err := p.fleet.Reset(t.Context(), "host")
			if err == nil || !strings.Contains(err.Error(), "READONLY") || s.loaded() != 7 {
				t.Errorf("got error %v after %d reads, want that of the store after 3 and 4", err, s.loaded())
			}
			tries := 0
			s.misbehave(nil)
			s.onSwap = func(_ context.Context, swap func() (Item, bool)) (Item, bool, error) {
				if tries++; tries < 4 {
					s.put(`{"s":1,"st":"open","d":60000,"g":3}`)
				}
				item, swapped := swap()
				return item, swapped, nil
			}
			if err := p.fleet.Reset(t.Context(), "host"); err != nil {
				t.Error(err)
			}
			p.wantRecord(closed)
		})
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		p := newProcess(t, newFakeStore())
		if err := p.fleet.Reset(ctx, "host"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's error", err)
		}
	})
}
