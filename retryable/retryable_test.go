package retryable_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-retryablehttp"
	"go.uber.org/goleak"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/pipetest"
	"github.com/breakerhttp/breakerhttp/retryable"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEveryAttemptIsJudged(t *testing.T) {
	up := newUpstream(t, http.StatusServiceUnavailable)
	rc, backoffs := newClient(t)
	tr := guard(t, rc)
	_, err := rc.Get(up.url)
	if err == nil || errors.Is(err, breakerhttp.ErrOpen) || !strings.Contains(err.Error(), "giving up after 5 attempt(s)") {
		t.Errorf("first Do: got error %v, want that of five attempts", err)
	}
	wantTotals(t, tr, up.url, breakerhttp.Totals{Failure: 5})
	resp, err := rc.Get(up.url)
	wantRefused(t, resp, err)
	wantTotals(t, tr, up.url, breakerhttp.Totals{Failure: 5, Refused: 1})
	if hits, backoffs := up.hits.Load(), backoffs.Load(); hits != 5 || backoffs != 4 {
		t.Errorf("got %d requests and %d backoffs, want 5 and 4", hits, backoffs)
	}
}

// TestOwnBodyFails: a body that retryablehttp gets again for every attempt fails in
// each. That is not the host's fault.
func TestOwnBodyFails(t *testing.T) {
	up := newUpstream(t, http.StatusOK)
	rc, _ := newClient(t)
	tr := guard(t, rc)
	req, err := retryablehttp.NewRequest(http.MethodPost, up.url, retryablehttp.ReaderFunc(func() (io.Reader, error) {
		return io.MultiReader(strings.NewReader("part"), iotest.ErrReader(errors.New("disk"))), nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rc.Do(req); err == nil || errors.Is(err, breakerhttp.ErrOpen) {
		t.Errorf("got error %v, want that of the body", err)
	}
	wantTotals(t, tr, up.url, breakerhttp.Totals{Ignored: 5})
}

// TestRefusalIsNotRetried: whatever the client's policy and error handler, a
// refusal takes one attempt and no time, and reaches the caller.
func TestRefusalIsNotRetried(t *testing.T) {
	errHandled := errors.New("handled")
	policies := map[string]retryablehttp.CheckRetry{
		"no policy":        nil,
		"default policy":   retryablehttp.DefaultRetryPolicy,
		"propagate policy": retryablehttp.ErrorPropagatedRetryPolicy,
		"always policy":    func(context.Context, *http.Response, error) (bool, error) { return true, nil },
		"failing policy":   func(context.Context, *http.Response, error) (bool, error) { return false, errHandled },
	}
	handlers := map[string]retryablehttp.ErrorHandler{
		"no handler":          nil,
		"passthrough handler": retryablehttp.PassthroughErrorHandler,
		"own handler": func(resp *http.Response, err error, attempts int) (*http.Response, error) {
			if resp != nil || attempts != 1 {
				err = errors.New("want no response and one attempt")
			}
			return nil, errors.Join(errHandled, err)
		},
	}
	clients := map[string]func(*retryablehttp.Client, string) (*http.Response, error){
		"Client": func(rc *retryablehttp.Client, url string) (*http.Response, error) { return rc.Get(url) },
		"StandardClient": func(rc *retryablehttp.Client, url string) (*http.Response, error) {
			return rc.StandardClient().Get(url)
		},
	}
	for policyName, policy := range policies {
		for handlerName, handler := range handlers {
			for clientName, get := range clients {
				t.Run(strings.Join([]string{policyName, handlerName, clientName}, ", "), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						up := &upstream{}
						srv := pipetest.NewServer(t, up)
						rc := retryablehttp.NewClient()
						rc.Logger = nil
						rc.HTTPClient.Transport = srv.Transport
						rc.RetryWaitMin, rc.RetryWaitMax = time.Hour, time.Hour
						rc.CheckRetry, rc.ErrorHandler = policy, handler
						guard(t, rc).ForceOpen(srv.URL)

						start := time.Now()
						resp, err := get(rc, srv.URL)
						wantRefused(t, resp, err)
						if d := time.Since(start); d != 0 {
							t.Errorf("the refusal took %v, want no time", d)
						}
						if handled := errors.Is(err, errHandled); handled != (handlerName == "own handler") {
							t.Errorf("got error %v; does it come from the client's own handler: %v", err, handled)
						}
						if hits := up.hits.Load(); hits != 0 {
							t.Errorf("the server got %d requests, want 0", hits)
						}
					})
				})
			}
		}
	}
}

// TestOpensAmidRetries: the circuit opens while one Do retries, and the refusal
// ends it. No response is left open: the attempts share a connection.
func TestOpensAmidRetries(t *testing.T) {
	for _, handler := range []retryablehttp.ErrorHandler{nil, retryablehttp.PassthroughErrorHandler} {
		up := newUpstream(t, http.StatusBadGateway)
		rc, backoffs := newClient(t)
		rc.RetryMax = 10
		rc.ErrorHandler = handler
		tr := guard(t, rc, failures(2))
		resp, err := rc.Post(up.url, "text/plain", []byte("body"))
		wantRefused(t, resp, err)
		wantTotals(t, tr, up.url, breakerhttp.Totals{Failure: 2, Refused: 1})
		if hits, conns, backoffs := up.hits.Load(), up.conns.Load(), backoffs.Load(); hits != 2 || conns != 1 || backoffs != 2 {
			t.Errorf("got %d requests on %d connections and %d backoffs, want 2 on 1 and 2", hits, conns, backoffs)
		}
	}
}

// TestRedirectToRefused: the host that redirects has done its part.
func TestRedirectToRefused(t *testing.T) {
	dead := newUpstream(t, http.StatusOK)
	well := httptest.NewServer(http.RedirectHandler(dead.url, http.StatusFound))
	defer well.Close()
	rc, backoffs := newClient(t)
	tr := guard(t, rc)
	tr.ForceOpen(dead.url)
	resp, err := rc.Get(well.URL)
	wantRefused(t, resp, err)
	wantTotals(t, tr, well.URL, breakerhttp.Totals{Success: 1})
	wantTotals(t, tr, dead.url, breakerhttp.Totals{Refused: 1})
	if n := backoffs.Load(); n != 0 {
		t.Errorf("got %d backoffs, want 0", n)
	}
}

// TestLastFailureReachesCaller: a host's own failure stays what it was without a
// breaker.
func TestLastFailureReachesCaller(t *testing.T) {
	up := newUpstream(t, http.StatusServiceUnavailable)
	rc, _ := newClient(t)
	rc.RetryMax = 2
	rc.ErrorHandler = retryablehttp.PassthroughErrorHandler
	tr := guard(t, rc)
	resp, err := rc.Post(up.url, "text/plain", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, resp), "answer to x"; resp.StatusCode != 503 || got != want {
		t.Errorf("got %d %q, want 503 %q", resp.StatusCode, got, want)
	}
	wantTotals(t, tr, up.url, breakerhttp.Totals{Failure: 3})
}

func TestBodyIsRewound(t *testing.T) {
	sends := map[string]func(rc *retryablehttp.Client, url string) (*http.Response, error){
		"Client": func(rc *retryablehttp.Client, url string) (*http.Response, error) {
			return rc.Post(url, "text/plain", strings.NewReader("whole"))
		},
		// Without GetBody, the breaker watches the body of each attempt.
		"StandardClient": func(rc *retryablehttp.Client, url string) (*http.Response, error) {
			return rc.StandardClient().Post(url, "text/plain", io.MultiReader(strings.NewReader("whole")))
		},
	}
	for name, send := range sends {
		t.Run(name, func(t *testing.T) {
			up := newUpstream(t, http.StatusServiceUnavailable)
			rc, _ := newClient(t)
			rc.PrepareRetry = func(*http.Request) error {
				if up.hits.Load() == 2 {
					up.status.Store(http.StatusOK)
				}
				return nil
			}
			tr := guard(t, rc)
			resp, err := send(rc, up.url)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := read(t, resp), "answer to whole"; got != want {
				t.Errorf("got answer %q, want %q", got, want)
			}
			if diff := cmp.Diff([]string{"whole", "whole", "whole"}, up.bodies); diff != "" {
				t.Errorf("bodies at the server (-want +got):\n%s", diff)
			}
			wantTotals(t, tr, up.url, breakerhttp.Totals{Failure: 2, Success: 1})
		})
	}
}

// TestCheckRetry: next is asked about everything but a refusal, and what it says
// holds.
func TestCheckRetry(t *testing.T) {
	errNext := errors.New("of next")
	type call struct {
		ctx  context.Context
		resp *http.Response
		err  error
	}
	var calls []call
	check := retryable.CheckRetry(func(ctx context.Context, resp *http.Response, err error) (bool, error) {
		calls = append(calls, call{ctx, resp, err})
		return true, errNext
	})
	ctx, resp := t.Context(), &http.Response{StatusCode: http.StatusOK}
	asked := []call{
		{ctx, resp, nil},
		{ctx, nil, io.ErrUnexpectedEOF},
		{ctx, resp, io.ErrUnexpectedEOF},
		{ctx, nil, nil},
	}
	for _, c := range asked {
		if retry, err := check(c.ctx, c.resp, c.err); !retry || !errors.Is(err, errNext) {
			t.Errorf("CheckRetry(%v, %v): got %v, %v; want true, %v", c.resp, c.err, retry, err, errNext)
		}
	}
	if !slices.Equal(calls, asked) {
		t.Errorf("next was asked about %v, want %v", calls, asked)
	}
	calls = nil
	if retry, err := check(ctx, nil, &breakerhttp.OpenError{}); retry || err != nil || calls != nil {
		t.Errorf("CheckRetry(refusal): got %v, %v, next asked %d times; want false, nil, 0", retry, err, len(calls))
	}
}

// TestLimitedCallersComeBack: twenty callers that a host has asked to wait all get
// through when that is over. Their wait and that of the circuit do not add up.
func TestLimitedCallersComeBack(t *testing.T) {
	const callers, wait = 20, 7 * time.Second
	for _, tt := range []struct {
		name   string
		policy breakerhttp.Policy
		apart  time.Duration // between the callers
	}{
		{"all at once", breakerhttp.Policy{}, 0},
		{"one after the other", breakerhttp.Policy{}, time.Millisecond},
		{"all at once, with a bound", breakerhttp.Policy{MaxInFlight: callers}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var hits atomic.Int64
				srv := pipetest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					first := hits.Add(1) <= callers
					time.Sleep(2 * callers * time.Millisecond)
					if first {
						w.Header().Set("Retry-After", "7")
						w.WriteHeader(http.StatusTooManyRequests)
					}
				}))
				rc := retryablehttp.NewClient()
				rc.Logger = nil
				rc.HTTPClient.Transport = srv.Transport
				tr := guard(t, rc, breakerhttp.WithPolicy(tt.policy),
					breakerhttp.WithClassifier(breakerhttp.LimitedStatus(http.StatusTooManyRequests)))
				var wg sync.WaitGroup
				for i := range callers {
					wg.Go(func() {
						time.Sleep(time.Duration(i) * tt.apart)
						began := time.Now()
						resp, err := rc.Get(srv.URL)
						if err != nil {
							t.Errorf("caller %d: %v", i, err)
							return
						}
						resp.Body.Close()
						if took := time.Since(began); resp.StatusCode != http.StatusOK || took < wait || took > wait+time.Second {
							t.Errorf("caller %d: got %s after %v, want 200 OK after %v or a little more", i, resp.Status, took, wait)
						}
					})
				}
				wg.Wait()
				if n := hits.Load(); n != 2*callers {
					t.Errorf("the host got %d requests, want two of each caller", n)
				}
				wantTotals(t, tr, srv.URL, breakerhttp.Totals{Success: callers, Limited: callers})
			})
		})
	}
}
