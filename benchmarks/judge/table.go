package main

import (
	"fmt"
	"strings"
)

// String is the table.
func (b *board) String() string {
	head := []string{"", ""}
	for _, c := range b.contenders {
		head = append(head, c.title())
	}
	rows := [][]string{append(head, "Adaptive must")}
	for _, sc := range b.scenarios {
		title := sc.title
		for i, m := range sc.measures {
			row := []string{title, m.title}
			for _, c := range b.contenders {
				row = append(row, m.unit.format(b.figures[sc][c][i].mean()))
			}
			rows = append(rows, append(row, m.bound.format(m.unit)))
			title = ""
		}
	}
	return table(rows)
}

// table writes Markdown, whose first two columns are text.
func table(rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(&b, "|---|---%s|\n", strings.Repeat("|--:", len(row)-2))
		}
	}
	return b.String()
}
