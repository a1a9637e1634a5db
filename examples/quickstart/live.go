package main

import (
	"bufio"
	"fmt"
	"io"
	"time"
)

// A live view draws the board in a terminal, again and again.
type live struct {
	out    *bufio.Writer
	size   func() (width, height int)
	board  *board
	feed   *feed
	events []event // with a text
}

// The terminal's alternate screen leaves what was there before untouched.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	beginFrame  = "\x1b[?2026h\x1b[H" // shown as a whole, where the terminal can do that
	endLine     = "\x1b[K"
	endFrame    = "\x1b[J\x1b[?2026l"
)

func newLive(out io.Writer, size func() (int, int), b *board, f *feed) *live {
	l := &live{out: bufio.NewWriter(out), size: size, board: b, feed: f}
	_, _ = l.out.WriteString(enterScreen)
	return l
}

func (l *live) show(e event) {
	if e.Text != "" {
		l.events = append(l.events, e)
	}
}

func (l *live) refresh() {
	width, height := l.size()
	_, _ = l.out.WriteString(beginFrame)
	for i, line := range l.frame(width, height) {
		if i > 0 {
			_, _ = l.out.WriteString("\r\n")
		}
		_, _ = l.out.WriteString(line.clip(width).render(true) + endLine)
	}
	_, _ = l.out.WriteString(endFrame)
	_ = l.out.Flush()
}

// end gives the terminal back, and tells the story once more: it has left with
// the screen.
func (l *live) end(s *summary) {
	_, _ = l.out.WriteString(leaveScreen)
	_ = l.out.Flush()
	width, _ := l.size()
	var lines []line
	for _, e := range l.events {
		lines = append(lines, caption(e, width)...)
	}
	for _, line := range append(append(lines, nil), s.lines(width)...) {
		_, _ = l.out.WriteString(line.render(true) + "\n")
	}
	_ = l.out.Flush()
}

// frame is the screen: the board on top, what has happened last under it, and
// what the breakers have saved so far at the bottom.
func (l *live) frame(width, height int) []line {
	top := append([]line{l.title(width), nil}, l.board.picture(width)...)
	top = append(top, nil)
	bottom := []line{nil}
	for _, t := range wrap(l.board.saved(), width) {
		bottom = append(bottom, styled(bold, t))
	}

	var story []line
	for _, e := range l.events {
		story = append(story, caption(e, width)...)
	}
	room := max(height-len(top)-len(bottom), 0)
	story = story[max(len(story)-room, 0):]
	for len(story) < room {
		story = append(story, nil)
	}
	lines := append(append(top, story...), bottom...)
	return lines[:min(len(lines), height)]
}

func (l *live) title(width int) line {
	at := min(l.feed.elapsed(), l.board.length)
	clock := fmt.Sprintf("%.1f of %s", at.Truncate(100*time.Millisecond).Seconds(), period(l.board.length))
	name := "breakerhttp: a circuit breaker for every host"
	short := "breakerhttp"
	if l.board.page != "" {
		name, short = "breakerhttp, live at "+l.board.page, l.board.page
	}
	if width < len(name)+2+len(clock) {
		name = short
	}
	return line{{bold, name}, {faint, fmt.Sprintf("%*s", width-len(name), clock)}}
}
