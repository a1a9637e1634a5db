package main

import (
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"
)

// A board has the outcomes of all scenarios for all contenders.
type board struct {
	scenarios  []*scenario
	contenders []*contender
	seeds      int                                    // for ours
	outcomes   map[*scenario]map[*contender][]outcome // by seed
}

// fewSeeds is how often each scenario is played to the others, which take most of
// the time.
const fewSeeds = 3

// newBoard plays all scenarios to all contenders, as many at once as there are
// processors.
func newBoard(t *testing.T, scenarios []*scenario, contenders []*contender, seeds int, progress io.Writer) *board {
	b := &board{scenarios, contenders, seeds, map[*scenario]map[*contender][]outcome{}}
	for _, sc := range scenarios {
		began := time.Now()
		b.outcomes[sc] = map[*contender][]outcome{}
		b.play(t, sc)
		fmt.Fprintf(progress, "%s: %.1fs\n", sc.name, time.Since(began).Seconds())
	}
	return b
}

func (b *board) play(t *testing.T, sc *scenario) {
	processors := make(chan struct{}, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for _, c := range b.contenders {
		seeds := b.seeds
		if c.policy == nil {
			seeds = min(seeds, fewSeeds)
		}
		outcomes := make([]outcome, seeds)
		b.outcomes[sc][c] = outcomes
		for seed := range outcomes {
			processors <- struct{}{}
			wg.Go(func() {
				defer func() { <-processors }()
				outcomes[seed] = play(t, sc, uint64(seed), c)
			})
		}
	}
	wg.Wait()
}

// mean returns the mean of a measure over the seeds.
func (b *board) mean(sc *scenario, measure int, c *contender) float64 {
	sum := 0.0
	for _, o := range b.outcomes[sc][c] {
		sum += o.figures[measure]
	}
	return sum / float64(len(b.outcomes[sc][c]))
}

// missed lists the bounds that Adaptive does not keep to.
func (b *board) missed() (all []string) {
	adaptive, doubling := find(b.contenders, adaptive), find(b.contenders, doubling)
	for _, sc := range b.scenarios {
		for i, m := range sc.measures {
			if got := b.mean(sc, i, adaptive); !m.bound.holds(got, b.mean(sc, i, doubling)) {
				all = append(all, fmt.Sprintf("%s: %s: got %s, want %s", sc.name, m.title, m.unit.format(got), m.bound.format(m.unit)))
			}
		}
	}
	return all
}
