package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// A board is what is known of each host, as a picture.
type board struct {
	length time.Duration
	rows   []*row
	look   func(host string) breakerhttp.Snapshot
	glyphs map[outcome]span
	page   string // its URL, with -serve
}

var (
	blocks  = map[outcome]span{answered: {green, "▇"}, failed: {red, "×"}, refused: {yellow, "·"}, "": {plainText, " "}}
	letters = map[outcome]span{answered: {green, "o"}, failed: {red, "x"}, refused: {yellow, "-"}, "": {plainText, " "}}
)

type row struct {
	host          string
	marks         []mark
	with, without tally // breakers
}

// A mark is a request on a strip, where it was made.
type mark struct {
	at      time.Duration
	outcome outcome
}

func markOf(e event) mark {
	m := mark{time.Duration((e.At - e.Seconds) * float64(time.Second)), e.Outcome}
	if e.Outcome == refused && e.Sent > 0 {
		m.outcome = failed // only a retry was refused
	}
	return m
}

func newBoard(s scenario, look func(host string) breakerhttp.Snapshot) *board {
	b := &board{length: s.length, look: look, glyphs: letters}
	if speaksUTF8() {
		b.glyphs = blocks
	}
	for _, h := range s.hosts {
		b.rows = append(b.rows, &row{host: h.name})
	}
	return b
}

func (b *board) add(e event) {
	for _, r := range b.rows {
		switch {
		case e.request == nil || r.host != e.Host:
		case e.twin:
			r.without.add(e.request)
		default:
			r.with.add(e.request)
			r.marks = append(r.marks, markOf(e))
		}
	}
}

// The columns of a picture: host, circuit, strip, and three numbers where there
// is room for them.
const (
	hostWidth    = 9
	circuitWidth = 11
	numberWidth  = 9
	roomy        = 72 // columns, from which on there are numbers
	maxStrip     = 66 // columns, up to which there is a request in each
)

// picture draws the board: a line for each host, with a strip of its requests
// over time.
func (b *board) picture(width int) []line {
	strip := width - hostWidth - circuitWidth
	numbers := width >= roomy
	if numbers {
		strip -= 3 * numberWidth
	}
	strip = max(min(strip, maxStrip), 1)
	head := fmt.Sprintf("%-*s%-*s%-*.*s", hostWidth, "host", circuitWidth, "circuit", strip, strip, "requests over time")
	if numbers {
		head += fmt.Sprintf("%*s%*s%*s", numberWidth, "answered", numberWidth, "in vain", numberWidth, "refused")
	}
	lines := []line{styled(faint, head)}
	for _, r := range b.rows {
		l := line{{bold, fmt.Sprintf("%-*s", hostWidth, r.host)}, b.circuit(r.host)}
		l = append(l, b.strip(r.marks, strip)...)
		if numbers {
			l = append(l,
				span{green, fmt.Sprintf("%*d", numberWidth, r.with.Answered)},
				span{red, fmt.Sprintf("%*d", numberWidth, r.with.InVain)},
				span{yellow, fmt.Sprintf("%*d", numberWidth, r.with.Refused)})
		}
		lines = append(lines, l)
	}
	lines = append(lines, styled(faint, strings.Repeat(" ", hostWidth+circuitWidth)+b.axis(strip)))
	return append(lines, b.legend(width))
}

func (b *board) legend(width int) line {
	long := line{
		b.glyphs[answered],
		{faint, " answered   "},
		b.glyphs[failed],
		{faint, " sent in vain   "},
		b.glyphs[refused],
		{faint, " refused at once, not sent"},
	}
	if long.width() <= width {
		return long
	}
	return line{
		b.glyphs[answered],
		{faint, " answered  "},
		b.glyphs[failed],
		{faint, " in vain  "},
		b.glyphs[refused],
		{faint, " refused"},
	}
}

// circuit shows the state of a host's circuit, and how long it stays open.
func (b *board) circuit(host string) span {
	snap := b.look(host)
	s := span{green, "closed"}
	switch snap.State {
	case breakerhttp.StateOpen:
		s = span{red, fmt.Sprintf("OPEN %.1fs", max(time.Until(snap.Until).Seconds(), 0))}
	case breakerhttp.StateHalfOpen:
		s = span{yellow, "half-open"}
	}
	s.text = fmt.Sprintf("%-*s", circuitWidth, s.text)
	return s
}

// strip draws a column for each share of the time: what was sent in it, or else
// that it was refused.
func (b *board) strip(marks []mark, width int) line {
	cells := make([]outcome, width)
	rank := map[outcome]int{refused: 1, answered: 2, failed: 3} // interrupted: not drawn
	for _, m := range marks {
		i := min(int(m.at*time.Duration(len(cells))/b.length), len(cells)-1)
		if rank[m.outcome] > rank[cells[i]] {
			cells[i] = m.outcome
		}
	}
	var l line
	for _, c := range cells {
		g := b.glyphs[c]
		if n := len(l); n > 0 && l[n-1].style == g.style {
			l[n-1].text += g.text
		} else {
			l = append(l, g)
		}
	}
	return l
}

// axis labels the columns of a strip with the time.
func (b *board) axis(width int) string {
	const steps = 4
	var s strings.Builder
	for i := range steps {
		at := b.length * time.Duration(i) / steps
		fmt.Fprintf(&s, "%-*s", (i+1)*width/steps-i*width/steps, period(at))
	}
	return strings.TrimRight(s.String(), " ")
}
