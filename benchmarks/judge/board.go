package main

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// A board has the figures of all contenders in all scenarios.
type board struct {
	scenarios  []*scenario
	contenders []*contender
	seeds      int
	figures    map[*scenario]map[*contender][]figure // one for each measure
}

// A figure is the same measure by seed.
type figure []float64

func (f figure) mean() float64 {
	sum := 0.0
	for _, x := range f {
		sum += x
	}
	return sum / float64(len(f))
}

// newBoard plays everything, as much at once as there are processors.
func newBoard(t *testing.T, scenarios []*scenario, contenders []*contender, seeds int, progress io.Writer) *board {
	b := &board{scenarios, contenders, seeds, map[*scenario]map[*contender][]figure{}}
	for _, sc := range scenarios {
		began := time.Now()
		b.play(t, sc)
		fmt.Fprintf(progress, "%s: %.1fs\n", sc.name, time.Since(began).Seconds())
	}
	return b
}

func (b *board) play(t *testing.T, sc *scenario) {
	b.figures[sc] = map[*contender][]figure{}
	processors := make(chan struct{}, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for _, c := range b.contenders {
		figures := make([]figure, len(sc.measures))
		for i := range figures {
			figures[i] = make(figure, b.seeds)
		}
		b.figures[sc][c] = figures
		for seed := range b.seeds {
			processors <- struct{}{}
			wg.Go(func() {
				defer func() { <-processors }()
				for i, x := range play(t, sc, uint64(seed), c.guard) {
					figures[i][seed] = x
				}
			})
		}
	}
	wg.Wait()
}

// mean is that of a measure of a scenario; NaN if the contender is not there.
func (b *board) mean(sc *scenario, measure int, name string) float64 {
	i := slices.IndexFunc(b.contenders, func(c *contender) bool { return c.name == name })
	if i < 0 {
		return math.NaN()
	}
	return b.figures[sc][b.contenders[i]][measure].mean()
}
