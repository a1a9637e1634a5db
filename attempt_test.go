package breakerhttp_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp"
)

// TestAttempt: what a classifier is told.
func TestAttempt(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		err    error
	}{
		{"response", 404, nil},
		{"error", 0, errOwn},
		{"both, against the contract of RoundTripper", 200, errOwn},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := roundTripFunc(func(req *http.Request) (resp *http.Response, _ error) {
					time.Sleep(3 * time.Second)
					if tt.status != 0 {
						resp, _ = respond(tt.status)(req)
					}
					return resp, tt.err
				})
				var got breakerhttp.Attempt
				tr := newTransport(t, base, breakerhttp.WithClassifier(func(a breakerhttp.Attempt) breakerhttp.Outcome {
					got = a
					return breakerhttp.Ignored
				}))
				req := post(t, "http://a.test", strings.NewReader("x"), 1)
				resp, err := tr.RoundTrip(req)
				if err != tt.err || (resp != nil) != (tt.status != 0) { //nolint:errorlint // as it is
					t.Errorf("RoundTrip: got %v, %v; want what base returned", resp, err)
				}
				if got.Request != req {
					t.Errorf("got Request %p, want the caller's own, %p", got.Request, req)
				}
				if got.Err != tt.err { //nolint:errorlint // as it is
					t.Errorf("got Err %v, want %v", got.Err, tt.err)
				}
				if want := resp; tt.err == nil && got.Response != want || tt.err != nil && got.Response != nil {
					t.Errorf("got Response %v with Err %v, want exactly one", got.Response, got.Err)
				}
				if want := 3 * time.Second; got.Duration != want {
					t.Errorf("got Duration %v, want %v", got.Duration, want)
				}
			})
		})
	}
}

// TestClassifier: the outcome is the classifier's, and the error.type fits.
func TestClassifier(t *testing.T) {
	refusal := &breakerhttp.OpenError{}
	always := func(o breakerhttp.Outcome) breakerhttp.Classifier {
		return func(breakerhttp.Attempt) breakerhttp.Outcome { return o }
	}
	failure := always(breakerhttp.Failure)
	for _, tt := range []struct {
		name       string
		classifier breakerhttp.Classifier
		status     int // or, if it is 0
		err        error
		want       tally
	}{
		{"a status that fails too", breakerhttp.FailureStatus(429, 404), 404, nil, tally{"failure 404": 1}},
		{"a status that does not", breakerhttp.FailureStatus(429, 404), 403, nil, tally{"success": 1}},
		{"a status that fails anyway", breakerhttp.FailureStatus(429), 500, nil, tally{"failure 500": 1}},
		{"an error, by status", breakerhttp.FailureStatus(429), 0, errRefused, tally{"failure connect": 1}},
		{"a success is a failure", failure, 200, nil, tally{"failure 200": 1}},
		{"an error is a failure", failure, 0, errRefused, tally{"failure connect": 1}},
		{"an inner refusal is a failure", failure, 0, refusal, tally{"failure circuit_open": 1}},
		{"a failure is a success", always(breakerhttp.Success), 503, nil, tally{"success": 1}},
		{"an error is a success", always(breakerhttp.Success), 0, errRefused, tally{"success": 1}},
		{"a failure is ignored", always(breakerhttp.Ignored), 503, nil, tally{"ignored": 1}},
		{"no such outcome", always(breakerhttp.Failure + 1), 503, nil, tally{"ignored": 1}},
		{"no such outcome of an error", always(255), 0, errRefused, tally{"ignored": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
				if tt.status == 0 {
					return nil, tt.err
				}
				return respond(tt.status)(req)
			})
			got := judged(t, base, newRequest(t, t.Context(), "http://a.test"), breakerhttp.WithClassifier(tt.classifier))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("what is ignored by default is a failure", func(t *testing.T) {
		base, url := at(answering(200))(t)
		req := newRequest(t, t.Context(), url)
		req.Method = "G ET"
		got := judged(t, base, req, breakerhttp.WithClassifier(failure))
		if diff := cmp.Diff(tally{"failure _OTHER": 1}, got); diff != "" {
			t.Errorf("counted (-want +got):\n%s", diff)
		}
	})
}

// TestBaseContract: what a base returns against the contract of RoundTripper is
// handed on, and judged with care.
func TestBaseContract(t *testing.T) {
	body := func() io.ReadCloser { return io.NopCloser(strings.NewReader("body")) }
	for _, tt := range []struct {
		name string
		resp *http.Response
		err  error
		want tally
	}{
		{"nothing", nil, nil, tally{"failure connection": 1}},
		{"both", &http.Response{StatusCode: 200, Body: body()}, errRefused, tally{"failure connect": 1}},
		{"both, of a failing status", &http.Response{StatusCode: 503, Body: body()}, errRefused, tally{"failure connect": 1}},
		{"no body", &http.Response{StatusCode: 200}, nil, tally{"success": 1}},
		{"no body of a failure", &http.Response{StatusCode: 503}, nil, tally{"failure 503": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			option, collect := newTally(t)
			tr := newTransport(t, roundTripFunc(func(*http.Request) (*http.Response, error) { return tt.resp, tt.err }), option)
			var before http.Response
			if tt.resp != nil {
				before = *tt.resp
			}
			resp, err := tr.RoundTrip(newRequest(t, t.Context(), "http://a.test"))
			if resp != tt.resp || err != tt.err { //nolint:errorlint // as it is
				t.Errorf("got %v, %v; want %v, %v", resp, err, tt.resp, tt.err)
			}
			if resp != nil && resp.Body != before.Body {
				t.Errorf("the body was replaced: got %T, want %T", resp.Body, before.Body)
			}
			if diff := cmp.Diff(tt.want, collect()); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

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
