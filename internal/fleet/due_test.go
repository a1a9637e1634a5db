package fleet

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// TestRefresh: a closed record is read again after Refresh × 0.5 to 1.5, in the background.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProcess(t, newFakeStore())
		at := p.readTimes(time.Hour)
		shortest, longest := time.Hour, time.Duration(0)
		for i := range at[1:] {
			gap := at[i+1] - at[i]
			shortest, longest = min(shortest, gap), max(longest, gap)
		}
		if shortest < 5*time.Second || shortest > 6*time.Second || longest > 15*time.Second+10*time.Millisecond || longest < 14*time.Second {
			t.Errorf("the reads are %v to %v apart, want 5s to 15s", shortest, longest)
		}
	})
}

// TestFailureReads: after a failure the record is read at once. Failures within a second after a
// read make the next read due at the end of that second.
func TestFailureReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		p := newProcess(t, s)
		p.request()
		time.Sleep(2 * time.Second)
		p.fail()
		synctest.Wait()
		if got := s.loaded(); got != 2 {
			t.Fatalf("after a failure got %d reads, want 2", got)
		}
		time.Sleep(100 * time.Millisecond)
		p.fail()
		if at := p.readTimes(4 * time.Second); len(at) != 1 || at[0] < 3*time.Second || at[0] > 3020*time.Millisecond {
			t.Errorf("after a failure within the second, reads at %v, want one at 3s", at)
		}
	})
}

// TestCost: how often a process reads the record of a healthy host. The figures are in
// docs/sharing.md.
func TestCost(t *testing.T) {
	for name, c := range map[string]struct {
		failures    float64 // share of the requests
		least, most int
	}{
		"no failures":   {0, 50, 70},
		"1 % of 100 /s": {0.01, 400, 500},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFakeStore()
				p := newProcess(t, s)
				for end := p.now() + 10*time.Minute; p.now() < end; time.Sleep(10 * time.Millisecond) {
					p.request()
					if rand.Float64() < c.failures {
						p.fail()
					}
				}
				t.Logf("%d reads in ten minutes", s.loaded())
				if got := s.loaded(); got < c.least || got > c.most {
					t.Errorf("got %d reads in ten minutes, want %d to %d", got, c.least, c.most)
				}
			})
		})
	}
}

// TestFailureDuringRead: a failure during a read causes another read, because the record that is
// being read may be older than the failure.
func TestFailureDuringRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		p := newProcess(t, s)
		p.request()
		time.Sleep(2 * time.Second)
		s.latency = 40 * time.Millisecond
		p.fail()
		time.Sleep(20 * time.Millisecond)
		p.fail()
		if at := p.readTimes(4 * time.Second); len(at) != 1 || at[0] < 3*time.Second || at[0] > 3100*time.Millisecond {
			t.Errorf("reads at %v, want one a second later", at)
		}
	})
}

// TestOpenReads: an open record is not read before its time is up, not even after a failure. From
// then on, and while another process probes, it is read at short intervals until it is dead.
func TestOpenReads(t *testing.T) {
	for name, c := range map[string]struct {
		value    string
		openFor  time.Duration
		from, to time.Duration // when the first read comes
		gap      time.Duration // between the reads, on average
		alive    time.Duration // of the record
	}{
		"open":             {`{"s":1,"st":"open","d":60000,"g":1}`, time.Minute, 61 * time.Second, 63 * time.Second, 2 * time.Second, 91 * time.Second},
		"half":             {`{"s":1,"st":"half","d":31000,"g":1}`, time.Minute, time.Second, 3 * time.Second, 2 * time.Second, 62 * time.Second},
		"round":            {`{"s":1,"st":"open","d":0,"g":1}`, time.Minute, time.Second, 3 * time.Second, 2 * time.Second, 31 * time.Second},
		"half, soon":       {`{"s":1,"st":"half","d":31000,"g":1}`, 4 * time.Second, 500 * time.Millisecond, 1500 * time.Millisecond, time.Second, 62 * time.Second},
		"round, soon":      {`{"s":1,"st":"open","d":0,"g":1}`, 4 * time.Second, 500 * time.Millisecond, 1500 * time.Millisecond, time.Second, 31 * time.Second},
		"closed, for once": {`{"s":1,"st":"closed","d":0,"g":1}`, time.Minute, 5 * time.Second, 15 * time.Second, 10 * time.Second, 10 * time.Minute},
		"dead":             {`{"s":1,"st":"open","d":0,"g":1}`, time.Minute, 5 * time.Second, 15 * time.Second, 10 * time.Second, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFakeStore()
				s.put(c.value)
				if name == "dead" {
					time.Sleep(31 * time.Second)
				}
				p := newProcess(t, s, func(_ *Config, policy *Policy) { policy.OpenFor = c.openFor })
				p.request()
				at := p.readTimes(c.alive)
				if at[0] < c.from || at[0] > c.to+20*time.Millisecond {
					t.Errorf("the first read came at %v, want %v to %v", at[0], c.from, c.to)
				}
				if gap := (at[len(at)-1] - at[0]) / time.Duration(len(at)-1); gap < c.gap*7/10 || gap > c.gap*13/10 {
					t.Errorf("the reads are %v apart on average, want %v", gap, c.gap)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.put(`{"s":1,"st":"open","d":60000,"g":1}`)
		p := newProcess(t, s)
		p.request()
		time.Sleep(10 * time.Second)
		p.fail()
		if at := p.readTimes(49 * time.Second); len(at) > 0 {
			t.Errorf("after a failure an open record is read at %v, before its time is up", at)
		}
	})
}
