// Package sim simulates an outage of a host in virtual time, for fleets of up to 10,000 processes.
// The Transports and the protocol are real. The host and the store are simulated.
package sim

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// openFor is the open time of every process's policy, whose other fields are zero. A process whose
// policy changes has newOpenFor from then on.
const (
	openFor    = 30 * time.Second
	newOpenFor = 10 * time.Second
)

// soon is when a fleet should have recovered at the latest.
const soon = openFor + 10*time.Second

// A scenario is a fleet and what happens to it.
type scenario struct {
	seed      uint64 // of when requests come and how long answers take
	processes int
	alone     bool // without a store
	quorum    int
	refresh   time.Duration // 0 means the default
	adaptive  bool          // in place of openFor

	before, outage, after time.Duration

	store   func(at time.Duration, write bool, r *rand.Rand) fault // of a call of the store, so long after the outage began; nil: none
	broken  int                                                    // processes that cannot reach the host
	dying   int                                                    // processes that die as they probe with the lease
	stagger time.Duration                                          // the processes' clocks start at random within it
	changed int                                                    // processes whose policy changes when half of the outage is over
}

// A result is what has happened to a fleet.
type result struct {
	hits     []time.Duration // on the dead host, after the outage began
	probes   int             // of them
	reads    int
	writes   int
	lost     int             // writes that lost to another one
	sent     int             // requests of the processes that can reach the host
	refused  int             // of them, while the host was healthy
	recovery []time.Duration // of each such process: from the end of the outage to its first answer
}

// never is the recovery of a process that got no answer.
const never = time.Hour

// A world is a scenario while it runs.
type world struct {
	scenario
	records  *store
	down, up time.Time // the host is down from down to up
	end      time.Time

	probes, sent, refused, dead atomic.Int64

	mu   sync.Mutex
	hits []time.Duration
}

// run runs a scenario.
func run(t *testing.T, sc scenario) (out result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{scenario: sc}
		w.down = time.Now().Add(sc.stagger + sc.before)
		w.up = w.down.Add(sc.outage)
		w.end = w.up.Add(sc.after)
		w.records = newStore(w)
		processes := make([]*process, sc.processes)
		var lives sync.WaitGroup
		for i := range processes {
			processes[i] = newProcess(w, i)
			lives.Go(func() { processes[i].live(t) })
		}
		lives.Wait()
		time.Sleep(time.Second) // for reads in the background to end
		out = w.result(processes)
	})
	return out
}

func (w *world) result(processes []*process) result {
	out := result{
		hits:    w.hits,
		probes:  int(w.probes.Load()),
		reads:   int(w.records.reads.Load()),
		writes:  int(w.records.writes.Load()),
		lost:    int(w.records.lost.Load()),
		sent:    int(w.sent.Load()),
		refused: int(w.refused.Load()),
	}
	for _, p := range processes {
		if !p.broken && !p.dead {
			out.recovery = append(out.recovery, p.recovery)
		}
	}
	slices.Sort(out.recovery)
	return out
}

func (w *world) isDown() bool {
	now := time.Now()
	return !now.Before(w.down) && now.Before(w.up)
}

func (w *world) hit() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hits = append(w.hits, time.Since(w.down))
}

// random returns the random numbers of one part of the world.
func (w *world) random(part int) *rand.Rand { return rand.New(rand.NewPCG(w.seed, uint64(part))) }
