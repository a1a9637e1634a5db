package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

func TestPictureFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := played(t, faults())
		s.page = "http://127.0.0.1:12345/"
		story := s.take()
		for width := 60; width <= 200; width += 4 {
			picture := s.picture(width)
			for _, e := range story {
				picture += "\n" + e.line(width)
			}
			if got := lipgloss.Width(picture); got > width {
				t.Errorf("got %d columns, want at most %d:\n%s", got, width, ansi.Strip(picture))
			}
			if numbers := strings.Contains(picture, "answered   failed"); numbers != (width >= 72) {
				t.Errorf("%d columns: got numbers %t, want them from 72 columns on", width, numbers)
			}
		}
	})
}

// TestPictureAlways looks at the circuits all the time: a look can change them.
func TestPictureAlways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := newShow(newPipes(), faults())
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		ended := make(chan error, 1)
		go func() { ended <- s.play(t.Context(), false) }()
		for {
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
				return
			case <-time.After(50 * time.Millisecond):
				s.picture(80)
			}
		}
	})
}

// TestPictureEarly: nothing is known yet.
func TestPictureEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := newShow(newPipes(), faults())
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		want := "Spared failing servers 0 requests, and callers 0 s of waiting."
		if got := ansi.Strip(s.picture(80)); !strings.HasSuffix(got, want) {
			t.Errorf("got %s\nwant %q at the end", got, want)
		}
	})
}

func TestStrip(t *testing.T) {
	s := &show{scenario: scenario{length: 10 * time.Second}}
	l := &lane{client: &client{}}
	for _, m := range []struct {
		at       time.Duration // in seconds
		outcomes []outcome
	}{
		{1, []outcome{answered}},
		{2, []outcome{answered, refused, refused}},
		{3, []outcome{failed, refused}},
		{4, []outcome{answered, failed, failed, failed}},
		{5, []outcome{refused}},
		{12, []outcome{answered}}, // the last request may be made when the time is over
	} {
		for _, o := range m.outcomes {
			l.marks = append(l.marks, mark{m.at * time.Second, o})
		}
	}
	if got, want := ansi.Strip(s.strip(l, 10)), " ▇▃×▂·   ▇"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
