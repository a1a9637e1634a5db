package main

import (
	"os"
	"runtime"
	"strings"
	"unicode/utf8"
)

// A style is a Select Graphic Rendition of terminals.
type style string

const (
	plainText style = ""
	bold      style = "1"
	faint     style = "2"
	red       style = "31"
	green     style = "32"
	yellow    style = "33"
	cyan      style = "36"
)

// A line is text in styles, one rune a column.
type line []span

type span struct {
	style style
	text  string
}

func text(s string) line            { return line{{plainText, s}} }
func styled(s style, t string) line { return line{{s, t}} }

func (l line) width() int {
	n := 0
	for _, s := range l {
		n += utf8.RuneCountInString(s.text)
	}
	return n
}

// clip returns no more than width columns of l.
func (l line) clip(width int) line {
	var out line
	for _, s := range l {
		r := []rune(s.text)
		if len(r) > width {
			r = r[:max(width, 0)]
		}
		out = append(out, span{s.style, string(r)})
		width -= len(r)
	}
	return out
}

// render returns l as a terminal takes it, or without styles.
func (l line) render(color bool) string {
	var b strings.Builder
	for _, s := range l {
		if color && s.style != plainText && s.text != "" {
			b.WriteString("\x1b[" + string(s.style) + "m" + s.text + "\x1b[0m")
		} else {
			b.WriteString(s.text)
		}
	}
	return b.String()
}

// wrap breaks text into lines of no more than width columns, between words.
func wrap(text string, width int) []string {
	var lines []string
	var last string
	for word := range strings.FieldsSeq(text) {
		switch {
		case last == "":
			last = word
		case utf8.RuneCountInString(last)+1+utf8.RuneCountInString(word) <= width:
			last += " " + word
		default:
			lines = append(lines, last)
			last = word
		}
	}
	if last != "" {
		lines = append(lines, last)
	}
	return lines
}

// speaksUTF8 reports whether the terminal shows more than ASCII.
func speaksUTF8() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToUpper(os.Getenv(name)); v != "" {
			return strings.Contains(v, "UTF-8") || strings.Contains(v, "UTF8")
		}
	}
	return runtime.GOOS == "windows" || runtime.GOOS == "darwin"
}
