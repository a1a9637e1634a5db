package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"github.com/breakerhttp/breakerhttp"
)

var (
	bold   = lipgloss.NewStyle().Bold(true)
	faint  = lipgloss.NewStyle().Faint(true)
	red    = lipgloss.NewStyle().Foreground(lipgloss.Red)
	green  = lipgloss.NewStyle().Foreground(lipgloss.Green)
	yellow = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	cyan   = lipgloss.NewStyle().Foreground(lipgloss.Cyan)
)

// The columns of the picture: host, circuit, requests over time, and three
// numbers where there is room for them.
const (
	hostWidth    = 9
	circuitWidth = 11
	numberWidth  = 9
	roomy        = 72 // columns, from which on there are numbers
	maxStrip     = 66 // columns for the requests
)

// picture draws what is known: a line for each lane. It needs 60 columns.
func (s *show) picture(width int) string {
	names := make([]string, len(s.lanes))
	for i, l := range s.lanes {
		names[i] = s.name(l) // without the lock: a look at a circuit can call its hook
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	strip, numbers := width-hostWidth-circuitWidth, width >= roomy
	if numbers {
		strip -= 3 * numberWidth
	}
	strip = max(min(strip, maxStrip), 10)

	lines := s.title(width)
	first := "host"
	if len(s.policies) > 1 {
		first = "policy"
	}
	head := fmt.Sprintf("%-*s%-*s%-*.*s", hostWidth, first, circuitWidth, "circuit", strip, strip, "requests over time")
	if numbers {
		head += fmt.Sprintf("%*s%*s%*s", numberWidth, "answered", numberWidth, "failed", numberWidth, "refused")
	}
	lines = append(lines, faint.Render(head))
	for i, l := range s.lanes {
		if len(s.policies) > 1 && l.client == s.clients[0] {
			lines = append(lines, bold.Render(l.host))
		}
		line := names[i] + s.strip(l, strip)
		if numbers {
			line += l.numbers()
		}
		lines = append(lines, line)
	}
	lines = append(lines,
		faint.Render(strings.Repeat(" ", hostWidth+circuitWidth)+s.axis(strip)),
		green.Render("▇")+faint.Render(" answered   ")+red.Render("×")+faint.Render(" failed   ")+
			yellow.Render("·")+faint.Render(" refused, not sent"),
		"",
		bold.Render(lipgloss.Wrap(s.summary(), width, "")))
	return strings.Join(lines, "\n")
}

func (s *show) title(width int) []string {
	const name = "breakerhttp: a circuit breaker for every host"
	clock := fmt.Sprintf("%.1f of %v", min(time.Since(s.began), s.length).Seconds(), s.length)
	lines := []string{bold.Render(name) + faint.Render(fmt.Sprintf("%*s", width-len(name), clock))}
	if s.page != "" {
		lines = append(lines, "live at "+s.page)
	}
	return append(lines, "")
}

// name shows the host, or the policy where there are several, and the circuit's state.
func (s *show) name(l *lane) string {
	if l.breaker == nil {
		return faint.Render(fmt.Sprintf("%-*s", hostWidth+circuitWidth, "  without breaker"))
	}
	snap, _ := l.breaker.Snapshot("http://" + l.host)
	style, text := green, "closed"
	switch {
	case snap.State == breakerhttp.StateHalfOpen:
		style, text = yellow, "half-open"
	case snap.State == breakerhttp.StateOpen && snap.Forced:
		style, text = red, "OPEN"
	case snap.State == breakerhttp.StateOpen:
		style, text = red, fmt.Sprintf("OPEN %.1fs", max(time.Until(snap.Until).Seconds(), 0))
	}
	name := bold.Render(fmt.Sprintf("%-*s", hostWidth, l.host))
	if len(s.policies) > 1 {
		name = fmt.Sprintf("%-*s", hostWidth, l.policy)
	}
	return name + style.Render(fmt.Sprintf("%-*s", circuitWidth, text))
}

// strip draws a column for each share of the time. Its height is the share of
// requests that were answered; it is red if one failed.
func (s *show) strip(l *lane, width int) string {
	cells := make([]tally, width)
	for _, m := range l.marks {
		i := min(int(m.at*time.Duration(width)/s.length), width-1)
		cells[i].count[m.outcome]++
	}
	var strip strings.Builder
	for _, c := range cells {
		style, glyph := c.glyph()
		strip.WriteString(style.Faint(l.breaker == nil).Render(glyph))
	}
	return strip.String()
}

func (t tally) glyph() (lipgloss.Style, string) {
	style := green
	if t.count[failed] > 0 {
		style = red
	}
	switch all := t.count[refused] + t.count[answered] + t.count[failed]; {
	case all == 0:
		return style, " "
	case t.count[answered] > 0:
		const bars = 7
		return style, string('▁' + rune((bars-1)*t.count[answered]/all))
	case t.count[failed] > 0:
		return style, "×"
	}
	return yellow, "·"
}

func (l *lane) numbers() string {
	number := func(style lipgloss.Style, o outcome) string {
		return style.Faint(l.breaker == nil).Render(fmt.Sprintf("%*d", numberWidth, l.tally.count[o]))
	}
	return number(green, answered) + number(red, failed) + number(yellow, refused)
}

// axis labels the columns of a strip with the time.
func (s *show) axis(width int) string {
	const steps = 4
	var axis strings.Builder
	for i := range steps {
		fmt.Fprintf(&axis, "%-*v", (i+1)*width/steps-i*width/steps, s.length*time.Duration(i)/steps)
	}
	return strings.TrimRight(axis.String(), " ")
}

// summary says what the circuit breakers were good for.
func (s *show) summary() string {
	sums := map[*client]tally{}
	for _, l := range s.lanes {
		sum := sums[l.client]
		for o, n := range l.tally.count {
			sum.count[o] += n
		}
		sum.waited += l.tally.waited
		sums[l.client] = sum
	}
	with, without := sums[s.clients[0]], sums[s.clients[len(s.clients)-1]]
	if len(s.policies) == 1 {
		return fmt.Sprintf("Spared failing servers %d requests, and callers %.0f s of waiting.",
			without.count[failed]-with.count[failed], max(without.waited-with.waited, 0).Seconds())
	}
	answers, waits := make([]string, len(s.clients)), make([]string, len(s.clients))
	for i, c := range s.clients {
		name := cmp.Or(c.policy, "without breaker")
		answers[i] = fmt.Sprintf("%s %d", name, sums[c].count[answered])
		waits[i] = fmt.Sprintf("%s %.0f s", name, sums[c].waited.Seconds())
	}
	return fmt.Sprintf("Answered: %s. Waited: %s.", strings.Join(answers, ", "), strings.Join(waits, ", "))
}

// line is an event in words.
func (e event) line(width int) string {
	style := cyan
	if e.state != nil {
		style = map[breakerhttp.State]lipgloss.Style{
			breakerhttp.StateClosed: green, breakerhttp.StateOpen: red, breakerhttp.StateHalfOpen: yellow,
		}[*e.state]
	}
	head := fmt.Sprintf("%5.1fs  %-*s", e.at.Seconds(), hostWidth, e.host)
	text := strings.Split(lipgloss.Wrap(e.text, width-len(head), ""), "\n")
	for i := range text {
		text[i] = style.Render(text[i])
	}
	return bold.Render(head) + strings.Join(text, "\n"+strings.Repeat(" ", len(head)))
}
