package main

import (
	"io"
	"os"
	"runtime"
	"time"

	"golang.org/x/term"
)

// A view shows events. Its methods are called one at a time.
type view interface {
	show(event)
	refresh() // ten times a second
	end(*summary)
}

func newView(o options, out io.Writer, b *board, f *feed) view {
	size := func() (width, height int) { return 100, 0 }
	file, ok := out.(*os.File)
	if ok = ok && term.IsTerminal(int(file.Fd())); ok {
		size = func() (width, height int) {
			width, height, err := term.GetSize(int(file.Fd()))
			if err != nil || width < 1 {
				return 80, 24
			}
			return width, height
		}
	}
	switch {
	case o.json:
		return newJSONLines(out)
	case o.plain, !ok, os.Getenv("NO_COLOR") != "", os.Getenv("TERM") == "dumb",
		runtime.GOOS == "windows" && os.Getenv("WT_SESSION") == "": // the old console knows no escape sequences
		width, _ := size()
		return newPlain(out, width)
	}
	return newLive(out, size, b, f)
}

// present hands the events on until done.
func present(f *feed, b *board, v view, done <-chan struct{}) {
	n := newNarrator()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for over := false; !over; {
		select {
		case <-ticker.C:
		case <-done:
			over = true
		}
		for _, e := range f.take() {
			e = n.caption(e)
			b.add(e)
			v.show(e)
		}
		v.refresh()
	}
}
