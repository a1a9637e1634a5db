package fleet

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// failingProcess returns a process whose host has failed just after a read, so
// that a second later it is due.
func failingProcess(t *testing.T, s *fakeStore) *process {
	p := newProcess(t, s)
	p.request()
	p.failing = true
	p.fail()
	s.latency = 20 * time.Millisecond
	return p
}

// TestFailingHost: a request to a failing host waits for the read that a failure
// has asked for, and for no other.
func TestFailingHost(t *testing.T) {
	for name, c := range map[string]struct {
		after   time.Duration
		prepare func(*process)
		want    time.Duration // that the request waits for
		reads   int
	}{
		"within the second":  {999 * time.Millisecond, func(*process) {}, 0, 1},
		"after it":           {time.Second, func(*process) {}, 20 * time.Millisecond, 2},
		"much later":         {9 * time.Second, func(*process) {}, 20 * time.Millisecond, 2},
		"a healthy host":     {time.Second, func(p *process) { p.failing = false }, 0, 2},
		"a black hole":       {time.Second, func(p *process) { p.store.misbehave(blackHole) }, 50 * time.Millisecond, 2},
		"an ordinary read":   {20 * time.Second, func(p *process) { p.again = false }, 0, 2},
		"another's read":     {time.Second, func(p *process) { p.fleet.flying = true }, 0, 1},
		"a store left alone": {time.Second, func(p *process) { p.fleet.guard.until = time.Hour }, 0, 1},
		"short of time":      {time.Second, func(p *process) { p.patience = 10 * time.Millisecond }, 5 * time.Millisecond, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := failingProcess(t, newFakeStore())
				time.Sleep(c.after)
				c.prepare(p)
				if waited := p.request(); waited != c.want {
					t.Errorf("the request waited for %v, want %v", waited, c.want)
				}
				if waited := p.request(); waited != 0 {
					t.Errorf("the next waited for %v", waited)
				}
				if time.Sleep(50 * time.Millisecond); p.store.loaded() != c.reads {
					t.Errorf("got %d reads, want %d", p.store.loaded(), c.reads)
				}
			})
		})
	}
}

// TestFailingHostOnce: however many requests a failing host has, one a second
// waits; and none for a store that is to be left alone.
func TestFailingHostOnce(t *testing.T) {
	for name, c := range map[string]struct {
		how  func(context.Context) error
		want int
	}{"sound": {nil, 9}, "black hole": {blackHole, 4}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := failingProcess(t, newFakeStore())
				p.store.misbehave(c.how)
				waits := 0
				for p.now() < 9900*time.Millisecond {
					if p.request() > 0 {
						waits++
					}
					p.fail()
					time.Sleep(10 * time.Millisecond)
				}
				if time.Sleep(50 * time.Millisecond); waits != c.want {
					t.Errorf("%d requests waited, want %d", waits, c.want)
				}
			})
		})
	}
}

// TestFailingHostAndHook: a request does not wait for what others do with what
// was read.
func TestFailingHostAndHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := failingProcess(t, newFakeStore())
		p.circuit.tell = func() { time.Sleep(time.Second) }
		p.store.put(`{"s":1,"st":"open","d":60000,"g":1}`)
		time.Sleep(time.Second)
		if waited, want := p.request(), 50*time.Millisecond; waited != want {
			t.Errorf("the request waited for %v, want %v", waited, want)
		}
		if !p.circuit.isOpen() {
			t.Error("the circuit is not open")
		}
		time.Sleep(time.Second)
	})
}
