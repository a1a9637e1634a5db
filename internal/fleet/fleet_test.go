package fleet

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestSetPolicy: a new policy holds at once, except that a lease ends as it began.
func TestSetPolicy(t *testing.T) {
	shorter := testPolicy()
	shorter.OpenFor = 10 * time.Second
	one := func(cfg *Config, _ *Policy) { cfg.Quorum = 1 }
	t.Run("without a lease", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeStore()
			s.put(`{"s":1,"st":"open","d":0,"o":"a","g":1}`)
			p := newProcess(t, s, one)
			p.SetPolicy(shorter)
			p.wantRole(candidate, 31*time.Second)
			p.probed(false)
			p.wantRecord(`{"s":1,"st":"open","d":10000,"o":"me","g":2}`)
		})
	})
	t.Run("with a lease", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeStore()
			p := leaseholder(t, s, `{"s":1,"st":"open","d":0,"o":"a","g":1}`, one)
			p.SetPolicy(shorter)
			p.probed(false)
			p.wantRecord(`{"s":1,"st":"open","d":60000,"o":"me","g":2}`)
			time.Sleep(time.Minute)
			p.wantRole(candidate, p.now()+31*time.Second)
			p.probed(false)
			p.wantRecord(`{"s":1,"st":"open","d":10000,"o":"me","g":3}`)
		})
	})
	t.Run("while the lease is asked for", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeStore()
			s.put(`{"s":1,"st":"open","d":0,"o":"a","g":1}`)
			s.latency = 40 * time.Millisecond
			p := newProcess(t, s, one)
			elected := make(chan Election)
			go func() { elected <- p.Elect(t.Context()) }() // reads until 40 ms, and writes until 80 ms
			time.Sleep(30 * time.Millisecond)
			go p.hint() // is answered at 70 ms
			time.Sleep(20 * time.Millisecond)
			p.SetPolicy(shorter)
			if e := <-elected; !e.MayProbe {
				t.Errorf("got %+v, want the lease", e)
			}
			p.probed(false)
			p.wantRecord(`{"s":1,"st":"open","d":60000,"o":"me","g":2}`)
		})
	})
	t.Run("in another goroutine", func(t *testing.T) { // for the race detector
		synctest.Test(t, func(t *testing.T) {
			p := newProcess(t, newFakeStore())
			go p.SetPolicy(shorter)
			time.Sleep(time.Second)
			p.wantRole(loner, 32*time.Second)
		})
	})
}
