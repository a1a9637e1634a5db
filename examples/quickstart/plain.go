package main

import (
	"encoding/json"
	"fmt"
	"io"
)

// A plain view writes a line for each event in words, and for the first request
// of each streak of like ones.
type plain struct {
	out     io.Writer
	width   int
	streaks map[string]*streak // by host
}

// A streak is requests to a host that went alike, one after the other.
type streak struct {
	outcome outcome
	more    int // than the first
}

func newPlain(out io.Writer, width int) *plain {
	return &plain{out: out, width: width, streaks: map[string]*streak{}}
}

func (p *plain) show(e event) {
	switch {
	case e.Text != "":
		p.print(e)
	case e.Type == requestEvent && !e.twin && e.Outcome != interrupted:
		p.request(e)
	}
}

func (p *plain) request(e event) {
	r := p.streaks[e.Host]
	if r != nil && r.outcome == e.Outcome {
		r.more++
		return
	}
	if r != nil && r.more > 0 {
		p.print(event{At: e.At, Host: e.Host, Text: fmt.Sprintf("%d more %s", r.more, r.outcome)})
	}
	p.streaks[e.Host] = &streak{outcome: e.Outcome}
	e.Text = inWords(e.request)
	p.print(e)
}

func inWords(r *request) string {
	ms := r.Seconds * 1000
	switch {
	case r.Outcome == answered:
		return fmt.Sprintf("request answered in %.0fms", ms)
	case r.Outcome == failed && r.Sent > 1:
		return fmt.Sprintf("request failed after %d attempts in %.0fms: %s", r.Sent, ms, r.Error)
	case r.Outcome == failed:
		return fmt.Sprintf("request failed after %.0fms: %s", ms, r.Error)
	case r.Sent > 0:
		return fmt.Sprintf("request refused on a retry, after %.0fms", ms)
	}
	return "request refused at once, not sent"
}

func (p *plain) print(e event) {
	for _, l := range caption(e, p.width) {
		_, _ = fmt.Fprintln(p.out, l.render(false))
	}
}

func (p *plain) refresh() {}

func (p *plain) end(s *summary) {
	for _, l := range append([]line{nil}, s.lines(p.width)...) {
		_, _ = fmt.Fprintln(p.out, l.render(false))
	}
}

// A jsonLines view writes each event, and the summary, as a JSON object on a
// line of its own.
type jsonLines struct{ *json.Encoder }

func newJSONLines(out io.Writer) jsonLines {
	j := jsonLines{json.NewEncoder(out)}
	j.SetEscapeHTML(false)
	return j
}

func (j jsonLines) show(e event) {
	if !e.twin {
		_ = j.Encode(e)
	}
}

func (j jsonLines) refresh() {}

func (j jsonLines) end(s *summary) {
	_ = j.Encode(s)
}
