package main

import (
	"fmt"
	"io"
	"strings"
)

// A progress is a bar on a terminal, or lines elsewhere.
type progress struct {
	out      io.Writer
	terminal bool
	last     int // percent, as shown last
}

const barWidth = 40

func (p *progress) update(got, size int64) {
	if size <= 0 {
		return
	}
	percent := int(100 * got / size)
	if percent == p.last {
		return
	}
	step := 20
	if p.terminal {
		step = 1
	}
	if percent/step == p.last/step && percent < 100 {
		return
	}
	p.last = percent
	full := barWidth * percent / 100
	bar := strings.Repeat("█", full) + strings.Repeat("░", barWidth-full)
	if p.terminal {
		fmt.Fprintf(p.out, "\r%s %3d %%", bar, percent)
		if percent == 100 {
			fmt.Fprintln(p.out)
		}
		return
	}
	fmt.Fprintf(p.out, "%s %3d %%\n", bar, percent)
}

func (p *progress) note(format string, args ...any) {
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprintf(p.out, format+"\n", args...)
}
