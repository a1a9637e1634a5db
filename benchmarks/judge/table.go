package main

import (
	"slices"
	"strings"

	"github.com/breakerhttp/breakerhttp/benchmarks/internal/report"
)

// String returns the whole table.
func (b *board) String() string {
	head := []string{"the host …", "measure"}
	for _, c := range b.contenders {
		head = append(head, c.title())
	}
	var rows [][]string
	for _, sc := range b.scenarios {
		title := sc.title
		for i, m := range sc.measures {
			row := []string{title, m.title}
			for _, c := range b.contenders {
				row = append(row, m.unit.format(b.mean(sc, i, c)))
			}
			rows = append(rows, append(row, m.bound.format(m.unit)))
			title = ""
		}
	}
	return report.Table(2, append(head, "Adaptive must"), rows)
}

// short are the rows of a short table, by scenario and measure.
var short = []struct {
	scenario string
	measure  int
}{{"hang", 0}, {"overload-queues-2", 0}, {"blip", 0}}

// inShort returns a table of few rows and columns.
func (b *board) inShort() string {
	var head []string
	var columns []*contender
	for _, c := range b.contenders {
		if c.short {
			columns = append(columns, c)
			head = append(head, strings.TrimSpace(c.by+" "+c.name))
		}
	}
	var rows [][]string
	for _, s := range short {
		i := slices.IndexFunc(b.scenarios, func(sc *scenario) bool { return sc.name == s.scenario })
		if i < 0 {
			continue
		}
		sc := b.scenarios[i]
		m := sc.measures[s.measure]
		row := []string{sc.title + ": " + m.title}
		for _, c := range columns {
			row = append(row, m.unit.format(b.mean(sc, s.measure, c)))
		}
		rows = append(rows, row)
	}
	return report.Table(1, append([]string{""}, head...), rows)
}
