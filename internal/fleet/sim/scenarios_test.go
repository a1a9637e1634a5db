package sim

import (
	"math"
	"math/rand/v2"
	"time"
)

// An outage takes ten minutes and a random part of an open time, so that it ends at any point of
// one.
func outage(processes int, seed uint64) scenario {
	part := rand.New(rand.NewPCG(seed, math.MaxUint64)).Int64N(int64(openFor))
	return scenario{
		seed:      seed,
		processes: processes,
		quorum:    2,
		before:    150 * time.Second,
		outage:    10*time.Minute + time.Duration(part),
		after:     150 * time.Second,
	}
}

// onItsOwn is the same without a store.
func (sc scenario) onItsOwn() scenario {
	sc.alone = true
	return sc
}

// adapting is the same with circuits that are adaptive.
func (sc scenario) adapting() scenario {
	sc.adaptive = true
	return sc
}

// changing is the same, and the policies of so many processes change half-way.
func (sc scenario) changing(processes int) scenario {
	sc.changed = processes
	return sc
}

// A handicap makes it hard for a fleet to share.
type handicap struct {
	title string
	put   func(*scenario)
	most  limit // for ten processes, which cause 260 hits and 210 probes on their own
}

const (
	always  = time.Duration(math.MinInt64)
	forever = time.Duration(math.MaxInt64)
)

var handicaps = []handicap{
	{
		"the store refuses from the start",
		func(sc *scenario) { sc.store = during(always, forever, refusing) },
		limit{hits: 260, probes: 210, reads: 1500, back: soon},
	},
	{
		"the store hangs from the fifth minute on",
		func(sc *scenario) { sc.store = during(5*time.Minute, forever, hanging) },
		limit{hits: 190, probes: 145, reads: 1500, writes: 60, back: soon},
	},
	{
		"the store refuses for 100 s",
		func(sc *scenario) { sc.store = during(200*time.Second, 300*time.Second, refusing) },
		limit{hits: 140, probes: 95, reads: 1500, writes: 100, back: soon},
	},
	{
		"of ten writes one is lost, one not answered",
		func(sc *scenario) {
			sc.store = func(_ time.Duration, write bool, r *rand.Rand) fault {
				switch n := r.IntN(10); {
				case write && n == 0:
					return hanging
				case write && n == 1:
					return unanswered
				}
				return sound
			}
		},
		// A verdict that is lost twice leaves the lease to its end: one recovery in a hundred.
		limit{hits: 110, probes: 60, reads: 2500, writes: 120, back: soon + leaseFor + time.Second},
	},
	{
		"three probers die with the lease",
		func(sc *scenario) { sc.dying = 3 },
		limit{hits: 95, probes: 45, reads: 1500, writes: 100, back: soon},
	},
	{
		"clocks 5 min fast to 5 min slow",
		func(sc *scenario) { sc.stagger = 10 * time.Minute },
		limit{hits: 95, probes: 45, reads: 1500, writes: 100, back: soon},
	},
	{
		"`Refresh` is a minute",
		func(sc *scenario) { sc.refresh = time.Minute },
		limit{hits: 95, probes: 45, reads: 600, writes: 100, back: soon},
	},
}

func during(from, to time.Duration, f fault) func(time.Duration, bool, *rand.Rand) fault {
	return func(at time.Duration, _ bool, _ *rand.Rand) fault {
		if at < from || at >= to {
			return sound
		}
		return f
	}
}

func (h handicap) of(sc scenario) scenario {
	h.put(&sc)
	return sc
}

// oneBroken is a short outage for a fleet in which one process cannot reach the host, but gets the
// lease as often as others.
func oneBroken(processes int, seed uint64) scenario {
	sc := outage(processes, seed)
	sc.broken = 1
	sc.outage -= 8 * time.Minute
	return sc
}

// noOutage is a quarter of an hour in which such a fleet has a healthy host.
func noOutage(processes, quorum int) scenario {
	return scenario{processes: processes, quorum: quorum, broken: 1, before: 15 * time.Minute}
}

// healthy is an hour of a fleet whose host is healthy.
func healthy(processes int, refresh time.Duration) scenario {
	return scenario{processes: processes, quorum: 2, refresh: refresh, before: time.Hour}
}
