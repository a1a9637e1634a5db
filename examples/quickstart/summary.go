package main

import (
	"fmt"
	"time"
)

// A summary is what is left in the end.
type summary struct {
	Type    string        `json:"type"` // "summary"
	Seconds float64       `json:"seconds"`
	Hosts   []hostSummary `json:"hosts"`
	Metrics []sample      `json:"metrics"`
	Trace   []step        `json:"trace"`

	board *board
}

type hostSummary struct {
	Host    string `json:"host"`
	State   string `json:"state"`
	With    tally  `json:"with_breakers"`
	Without tally  `json:"without_breakers"`
}

// newSummary sums up. On an error, it is without metrics.
func newSummary(b *board, elapsed time.Duration, t *telemetry) (*summary, error) {
	samples, err := t.samples()
	s := &summary{Type: "summary", Seconds: elapsed.Seconds(), Metrics: samples, Trace: t.trace(), board: b}
	for _, r := range b.rows {
		s.Hosts = append(s.Hosts, hostSummary{r.host, b.look(r.host).State.String(), r.with, r.without})
	}
	return s, err
}

// lines lays the summary out, with what matters most at the bottom: there a
// terminal shows it.
func (s *summary) lines(width int) []line {
	hosts := make([]string, len(s.Hosts))
	for i, h := range s.Hosts {
		hosts[i] = h.Host
	}
	parts := [][]line{
		traceLines(s.Trace, width),
		append([]line{styled(bold, "Exported metrics, counting attempts")}, table(hosts, metricRows(s.Metrics), width)...),
		table(hosts, s.twinRows(), width),
		s.board.picture(width),
	}
	var lines []line
	for _, p := range parts {
		lines = append(append(lines, p...), nil)
	}
	for _, t := range wrap(s.board.saved(), width) {
		lines = append(lines, styled(bold, t))
	}
	return lines
}

// twinRows compare with the client that has no breakers.
func (s *summary) twinRows() []tableRow {
	vain, vainTwin := map[string]string{}, map[string]string{}
	waited, waitedTwin := map[string]string{}, map[string]string{}
	for _, h := range s.Hosts {
		vain[h.Host], vainTwin[h.Host] = fmt.Sprint(h.With.InVain), fmt.Sprint(h.Without.InVain)
		waited[h.Host], waitedTwin[h.Host] = fmt.Sprintf("%.1fs", h.With.Seconds), fmt.Sprintf("%.1fs", h.Without.Seconds)
	}
	return []tableRow{
		{label: "Requests sent in vain, with retries"},
		{"with breakers", vain},
		{"without", vainTwin},
		{label: "Time that callers waited"},
		{"with breakers", waited},
		{"without", waitedTwin},
	}
}

// A tableRow is a heading, or has a cell for each host.
type tableRow struct {
	label string
	cells map[string]string // nil: a heading
}

// table sets hosts side by side: as many as there is room for, then the others
// below.
func table(hosts []string, rows []tableRow, width int) []line {
	label := 0
	for _, r := range rows {
		if r.cells != nil {
			label = max(label, len(r.label)+2)
		}
	}
	var lines []line
	for len(hosts) > 0 {
		n := min(max((width-label)/numberWidth, 1), len(hosts))
		some := hosts[:n]
		hosts = hosts[n:]

		head := fmt.Sprintf("%*s", label, "")
		for _, h := range some {
			head += fmt.Sprintf("%*s", numberWidth, h)
		}
		lines = append(lines, styled(faint, head))
		for _, r := range rows {
			if r.cells == nil {
				lines = append(lines, styled(bold, r.label))
				continue
			}
			l := fmt.Sprintf("%-*s", label, "  "+r.label)
			for _, h := range some {
				l += fmt.Sprintf("%*s", numberWidth, r.cells[h])
			}
			lines = append(lines, text(l))
		}
	}
	return lines
}
