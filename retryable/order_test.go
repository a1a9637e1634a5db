package retryable_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/pipetest"
)

// TestWaitReady: as PrepareRetry it makes retries wait for the probe.
func TestWaitReady(t *testing.T) {
	start := func(t *testing.T) (*upstream, *pipetest.Server, *retryablehttp.Client) {
		up := &upstream{}
		up.status.Store(http.StatusServiceUnavailable)
		srv := pipetest.NewServer(t, up)
		rc := retryablehttp.NewClient()
		rc.Logger = nil
		rc.HTTPClient.Transport = srv.Transport
		rc.PrepareRetry = guard(t, rc, failures(2)).WaitReady
		return up, srv, rc
	}
	t.Run("host recovers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			up, srv, rc := start(t)
			time.AfterFunc(30*time.Second, func() { up.status.Store(http.StatusOK) })
			begin := time.Now()
			resp, err := rc.Get(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			read(t, resp)
			// A second of backoff before the failure that opens for a minute.
			if d, hits := time.Since(begin), up.hits.Load(); d != 61*time.Second || hits != 3 {
				t.Errorf("it took %v and %d attempts, want 61s and 3", d, hits)
			}
		})
	})
	t.Run("deadline before the probe", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			up, srv, rc := start(t)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			begin := time.Now()
			req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodGet, srv.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := rc.Do(req)
			wantRefused(t, resp, err)
			// Backoffs of one and two seconds, then no wait.
			if d, hits := time.Since(begin), up.hits.Load(); d != 3*time.Second || hits != 2 {
				t.Errorf("it took %v and %d attempts, want 3s and 2", d, hits)
			}
		})
	})
	t.Run("cancelled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, srv, rc := start(t)
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(30*time.Second, cancel)
			begin := time.Now()
			req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodGet, srv.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = rc.Do(req); !errors.Is(err, context.Canceled) {
				t.Errorf("got error %v, want %v", err, context.Canceled)
			}
			if d := time.Since(begin); d != 30*time.Second {
				t.Errorf("it took %v, want 30s", d)
			}
		})
	})
}

// TestOutsideRetries: a breaker around the retries counts one outcome for each
// Do, and refuses before any attempt.
func TestOutsideRetries(t *testing.T) {
	handlers := map[string]retryablehttp.ErrorHandler{"no handler": nil, "passthrough handler": retryablehttp.PassthroughErrorHandler}
	for name, handler := range handlers {
		t.Run(name, func(t *testing.T) {
			up := newUpstream(t, http.StatusServiceUnavailable)
			rc, _ := newClient(t)
			rc.RetryMax = 2
			rc.ErrorHandler = handler
			tr, err := breakerhttp.New(&retryablehttp.RoundTripper{Client: rc})
			if err != nil {
				t.Fatal(err)
			}
			client := &http.Client{Transport: tr}
			for i := range 5 {
				resp, err := client.Get(up.url)
				if (err == nil) != (handler != nil) || errors.Is(err, breakerhttp.ErrOpen) {
					t.Fatalf("call %d: got error %v", i+1, err)
				}
				if err == nil {
					read(t, resp)
				}
			}
			resp, err := client.Get(up.url)
			wantRefused(t, resp, err)
			wantTotals(t, tr, up.url, breakerhttp.Totals{Failure: 5, Refused: 1})
			if hits := up.hits.Load(); hits != 15 {
				t.Errorf("the server got %d requests, want 15", hits)
			}
		})
	}
}
