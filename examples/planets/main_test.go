package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestAPI(t *testing.T) {
	up := &upstream{}
	planets := httptest.NewServer(up)
	defer planets.Close()
	var logged bytes.Buffer
	handler, err := newAPI(planets.URL, time.Minute, slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	call := func() (answer, *httptest.ResponseRecorder) {
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
		var got answer
		if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
			t.Fatalf("answer %q: %v", rec.Body, err)
		}
		if got.StatusCode != rec.Code {
			t.Errorf("status_code is %d, want the status %d", got.StatusCode, rec.Code)
		}
		return got, rec
	}

	if got, rec := call(); rec.Code != 200 || !got.Success || !strings.Contains(string(got.Data), "Tatooine") {
		t.Errorf("healthy: got %d %+v", rec.Code, got)
	}
	up.down.Store(true)
	for range 5 {
		if got, rec := call(); rec.Code != 503 || got.Success || !strings.HasPrefix(got.Message, "Request failed: ") {
			t.Errorf("failing: got %d %+v", rec.Code, got)
		}
	}
	hits := up.hits.Load()
	got, rec := call()
	if rec.Code != 503 || got.Success || !strings.HasPrefix(got.Message, "Circuit breaker active: 5 failures in a row") {
		t.Errorf("open: got %d %+v", rec.Code, got)
	}
	if after := rec.Header().Get("Retry-After"); after != "60" {
		t.Errorf("open: got Retry-After %q, want 60", after)
	}
	if up.hits.Load() != hits {
		t.Error("open: the upstream was called")
	}
	for _, want := range []string{"request failed", "circuit open"} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, logged.String())
		}
	}
}

// TestUnknownRetryAfter: while a probe is under way, nobody knows when the circuit will close.
func TestUnknownRetryAfter(t *testing.T) {
	var requests atomic.Int64
	probing, ended := make(chan struct{}), make(chan struct{})
	planets := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) > 5 {
			close(probing)
			<-ended
		}
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer planets.Close()
	defer close(ended)
	handler, err := newAPI(planets.URL, time.Nanosecond, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	call := func() *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
		return rec
	}
	for range 5 {
		call()
	}
	go call()
	<-probing
	rec := call()
	if after := rec.Header()["Retry-After"]; rec.Code != 503 || after != nil || requests.Load() != 6 {
		t.Errorf("got status %d, Retry-After %q, %d requests, want 503, none, 6", rec.Code, after, requests.Load())
	}
}

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(&out, slog.New(slog.NewTextHandler(io.Discard, nil)), 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]int{`"success":true`: 3, "Request failed": 5, "Circuit breaker active": 2, "upstream called: false": 2} {
		if got := strings.Count(out.String(), what); got != want {
			t.Errorf("got %q %d times, want %d:\n%s", what, got, want, out.String())
		}
	}
}
