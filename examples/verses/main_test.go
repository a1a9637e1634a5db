package main

import (
	"bytes"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestBook(t *testing.T) {
	up := &service{}
	srv := httptest.NewServer(up)
	defer srv.Close()
	b, err := newBook(srv.URL, 50*time.Millisecond, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if verse, source, err := b.look("a"); verse != "verse of a" || source != "" || err != nil {
		t.Errorf("healthy: got %q from %q, %v", verse, source, err)
	}
	up.hangs.Store(true)
	for range 3 {
		if _, _, err := b.look("a"); err == nil {
			t.Error("a look-up in a service that hangs succeeded")
		}
	}
	if verse, source, err := b.look("a"); verse != "verse of a" || source != fromCache || err != nil {
		t.Errorf("open, known: got %q from %q, %v", verse, source, err)
	}
	if verse, source, err := b.look("b"); verse != defaultVerse || source != fromDefault || err != nil {
		t.Errorf("open, unknown: got %q from %q, %v", verse, source, err)
	}
}

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(&out, 50*time.Millisecond, 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]int{"failed": 3, "(from cache)": 1, "(from default)": 1, "verse of psalm-2": 1} {
		if got := strings.Count(out.String(), what); got != want {
			t.Errorf("got %q %d times, want %d:\n%s", what, got, want, out.String())
		}
	}
}
