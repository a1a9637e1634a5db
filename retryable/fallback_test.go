package retryable_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/retryable"
)

// TestFallbackIsNotRetried: an answer in a host's place is as final as a
// refusal, though its status may call for a retry.
func TestFallbackIsNotRetried(t *testing.T) {
	fallbacks := map[string]breakerhttp.Fallback{
		"ServiceUnavailable": breakerhttp.ServiceUnavailable,
		"without Request": func(*http.Request, *breakerhttp.OpenError) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusServiceUnavailable}, nil
		},
	}
	for name, fallback := range fallbacks {
		t.Run(name, func(t *testing.T) {
			up := newUpstream(t, http.StatusServiceUnavailable)
			rc, backoffs := newClient(t)
			rc.HTTPClient.Timeout = time.Hour // the http.Client then replaces the body
			tr := guard(t, rc, breakerhttp.WithFallback(fallback))
			tr.ForceOpen(up.url)
			handled := false
			req, err := retryablehttp.NewRequest(http.MethodGet, up.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.SetResponseHandler(func(*http.Response) error {
				handled = true
				return nil
			})
			resp, err := rc.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			read(t, resp)
			if resp.StatusCode != 503 || !handled {
				t.Errorf("got %d, handled %v; want 503, handled", resp.StatusCode, handled)
			}
			if got := resp.Request.URL.String(); got != up.url {
				t.Errorf("got the response to %s, want %s", got, up.url)
			}
			errHandler := errors.New("of the response handler")
			req.SetResponseHandler(func(*http.Response) error { return errHandler })
			if _, err := rc.Do(req); !errors.Is(err, errHandler) {
				t.Errorf("got error %v, want %v", err, errHandler)
			}
			if n := backoffs.Load(); n != 0 {
				t.Errorf("got %d backoffs, want 0", n)
			}

			tr.Reset(up.url)
			ctx := context.WithoutCancel(resp.Request.Context()) // what follows an answer is judged for itself
			again, err := retryablehttp.NewRequestWithContext(ctx, http.MethodGet, up.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := rc.Do(again); err == nil {
				t.Error("got no error from a host that always fails")
			}
			if hits, backoffs := up.hits.Load(), backoffs.Load(); hits != 5 || backoffs != 4 {
				t.Errorf("got %d requests and %d backoffs, want 5 and 4", hits, backoffs)
			}
		})
	}
}

// TestFallbackMaySend: a Fallback that asks another host gives that host's
// response, and the client it uses for that retries as it does elsewhere.
func TestFallbackMaySend(t *testing.T) {
	dead, spare := newUpstream(t, http.StatusOK), newUpstream(t, http.StatusServiceUnavailable)
	second, backoffs := newClient(t)
	second.CheckRetry = retryable.CheckRetry(nil)
	second.ErrorHandler = retryablehttp.PassthroughErrorHandler
	rc, _ := newClient(t)
	tr := guard(t, rc, breakerhttp.WithFallback(func(req *http.Request, _ *breakerhttp.OpenError) (*http.Response, error) {
		again, err := retryablehttp.NewRequestWithContext(req.Context(), req.Method, spare.url, nil)
		if err != nil {
			return nil, err
		}
		return second.Do(again)
	}))
	tr.ForceOpen(dead.url)
	resp, err := rc.Get(dead.url)
	if err != nil {
		t.Fatal(err)
	}
	read(t, resp)
	if got := resp.Request.URL.String(); got != spare.url {
		t.Errorf("got the response to %s, want %s", got, spare.url)
	}
	if hits, backoffs := spare.hits.Load(), backoffs.Load(); hits != 5 || backoffs != 4 {
		t.Errorf("the other host got %d requests with %d backoffs, want 5 with 4", hits, backoffs)
	}
}

// TestConcurrentUse: with refusals, answers of the Fallback and failures all at
// once, the host gets no request after the circuit has opened.
func TestConcurrentUse(t *testing.T) {
	up := newUpstream(t, http.StatusInternalServerError)
	rc, _ := newClient(t)
	rc.ErrorHandler = retryablehttp.PassthroughErrorHandler
	tr := guard(t, rc, breakerhttp.WithFallback(breakerhttp.ServiceUnavailable))
	var statuses sync.Map
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 5 {
				resp, err := rc.Get(up.url)
				if err != nil {
					t.Error(err)
					return
				}
				statuses.Store(resp.StatusCode, true)
				resp.Body.Close()
			}
		})
	}
	wg.Wait()
	if _, ok := statuses.Load(http.StatusServiceUnavailable); !ok {
		t.Error("no request was answered by the Fallback")
	}
	s, _ := tr.Snapshot(up.url)
	if hits := up.hits.Load(); s.Totals.Failure != uint64(hits) || hits > 20+5 {
		t.Errorf("the server got %d requests, the circuit counted %d; want the same, at most 25", hits, s.Totals.Failure)
	}
	if s.Totals.Refused == 0 || s.State != breakerhttp.StateOpen {
		t.Errorf("circuit is %v with %d refusals, want it open with some", s.State, s.Totals.Refused)
	}
}
