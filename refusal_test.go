package breakerhttp_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

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
			req := newRequest(t, context.Background(), host)
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

// TestRefusalClosesRequestBody: net/http's contract holds on errors too. Once is
// enough, whatever a fallback does.
func TestRefusalClosesRequestBody(t *testing.T) {
	for name, opts := range map[string][]breakerhttp.Option{
		"no fallback": nil,
		"fallback":    {breakerhttp.WithFallback(breakerhttp.ServiceUnavailable)},
		"fallback that panics": {breakerhttp.WithFallback(func(*http.Request, *breakerhttp.OpenError) (*http.Response, error) {
			panic(http.ErrAbortHandler)
		})},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTransport(t, roundTripFunc(nil), opts...)
			tr.ForceOpen("http://a.test")
			body := &closeCounter{}
			func() {
				defer func() { _ = recover() }()
				_, _ = tr.RoundTrip(httptest.NewRequest(http.MethodPost, "http://a.test/", body))
			}()
			if body.closed != 1 {
				t.Errorf("the request's body was closed %d times, want once", body.closed)
			}
		})
	}
}

type closeCounter struct {
	strings.Reader
	closed int
}

func (c *closeCounter) Close() error {
	c.closed++
	return nil
}

// TestRefusalTellsOtherClients: the methods by which clients of other modules know
// an error that is not to be tried again.
func TestRefusalTellsOtherClients(t *testing.T) {
	tr := newTransport(t, respond(200))
	tr.ForceOpen("http://a.test")
	_, err := tr.RoundTrip(newRequest(t, t.Context(), "http://a.test"))
	err = &url.Error{Op: "Get", URL: "http://a.test", Err: err}
	var aws interface{ RetryableError() bool }
	if !errors.As(err, &aws) || aws.RetryableError() {
		t.Errorf("aws-sdk-go-v2 would try %v again", err)
	}
	var azure interface{ NonRetriable() }
	if !errors.As(err, &azure) {
		t.Errorf("azcore would try %v again", err)
	}
	azure.NonRetriable()
}

// TestLongRetryAfter: the seconds until then may be more than fit in 32 bits.
func TestLongRetryAfter(t *testing.T) {
	const years = 100 * 365 * 24 * time.Hour
	refusal := &breakerhttp.OpenError{Key: "http://a.test", State: breakerhttp.StateOpen, RetryAfter: years}
	if want := "retry in 3153600000s"; !strings.Contains(refusal.Error(), want) {
		t.Errorf("got error %q, want %q in it", refusal, want)
	}
	resp, err := breakerhttp.ServiceUnavailable(newRequest(t, t.Context(), "http://a.test"), refusal)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, want := resp.Header.Get("Retry-After"), "3153600000"; got != want {
		t.Errorf("got Retry-After %s, want %s", got, want)
	}
}
