package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(context.Background(), &out, 1<<20, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]int{"broke off": 3, "is refused": 1, "right ones: true": 1, "the first mirror is not sent": 1} {
		if got := strings.Count(out.String(), what); got != want {
			t.Errorf("got %q %d times, want %d:\n%s", what, got, want, out.String())
		}
	}
}

// TestHangingMirror: a mirror that stops in the middle of a stream has failed.
func TestHangingMirror(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "begin")
		w.(http.Flusher).Flush()
		<-req.Context().Done()
	}))
	defer srv.Close()
	client, err := newClient(50*time.Millisecond, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	for i := range 3 {
		resp, err := client.Get(srv.URL)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
			t.Errorf("request %d: got %v, want a time-out", i, err)
		}
	}
	if _, err := client.Get(srv.URL); !errors.Is(err, breakerhttp.ErrOpen) {
		t.Errorf("got %v, want a refusal", err)
	}
}

// TestOtherVersion: bytes of another version are not appended.
func TestOtherVersion(t *testing.T) {
	d := &download{got: 10, etag: `"v1"`}
	resp := &http.Response{StatusCode: http.StatusPartialContent, Header: http.Header{"Content-Range": {"bytes 10-99/100"}, "Etag": {`"v2"`}}}
	if err := d.accept(resp); err == nil {
		t.Error("another version was accepted")
	}
	resp.Header.Set("ETag", `"v1"`)
	if err := d.accept(resp); err != nil {
		t.Errorf("the same version: %v", err)
	}
}
