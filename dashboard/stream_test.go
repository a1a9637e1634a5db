package dashboard_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/dashboard"
	"github.com/breakerhttp/breakerhttp/internal/pipetest"
)

// An event is one of a stream.
type event struct {
	id, name string
	Now      time.Time
	// what the tests look at
	Circuits []struct {
		Key, State string
		Totals     struct{ Success uint64 }
	}
	Removed     []string
	Transitions []struct {
		Key, To string
		Seq     uint64
	}
}

func (e event) keys() (keys []string) {
	for _, c := range e.Circuits {
		keys = append(keys, c.Key)
	}
	return keys
}

// A stream is what a client gets.
type stream struct {
	t      *testing.T
	body   io.ReadCloser
	lines  *bufio.Scanner
	cancel context.CancelFunc
}

func listen(t *testing.T, client *http.Client, url string, header ...string) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Fatalf("got %d, Content-Type %q, want 200, text/event-stream", resp.StatusCode, got)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<24)
	return &stream{t: t, body: resp.Body, lines: lines, cancel: cancel}
}

// next returns the next event, ok false at the end.
func (s *stream) next() (e event, ok bool) {
	s.t.Helper()
	for s.lines.Scan() {
		field, value, _ := strings.Cut(s.lines.Text(), ": ")
		switch field {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			if err := json.Unmarshal([]byte(value), &e); err != nil {
				s.t.Fatalf("%v: %.200s", err, value)
			}
		case "":
			return e, true
		default:
			s.t.Fatalf("unexpected line %q", s.lines.Text())
		}
	}
	return event{}, false
}

// want returns the next event, which is called name.
func (s *stream) want(name string) event {
	s.t.Helper()
	e, ok := s.next()
	if !ok || e.name != name {
		s.t.Fatalf("got event %q, %t, want %q", e.name, ok, name)
	}
	return e
}

// inBubble runs a test with a server for a Transport's events in a bubble.
func inBubble(t *testing.T, base http.RoundTripper, test func(*testing.T, *breakerhttp.Transport, *pipetest.Server), opts ...breakerhttp.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, base, opts...)
		test(t, tr, pipetest.NewServer(t, dashboard.Handler(tr)))
	})
}

func client(s *pipetest.Server) *http.Client { return &http.Client{Transport: s.Transport} }
