package sim

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// A series is scenarios that differ only by their seeds, and their results.
type series struct {
	title   string
	limit   *limit // for each run; nil: none
	runs    []scenario
	results []result
}

func newSeries(title string, l *limit, seeds int, of func(seed uint64) scenario) *series {
	s := &series{title: title, limit: l, results: make([]result, seeds)}
	for seed := range uint64(seeds) {
		s.runs = append(s.runs, of(seed))
	}
	return s
}

func (s *series) run(t *testing.T) {
	for i, sc := range s.runs {
		t.Run(fmt.Sprintf("%s/%d", s.title, i), func(t *testing.T) {
			t.Parallel()
			s.results[i] = run(t, sc)
			if s.limit != nil {
				s.results[i].check(t, *s.limit)
			}
		})
	}
}

// A report is all that is simulated.
type report struct {
	alone, shared []*series // by size
	handicapped   []*series
	adaptive      []*series // on their own, sharing
	changed       []*series // half of the fleet, all of it
	broken        []*series // by size
	quorums       []*series // 1 and 2
	healthy       []*series // by refreshes
}

var (
	sizes     = []int{1, 10, 100, 1000, 10_000}
	refreshes = []time.Duration{10 * time.Second, time.Minute}
)

// limits are what fleets that share may do in an outage, by their size.
var limits = map[int]*limit{
	1000:   {hits: 2400, probes: 45, reads: 65_000, writes: 100, back: soon},
	10_000: {hits: 25_000, probes: 50, reads: 650_000, writes: 100, back: soon},
}

func newReport() *report {
	r := &report{}
	for _, n := range sizes {
		seeds := 20
		if n > 1000 {
			seeds = 1 // it takes as long as all others together
		}
		r.alone = append(r.alone, newSeries(thousands(n)+" on their own", nil, min(seeds, 3), func(seed uint64) scenario { return outage(n, seed).onItsOwn() }))
		r.shared = append(r.shared, newSeries(thousands(n), limits[n], seeds, func(seed uint64) scenario { return outage(n, seed) }))
	}
	for _, h := range handicaps {
		hundredfold := limit{100 * h.most.hits, 100 * h.most.probes, 100 * h.most.reads, h.most.writes, h.most.back}
		r.handicapped = append(r.handicapped, newSeries(h.title, &hundredfold, 3, func(seed uint64) scenario { return h.of(outage(1000, seed)) }))
	}
	r.adaptive = []*series{
		newSeries("adaptive, on their own", nil, 3, func(seed uint64) scenario { return outage(100, seed).onItsOwn().adapting() }),
		newSeries("adaptive, sharing", &adaptiveMost, 20, func(seed uint64) scenario { return outage(100, seed).adapting() }),
	}
	for _, c := range []struct {
		title     string
		processes int
	}{
		{"half of them change to `OpenFor: 10s` half-way", 50},
		{"all of them do", 100},
	} {
		r.changed = append(r.changed, newSeries(c.title, &changedMost, 20, func(seed uint64) scenario { return outage(100, seed).changing(c.processes) }))
	}
	for _, n := range []int{3, 5, 20} {
		l := oneBrokenMost(n)
		r.broken = append(r.broken, newSeries(fmt.Sprintf("1 of %d", n), &l, 40, func(seed uint64) scenario { return oneBroken(n, seed) }))
	}
	for quorum := 1; quorum <= 2; quorum++ {
		r.quorums = append(r.quorums, newSeries(fmt.Sprintf("quorum %d", quorum), nil, 1, func(uint64) scenario { return noOutage(1000, quorum) }))
	}
	for _, refresh := range refreshes {
		r.healthy = append(r.healthy, newSeries(fmt.Sprint("refresh ", refresh), nil, 1, func(uint64) scenario { return healthy(100, refresh) }))
	}
	return r
}

// TestReport simulates everything, and writes it into docs/sharing.md and docs/fleet.svg. The
// picture shows the run whose hits are the median in the table. The test takes minutes, and is
// skipped unless BREAKERHTTP_SIM is set.
func TestReport(t *testing.T) {
	if os.Getenv("BREAKERHTTP_SIM") == "" {
		t.Skip("BREAKERHTTP_SIM is not set")
	}
	r := newReport()
	t.Run("runs", func(t *testing.T) {
		for _, s := range slices.Concat(r.shared, r.alone, r.adaptive, r.changed, r.handicapped, r.broken, r.quorums, r.healthy) {
			s.run(t)
		}
	})
	thousand := r.shared[slices.Index(sizes, 1000)]
	sc, shared := thousand.medianRun()
	alone := run(t, sc.onItsOwn())
	if t.Failed() {
		t.Log("\n" + r.String()) // and do not write it into the docs
		return
	}
	write(t, "../../../docs/fleet.svg", func(string) string { return picture(alone.hits, shared.hits) })
	write(t, "../../../docs/sharing.md", func(old string) string {
		return between(t, old, fmt.Sprintf("Simulated on %s by `make sim`.\n\n%s", time.Now().UTC().Format(time.DateOnly), r))
	})
}

func write(t *testing.T, name string, edit func(old string) string) {
	t.Helper()
	old, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(edit(string(old))), 0o644); err != nil {
		t.Fatal(err)
	}
}

// between replaces the text between the markers.
func between(t *testing.T, s, text string) string {
	t.Helper()
	const begin, end = "<!-- sim:begin -->\n", "<!-- sim:end -->"
	before, rest, ok := strings.Cut(s, begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("docs/sharing.md has no %s and %s", strings.TrimSpace(begin), end)
	}
	return before + begin + text + end + after
}
