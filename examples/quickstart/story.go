package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

const opening = "One http.Client asks five servers for their pages. It has a circuit breaker for each: " +
	"all circuits are closed, every request is sent."

// A narrator says in words what circuits do.
type narrator struct {
	refused map[string]int // by host, since its circuit opened
	told    bool           // what half-open means
}

func newNarrator() *narrator { return &narrator{refused: map[string]int{}} }

// caption returns e with a text, if it is to have one.
func (n *narrator) caption(e event) event {
	switch {
	case e.Type == requestEvent && e.Outcome == refused && !e.twin:
		n.refused[e.Host]++
	case e.Type == transitionEvent:
		e.Text = n.tell(e.Host, e.Transition)
	}
	return e
}

func (n *narrator) tell(host string, t *transition) string {
	switch {
	case t.To == breakerhttp.StateClosed:
		return fmt.Sprintf("%s -> CLOSED: all requests are sent again. %s refused meanwhile.", t.Detail, were(n.refused[host]))
	case t.To == breakerhttp.StateHalfOpen:
		text := "the time is over -> HALF-OPEN: a probe is sent"
		if !n.told {
			text = "the time is over -> HALF-OPEN: one request is sent as a probe, all others are still refused"
		}
		n.told = true
		return text
	case t.From == breakerhttp.StateHalfOpen:
		return fmt.Sprintf("%s -> OPEN again, now for %s", t.Detail, period(t.OpenFor))
	}
	n.refused[host] = 0
	return fmt.Sprintf("%s -> OPEN for %s: requests are refused at once, nothing is sent", t.Detail, period(t.OpenFor))
}

func were(n int) string {
	if n == 1 {
		return "1 request was"
	}
	return strconv.Itoa(n) + " requests were"
}

// period is a duration in seconds: "2s", "0.35s".
func period(d time.Duration) string {
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.2f", d.Seconds()), "0"), ".") + "s"
}

// caption is an event in words.
func caption(e event, width int) []line {
	head := fmt.Sprintf("%5.1fs  %-*s", e.At, hostWidth, e.Host)
	texts, indent := wrap(e.Text, width-len(head)), len(head)
	if width < roomy { // the text goes under its head
		head = strings.Join(strings.Fields(head), " ") + " "
		texts, indent = wrap(head+e.Text, width-2), 2
		texts[0] = strings.TrimPrefix(texts[0], head)
	}
	lines := []line{{{bold, head}, {e.style(), texts[0]}}}
	for _, t := range texts[1:] {
		lines = append(lines, line{{plainText, strings.Repeat(" ", indent)}, {e.style(), t}})
	}
	return lines
}

func (e event) style() style {
	switch {
	case e.Type == upstreamEvent:
		return cyan
	case e.Type != transitionEvent:
		return plainText
	case e.Transition.To == breakerhttp.StateOpen:
		return red
	case e.Transition.To == breakerhttp.StateHalfOpen:
		return yellow
	}
	return green
}
