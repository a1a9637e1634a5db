package fleet

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestDeaf: what a process hears after a Reset, or after a successful probe of its own.
func TestDeaf(t *testing.T) {
	const open = `{"s":1,"st":"open","d":60000,"o":"a","g":1}`
	for name, c := range map[string]struct {
		later []string // records that are written later
		want  bool     // whether the circuit is open after them
	}{
		"the record as it was":       {nil, false},
		"a lease":                    {[]string{`{"s":1,"st":"half","d":31000,"o":"a","g":1}`}, false},
		"a release":                  {[]string{`{"s":1,"st":"open","d":0,"o":"a","g":1}`}, false},
		"a short open":               {[]string{`{"s":1,"st":"open","d":59999,"o":"a","g":1}`}, false},
		"an open":                    {[]string{open}, true},
		"a suspect":                  {[]string{`{"s":1,"st":"suspect","d":60000,"o":"a","g":1}`}, false},
		"a lease after a suspect":    {[]string{`{"s":1,"st":"suspect","d":60000,"o":"a","g":1}`, `{"s":1,"st":"half","d":31000,"o":"a","g":1}`}, true},
		"a lease after a closed one": {[]string{`{"s":1,"st":"closed","d":0,"o":"a","g":1}`, `{"s":1,"st":"half","d":31000,"o":"a","g":1}`}, true},
		"a lease after a flush":      {[]string{``, `{"s":1,"st":"half","d":31000,"o":"a","g":1}`}, false},
	} {
		for cause, deafen := range map[string]func(*process){
			"Reset":         func(p *process) { p.Reset(p.t.Context()) },
			"probe":         func(p *process) { p.ProbeSucceeded(p.t.Context()) },
			"Reset, unread": func(p *process) { p.Reset(p.t.Context()) },
		} {
			t.Run(cause+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newFakeStore()
					p := newProcess(t, s)
					p.request()
					time.Sleep(time.Second)
					s.put(open)
					time.Sleep(time.Second)
					if cause != "Reset, unread" {
						p.hint()
					}
					p.circuit.opened = false
					deafen(p)
					time.Sleep(time.Second)
					p.hint()
					p.wantCircuit(false, 0)
					if r, _ := p.elect(); r != loner {
						t.Errorf("got role %v, want loner", r)
					}
					for _, value := range c.later {
						if value == "" {
							delete(s.records, "ns/host")
						} else {
							s.put(value)
						}
						p.hint()
					}
					if p.circuit.opened != c.want {
						t.Errorf("the circuit is open: %v, want %v", p.circuit.opened, c.want)
					}
				})
			})
		}
	}
	synctest.Test(t, func(t *testing.T) { // a record does not become newer because its age is rounded down
		p := newProcess(t, newFakeStore())
		p.answer(Item{Value: []byte(open), Version: 7, Age: time.Second})
		p.Reset(t.Context())
		p.circuit.opened = false
		time.Sleep(time.Second)
		p.answer(Item{Value: []byte(open), Version: 7, Age: 0})
		p.wantCircuit(false, 0)
	})
}

// TestDeafUntilTrip: a process that trips listens to the record again.
func TestDeafUntilTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.put(`{"s":1,"st":"open","d":300000,"o":"a","g":1}`)
		p := newProcess(t, s)
		p.request()
		p.Reset(t.Context())
		p.circuit.opened = false
		time.Sleep(time.Minute)
		p.trip(time.Minute)
		p.hint()
		p.wantCircuit(true, 5*time.Minute)
	})
}

// TestUnwritableStore: a process has found the host healthy, and the store, which answers reads,
// refuses to write that. The old record does not open the circuit again.
func TestUnwritableStore(t *testing.T) {
	for name, value := range map[string]string{
		"open": `{"s":1,"st":"open","d":60000,"o":"a","g":1}`,
		"half": `{"s":1,"st":"half","d":31000,"o":"a","g":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFakeStore()
				s.put(value)
				p := newProcess(t, s)
				p.request()
				s.onSwap = func(context.Context, func() (Item, bool)) (Item, bool, error) {
					return Item{}, false, errors.New("MISCONF")
				}
				time.Sleep(time.Minute)
				p.wantRole(loner, p.now()+31*time.Second)
				p.circuit.opened = false
				p.ProbeSucceeded(t.Context())
				p.readTimes(10 * time.Minute)
				p.wantCircuit(false, 0)
				p.wantErrors("[compare_and_swap]")
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // nor does its own lease, whose verdict the store refused
		s := newFakeStore()
		p := leaseholder(t, s, `{"s":1,"st":"open","d":0,"o":"a","g":1}`)
		s.onSwap = func(context.Context, func() (Item, bool)) (Item, bool, error) {
			return Item{}, false, errors.New("OOM")
		}
		p.circuit.opened = false
		p.ProbeSucceeded(t.Context())
		p.readTimes(10 * time.Minute)
		p.wantCircuit(false, 0)
	})
}
