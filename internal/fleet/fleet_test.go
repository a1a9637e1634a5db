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
}
