package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
)

func TestPlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := played(t, faults())
		var out bytes.Buffer
		done := make(chan struct{})
		close(done)
		s.plain(&out, done)
		for _, want := range []string{
			"orders   its server is overloaded", "orders   OPEN for 2s: 5 failures in a row", "HALF-OPEN", "CLOSED",
			"  without breaker", "\nSpared failing servers ",
		} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("there is no %q in the output", want)
			}
		}
		if strings.Contains(out.String(), "\x1b") {
			t.Error("there are escape sequences in the output")
		}
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(line) - 1; n > plainWidth {
				t.Errorf("line has %d columns: %s", n, line)
			}
		}
		if t.Failed() {
			t.Log(out.String())
		}
	})
}

// TestLive: a terminal gets the picture and the story, and a key ends the show.
func TestLive(t *testing.T) {
	s, err := newShow(loopback, faults())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	s.tell(event{host: "orders", text: "this and that"})
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var out bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-ctx.Done()
	}()
	if err := s.live(&out, interrupt, done, tea.WithInput(strings.NewReader("q")), tea.WithWindowSize(80, 24)); err != nil {
		t.Fatal(err)
	}
	if ctx.Err() == nil {
		t.Error("a key has not interrupted the show")
	}
	for _, want := range []string{"this and that", "Spared failing servers"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got %q, want %q in it", out.String(), want)
		}
	}
}
