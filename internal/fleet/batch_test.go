package fleet

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A crowd is a process with several members.
type crowd struct {
	*process
	all []*Member
}

func newCrowd(t *testing.T, n int) *crowd {
	c := &crowd{process: newProcess(t, newFakeStore())}
	for i := range n {
		c.all = append(c.all, c.fleet.Member(fmt.Sprint(i), testPolicy(), &fakeCircuit{}))
	}
	return c
}

// requests lets each of the members have a request, and waits until the reads have ended.
func (c *crowd) requests(members ...*Member) {
	for _, m := range members {
		if now := c.now(); m.Due(now) {
			m.Refresh(c.t.Context(), now, false)
		}
	}
	time.Sleep(time.Second)
}

// loads returns the reads since the last call of loads.
func (c *crowd) loads() [][]string {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	loads := c.store.loads
	c.store.loads = nil
	return loads
}

func (c *crowd) wantLoads(want ...[]string) {
	c.t.Helper()
	got := c.loads()
	for _, keys := range got {
		slices.Sort(keys)
	}
	if !slices.EqualFunc(got, want, slices.Equal) {
		c.t.Errorf("got reads of %v, want %v", got, want)
	}
}

// TestBatch: one Load reads all records that are due, except those that were read along with others
// and that no request has asked for since.
func TestBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 3)
		c.requests(c.all...)
		c.wantLoads([]string{"ns/0"}, []string{"ns/1"}, []string{"ns/2"}) // a request waits for each
		for _, step := range []struct {
			asked int
			want  []string
		}{
			{0, []string{"ns/0", "ns/1", "ns/2"}},
			{0, []string{"ns/0"}},
			{1, []string{"ns/0", "ns/1"}},
			{2, []string{"ns/1", "ns/2"}},
		} {
			time.Sleep(20 * time.Second)
			c.requests(c.all[step.asked])
			c.wantLoads(step.want)
		}
		c.all[1].Leave()
		time.Sleep(20 * time.Second)
		c.requests(c.all[0])
		c.wantLoads([]string{"ns/0", "ns/2"})
	})
}

// TestGuardedRecord: a record that its guard leaves alone is not read along with others, either.
func TestGuardedRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 2)
		c.requests(c.all...)
		time.Sleep(20 * time.Second)
		c.loads()
		c.all[1].guard.until = c.now() + 30*time.Second
		c.requests(c.all[0])
		c.wantLoads([]string{"ns/0"})
		time.Sleep(30 * time.Second)
		c.requests(c.all[0])
		c.wantLoads([]string{"ns/0", "ns/1"})
	})
}

// TestOneReadAtATime: a record that is found due while a read is under way waits for the next one,
// and no request asks for it in the meantime.
func TestOneReadAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 2)
		c.requests(c.all...)
		time.Sleep(20 * time.Second)
		c.loads()
		c.store.mu.Lock()
		c.store.latency = 10 * time.Millisecond
		c.store.mu.Unlock()
		c.all[1].Leave() // it is read when it asks, and not along with others
		for _, m := range c.all {
			m.Refresh(t.Context(), c.now(), false)
			synctest.Wait()
			if m.Due(c.now()) {
				t.Errorf("%s is due while a read is under way", m.key)
			}
		}
		time.Sleep(100 * time.Millisecond)
		c.wantLoads([]string{"ns/0"})
		c.requests(c.all[1])
		c.wantLoads([]string{"ns/1"})
	})
}

// TestBatchIsBounded: if more records are due than one Load may ask for, they are read in turn.
func TestBatchIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 3*maxBatch)
		c.requests(c.all...)
		time.Sleep(20 * time.Second)
		c.loads()
		for range 3 {
			c.requests(c.all...)
		}
		read := 0
		for _, keys := range c.loads() {
			if read += len(keys); len(keys) > maxBatch {
				t.Errorf("a read is of %d records, want at most %d", len(keys), maxBatch)
			}
		}
		if read != len(c.all) {
			t.Errorf("%d records were read, want each of %d once", read, len(c.all))
		}
	})
}

// TestLeft: a member that leaves while its record is being read is not kept.
func TestLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 1)
		c.store.latency = 10 * time.Millisecond
		time.AfterFunc(5*time.Millisecond, c.all[0].Leave)
		c.requests(c.all...)
		synctest.Wait()
		if got := len(c.fleet.members); got != 0 {
			t.Errorf("%d members are kept, want none", got)
		}
	})
}
