package fleet

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestVerdict: the record after a probe.
func TestVerdict(t *testing.T) {
	grow := func(_ *Config, policy *Policy) { policy.OpenGrowth = 2 }
	synctest.Test(t, func(t *testing.T) {
		p := leaseholder(t, newFakeStore(), `{"s":1,"st":"open","d":0,"g":9223372036854775807,"f":[{"i":"a","a":0}]}`)
		p.ProbeFailed(t.Context(), time.Minute, 0)
		p.wantRecord(`{"s":1,"st":"open","d":60000,"o":"me","g":2147483647}`)
	})
	for name, c := range map[string]struct {
		value string
		say   func(*process)
		want  string
	}{
		"success": {
			`{"s":1,"st":"open","d":0,"g":3,"f":[{"i":"a","a":0}]}`,
			func(p *process) { p.ProbeSucceeded(p.t.Context()) },
			`{"s":1,"st":"closed","d":0,"o":"me","g":3}`,
		},
		"first failure": {
			`{"s":1,"st":"open","d":0,"g":2}`,
			func(p *process) { p.ProbeFailed(p.t.Context(), time.Minute, 0) },
			`{"s":1,"st":"open","d":0,"o":"me","g":2,"f":[{"i":"me","a":0}]}`,
		},
		"last failure": {
			`{"s":1,"st":"open","d":0,"g":2,"f":[{"i":"a","a":0}]}`,
			func(p *process) { p.ProbeFailed(p.t.Context(), time.Minute, 0) },
			`{"s":1,"st":"open","d":240000,"o":"me","g":3}`,
		},
		"failure after an old one": {
			`{"s":1,"st":"open","d":0,"g":1,"f":[{"i":"a","a":59000}]}`,
			func(p *process) { p.ProbeFailed(p.t.Context(), time.Minute, 0) },
			`{"s":1,"st":"open","d":0,"o":"me","g":1,"f":[{"i":"me","a":0}]}`,
		},
		"last failure, grown up": {
			`{"s":1,"st":"open","d":0,"g":4,"f":[{"i":"a","a":0}]}`,
			func(p *process) { p.ProbeFailed(p.t.Context(), time.Minute, 0) },
			`{"s":1,"st":"open","d":300000,"o":"me","g":4}`,
		},
		"ignored": {
			`{"s":1,"st":"open","d":0,"g":2,"f":[{"i":"a","a":0}]}`,
			func(p *process) { p.ProbeIgnored(p.t.Context()) },
			`{"s":1,"st":"open","d":0,"o":"me","g":2,"f":[{"i":"a","a":5000}],"n":1}`,
		},
		"ignored again and again": {
			`{"s":1,"st":"open","d":0,"g":2,"n":5}`,
			func(p *process) { p.ProbeIgnored(p.t.Context()) },
			`{"s":1,"st":"open","d":16000,"o":"me","g":2,"n":6}`,
		},
		"ignored for hours": {
			`{"s":1,"st":"open","d":0,"g":2,"n":9223372036854775807}`,
			func(p *process) { p.ProbeIgnored(p.t.Context()) },
			`{"s":1,"st":"open","d":60000,"o":"me","g":2,"n":2147483647}`,
		},
		"released": {
			`{"s":1,"st":"open","d":0,"g":2,"f":[{"i":"a","a":0}],"n":2}`,
			func(p *process) { p.Release(p.t.Context()) },
			`{"s":1,"st":"open","d":0,"o":"me","g":2,"f":[{"i":"a","a":5000}],"n":2}`,
		},
		"Retry-After of both": {
			`{"s":1,"st":"open","d":0,"g":1,"f":[{"i":"a","a":1000,"r":150000}]}`,
			func(p *process) { p.ProbeFailed(p.t.Context(), time.Minute, 130*time.Second) },
			`{"s":1,"st":"open","d":145000,"o":"me","g":2}`,
		},
		"Retry-After of the first": {
			`{"s":1,"st":"open","d":0,"g":2}`,
			func(p *process) { p.ProbeFailed(p.t.Context(), time.Minute, 150*time.Second) },
			`{"s":1,"st":"open","d":0,"o":"me","g":2,"f":[{"i":"me","a":0,"r":150000}]}`,
		},
		"Retry-After of an hour": {
			`{"s":1,"st":"open","d":0,"g":1,"f":[{"i":"a","a":1000,"r":3600000}]}`,
			func(p *process) { p.ProbeFailed(p.t.Context(), time.Minute, 0) },
			`{"s":1,"st":"open","d":300000,"o":"me","g":2}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFakeStore()
				p := leaseholder(t, s, c.value, grow)
				p.circuit.opened = false // it probes
				time.Sleep(5 * time.Second)
				p.request()
				synctest.Wait()
				c.say(p)
				p.wantRecord(c.want)
				p.wantCircuit(false, 0) // neither its own lease nor its own verdict changes it
				if p.lease != (lease{}) {
					t.Error("the lease is kept")
				}
			})
		})
	}
}

// TestRound: a process whose probe has failed leaves the next probe to others for an open time.
// After that it may probe again.
func TestRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		a := leaseholder(t, s, `{"s":1,"st":"open","d":0,"g":1}`)
		a.ProbeFailed(t.Context(), time.Minute, 0)
		a.wantBarred()
		b := newProcess(t, s)
		b.wantRole(candidate, b.now()+31*time.Second)
		b.ProbeIgnored(t.Context())
		a.wantBarred()
		time.Sleep(30500 * time.Millisecond)
		a.wantBarred()
		time.Sleep(500 * time.Millisecond) // no other process has taken the lease
		a.wantRole(candidate, a.now()+31*time.Second)
		a.ProbeFailed(t.Context(), time.Minute, 0)
		b.wantRole(candidate, b.now()+31*time.Second)
		b.ProbeFailed(t.Context(), time.Minute, 0)
		b.wantRecord(`{"s":1,"st":"open","d":60000,"o":"me","g":2}`)
	})
	synctest.Test(t, func(t *testing.T) { // if Quorum is greater than the number of processes, they take turns
		s := newFakeStore()
		three := func(cfg *Config, _ *Policy) { cfg.Quorum = 3 }
		a := leaseholder(t, s, `{"s":1,"st":"open","d":0,"g":1}`, three)
		a.ProbeFailed(t.Context(), time.Minute, 0)
		b := newProcess(t, s, three)
		b.wantRole(candidate, 31*time.Second)
		b.ProbeFailed(t.Context(), time.Minute, 0)
		a.wantBarred()
		b.wantBarred()
		time.Sleep(time.Minute)
		a.wantRole(candidate, a.now()+31*time.Second)
		a.ProbeSucceeded(t.Context())
		a.wantRecord(`{"s":1,"st":"closed","d":0,"o":"me","g":1}`)
	})
}

// TestFencing: a verdict does not count once the lease is over, nor once another process has taken
// it over. Then the process follows the winner, and does not vote.
func TestFencing(t *testing.T) {
	for name, ok := range map[string]bool{"success": true, "failure": false} {
		t.Run("expired, "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFakeStore()
				p := leaseholder(t, s, `{"s":1,"st":"open","d":0,"g":1}`)
				time.Sleep(31 * time.Second)
				p.circuit.opened = !ok
				p.probed(ok)
				p.wantRecord(`{"s":1,"st":"half","d":31000,"o":"me","g":1}`)
				// After a failure it may ask again at once. After a success it is deaf.
				p.wantCircuit(!ok, p.now())
				if p.lease != (lease{}) {
					t.Error("the lease is kept")
				}
				want := candidate
				if ok {
					want = loner
				}
				p.wantRole(want, p.now()+31*time.Second)
			})
		})
		for winner, value := range map[string]string{
			"open":   `{"s":1,"st":"open","d":60000,"o":"a","g":2}`,
			"half":   `{"s":1,"st":"half","d":31000,"o":"a","g":2}`,
			"closed": `{"s":1,"st":"closed","d":0,"o":"a","g":2}`,
		} {
			for _, known := range []bool{true, false} {
				t.Run("taken over, "+winner+", "+name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						s := newFakeStore()
						p := leaseholder(t, s, `{"s":1,"st":"open","d":0,"g":1}`)
						time.Sleep(time.Second) // its own clock stands still, and those of others go on
						s.put(value)
						if known {
							p.hint()
						}
						p.circuit.opened = !ok
						p.probed(ok)
						if got := s.value(); got != value {
							t.Errorf("the winner's record became %s", got)
						}
						if p.circuit.opened != (winner != "closed") {
							t.Errorf("the circuit is open: %v, unlike the winner's record", p.circuit.opened)
						}
					})
				})
			}
		}
	}
}

// probed ends a probe.
func (p *process) probed(ok bool) {
	if ok {
		p.ProbeSucceeded(p.t.Context())
	} else {
		p.ProbeFailed(p.t.Context(), time.Minute, 0)
	}
}
