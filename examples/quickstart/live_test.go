package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// played returns a live view, in the middle of a story.
func played(out *bytes.Buffer, width, height int) *live {
	s := newScenario(defaultLength, 1)
	b := newBoard(s, func(host string) breakerhttp.Snapshot {
		return breakerhttp.Snapshot{State: breakerhttp.StateOpen, Until: time.Now().Add(time.Minute)}
	})
	b.glyphs = blocks
	v := newLive(out, func() (int, int) { return width, height }, b, &feed{start: time.Now()})
	n := newNarrator()
	for i, h := range s.hosts {
		at := float64(i)
		for _, e := range []event{
			{Type: upstreamEvent, At: at, Host: h.name, Text: hanging.begins},
			{Type: requestEvent, At: at, Host: h.name, request: &request{Outcome: answered, Sent: 1}},
			{Type: requestEvent, At: at + 5, Host: h.name, request: &request{Outcome: failed, Sent: 3}},
			{Type: transitionEvent, At: at + 5, Host: h.name, Transition: &transition{
				To: breakerhttp.StateOpen, Detail: "5 failures in a row, last: timeout", OpenFor: time.Second,
			}},
			{Type: requestEvent, At: at + 10, Host: h.name, request: &request{Outcome: refused}},
		} {
			e = n.caption(e)
			b.add(e)
			v.show(e)
		}
	}
	return v
}

func TestFrameFits(t *testing.T) {
	for width := 20; width <= 220; width += 4 {
		for _, height := range []int{1, 8, 15, 24, 60} {
			var out bytes.Buffer
			v := played(&out, width, height)
			lines := v.frame(width, height)
			if len(lines) > height {
				t.Errorf("%dx%d: frame has %d lines", width, height, len(lines))
			}
			v.refresh()
			for _, l := range lines {
				if width >= 40 && l.width() > width {
					t.Errorf("%dx%d: line is %d wide: %s", width, height, l.width(), l.render(false))
				}
			}
			if height >= 24 && width >= 40 {
				last := lines[len(lines)-1].render(false)
				if !strings.HasSuffix(last, "s.") {
					t.Errorf("%dx%d: last line is %q, want what has been saved", width, height, last)
				}
			}
		}
	}
}

func TestStrip(t *testing.T) {
	var out bytes.Buffer
	v := played(&out, 80, 24)
	got := v.board.strip(v.board.rows[1].marks, 20)
	if want := " ▇    ×    ·        "; got.render(false) != want {
		t.Errorf("got strip %q, want %q", got.render(false), want)
	}
}

// TestTerminal checks that the terminal gets back what it has lent.
func TestTerminal(t *testing.T) {
	var out bytes.Buffer
	v := played(&out, 80, 24)
	v.refresh()
	v.end(&summary{board: v.board})
	got := out.String()
	for on, off := range map[string]string{"\x1b[?1049h": "\x1b[?1049l", "\x1b[?25l": "\x1b[?25h", "\x1b[?2026h": "\x1b[?2026l"} {
		if strings.Count(got, on) != 1 || strings.LastIndex(got, off) < strings.Index(got, on) {
			t.Errorf("%q is not followed by %q, once", on, off)
		}
	}
	after := got[strings.LastIndex(got, leaveScreen):]
	if !strings.Contains(after, "OPEN for 1s") {
		t.Error("the story is lost with the screen")
	}
}
