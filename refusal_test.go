package breakerhttp_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/breakerhttp/breakerhttp"
)

// TestFallbackContract: of a fallback that returns both, the body is closed; no
// response comes with an error.
func TestFallbackContract(t *testing.T) {
	body := &closeRecorder{Reader: strings.NewReader("body")}
	tr := newTransport(t, respond(200), breakerhttp.WithFallback(
		func(*http.Request, *breakerhttp.OpenError) (*http.Response, error) {
			return &http.Response{Body: body}, errOwn
		}))
	tr.ForceOpen("http://a.test")
	resp, err := tr.RoundTrip(newRequest(t, t.Context(), "http://a.test"))
	if resp != nil || err == nil || errors.Is(err, errOwn) || errors.Is(err, breakerhttp.ErrOpen) {
		t.Errorf("got %v, %v; want no response and an error of its own", resp, err)
	}
	if !body.closed.Load() {
		t.Error("the body that nobody gets was not closed")
	}
}

func TestFallback(t *testing.T) {
	for name, tt := range map[string]struct {
		fallback breakerhttp.Fallback
		status   int
		err      string
	}{
		"503":     {breakerhttp.ServiceUnavailable, 503, ""},
		"error":   {func(*http.Request, *breakerhttp.OpenError) (*http.Response, error) { return nil, errors.New("mine") }, 0, "mine"},
		"neither": {func(*http.Request, *breakerhttp.OpenError) (*http.Response, error) { return nil, nil }, 0, "breakerhttp: Fallback must return"},
		"both": {func(req *http.Request, _ *breakerhttp.OpenError) (*http.Response, error) {
			resp, _ := respond(200)(req)
			return resp, errors.New("and this")
		}, 0, "breakerhttp: Fallback must return"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTransport(t, respond(500), breakerhttp.WithFallback(tt.fallback))
			for range 5 {
				_, _ = get(tr, host)
			}
			req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, host, nil)
			resp, err := tr.RoundTrip(req)
			if tt.err != "" {
				if resp != nil || err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got %v, %v; want no response and error %q", resp, err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != tt.status || resp.Header.Get("Retry-After") != "60" {
				t.Errorf("got %d, Retry-After %q; want %d, 60", resp.StatusCode, resp.Header.Get("Retry-After"), tt.status)
			}
		})
	}
}

// TestRefusalClosesRequestBody: net/http's contract holds on errors too.
func TestRefusalClosesRequestBody(t *testing.T) {
	tr := newTransport(t, roundTripFunc(nil))
	tr.ForceOpen("http://a.test")
	body := &closeRecorder{Reader: strings.NewReader("x")}
	req := httptest.NewRequest(http.MethodPost, "http://a.test/", body)
	if _, err := tr.RoundTrip(req); err == nil {
		t.Error("a forced open circuit admitted a request")
	}
	if !body.closed.Load() {
		t.Error("the request's body was not closed")
	}
}
