package sim

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (r *report) String() string {
	return strings.Join([]string{r.outages(), r.oneBroken(), r.oneOfMany(), r.month()}, "\n")
}

// outages compares fleets that share with those that do not. It also shows adaptive circuits,
// policies that change, and faults.
func (r *report) outages() string {
	var b strings.Builder
	row := func(cells ...string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	row("processes", "", "runs", "hits on the dead host", "most", "probes", "reads", "writes", "that lost", "recovered: median", "p99")
	b.WriteString("|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for i, n := range sizes {
		row(append([]string{thousands(n), "on their own"}, r.alone[i].cells()...)...)
		row(append([]string{"", "sharing"}, r.shared[i].cells()...)...)
	}
	for _, group := range [][]*series{r.adaptive, r.changed, r.handicapped} {
		for i, s := range group {
			n := ""
			if i == 0 {
				n = thousands(s.runs[0].processes)
			}
			row(append([]string{n, s.title}, s.cells()...)...)
		}
	}
	return b.String()
}

func (s *series) cells() []string {
	back := s.recovery()
	cells := []string{
		thousands(len(s.runs)),
		s.median(func(r result) int { return len(r.hits) }),
		s.most(func(r result) int { return len(r.hits) }),
		s.median(func(r result) int { return r.probes }),
		s.median(func(r result) int { return r.reads }),
		s.median(func(r result) int { return r.writes }),
		s.median(func(r result) int { return r.lost }),
	}
	return append(cells, seconds(quantile(back, 0.5)), seconds(quantile(back, 0.99)))
}

// medianRun returns the run whose hits are the median, and its scenario.
func (s *series) medianRun() (scenario, result) {
	hits := func(r result) int { return len(r.hits) }
	i := slices.IndexFunc(s.results, func(r result) bool { return thousands(hits(r)) == s.median(hits) })
	return s.runs[i], s.results[i]
}

func (s *series) sorted(of func(result) int) (all []int) {
	for _, r := range s.results {
		all = append(all, of(r))
	}
	slices.Sort(all)
	return all
}

func (s *series) median(of func(result) int) string {
	all := s.sorted(of)
	return thousands(all[len(all)/2])
}

func (s *series) most(of func(result) int) string {
	all := s.sorted(of)
	return thousands(all[len(all)-1])
}

// recovery returns the recoveries of all processes of all runs.
func (s *series) recovery() (all []time.Duration) {
	for _, r := range s.results {
		all = append(all, r.recovery...)
	}
	slices.Sort(all)
	return all
}

// oneBroken says when the last process of a fleet has recovered, if one cannot reach the host.
func (r *report) oneBroken() string {
	var b strings.Builder
	b.WriteString("| processes that cannot reach the host | last process recovered: median | p90 | worst | within 40 s |\n|---|--:|--:|--:|--:|\n")
	for _, s := range r.broken {
		var last []time.Duration
		inTime := 0
		for _, result := range s.results {
			at := result.recovery[len(result.recovery)-1]
			last = append(last, at)
			if at <= soon {
				inTime++
			}
		}
		slices.Sort(last)
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %d of %d runs |\n", s.title,
			seconds(quantile(last, 0.5)), seconds(quantile(last, 0.9)), seconds(last[len(last)-1]), inTime, len(last))
	}
	return b.String()
}

func (r *report) oneOfMany() string {
	one, two := r.quorums[0].results[0], r.quorums[1].results[0]
	return fmt.Sprintf("With one such process of 1,000 and a healthy host, the others had %s of %s requests\n"+
		"refused with `Quorum: 1`, and %s with 2.\n",
		thousands(one.refused), thousands(one.sent), thousands(two.refused))
}

// month says how many reads hosts cost that are healthy.
func (r *report) month() string {
	const hours = 730
	var b strings.Builder
	b.WriteString("| circuits in use: hosts × processes | reads a month | with `Refresh: time.Minute` |\n|--:|--:|--:|\n")
	for _, n := range sizes[1:] {
		cells := []string{thousands(n)}
		for _, s := range r.healthy {
			reads := s.results[0].reads * hours * n / s.runs[0].processes
			cells = append(cells, millions(reads))
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	return b.String()
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// millions writes n with two digits that count.
func millions(n int) string {
	m := float64(n) / 1e6
	last := math.Pow10(int(math.Floor(math.Log10(m))) - 1)
	m = math.Round(m/last) * last
	if m < 10 {
		return fmt.Sprintf("%.3g million", m)
	}
	return thousands(int(m)) + " million"
}
