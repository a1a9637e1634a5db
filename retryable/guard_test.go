package retryable_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/pipetest"
	"github.com/breakerhttp/breakerhttp/retryable"
)

// TestGuardChangesACopy: the caller's http.Client stays as it was, and what it
// was set to do, rc still does.
func TestGuardChangesACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := pipetest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			switch req.URL.Path {
			case "/redirect":
				http.Redirect(w, req, "/", http.StatusFound)
			case "/cookie":
				http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
			case "/hang":
				<-req.Context().Done()
			}
			_, _ = io.WriteString(w, req.Header.Get("Cookie"))
		}))
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		errRedirect, errHandled := errors.New("no redirects"), errors.New("handled")
		own := &http.Client{
			Transport:     srv.Transport,
			Jar:           jar,
			CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect },
			Timeout:       time.Minute,
		}
		rc := &retryablehttp.Client{
			HTTPClient: own,
			Backoff:    retryablehttp.DefaultBackoff,
			ErrorHandler: func(_ *http.Response, err error, _ int) (*http.Response, error) {
				return nil, errors.Join(errHandled, err)
			},
		}
		tr := guard(t, rc)
		if own.Transport != srv.Transport {
			t.Errorf("the caller's http.Client has Transport %T, want its own", own.Transport)
		}

		for _, want := range []string{"", "a=b"} {
			resp, err := rc.Get(srv.URL + "/cookie")
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, resp); got != want {
				t.Errorf("the server got cookies %q, want %q", got, want)
			}
		}
		if _, err := rc.Get(srv.URL + "/redirect"); !errors.Is(err, errRedirect) || !errors.Is(err, errHandled) {
			t.Errorf("redirect: got error %v, want %v and %v", err, errHandled, errRedirect)
		}
		wantTotals(t, tr, srv.URL, breakerhttp.Totals{Success: 3})

		rc.RetryMax = 2
		begin := time.Now()
		if _, err := rc.Get(srv.URL + "/hang"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("hanging host: got error %v, want that of the Timeout", err)
		}
		if d := time.Since(begin); d != 3*time.Minute {
			t.Errorf("hanging host: took %v, want 3m, a Timeout for each attempt", d)
		}
		wantTotals(t, tr, srv.URL, breakerhttp.Totals{Success: 3, Failure: 3})
	})
}

// TestGuardFillsIn: what rc leaves out is what retryablehttp and net/http take
// for it.
func TestGuardFillsIn(t *testing.T) {
	transports := []struct {
		name    string
		client  *http.Client
		conns   int64 // of two requests by rc and one by http.DefaultClient
		meaning string
	}{
		{"HTTPClient", nil, 2, "rc has a pool of its own"},
		{"Transport", &http.Client{}, 1, "rc shares that of http.DefaultTransport"},
	}
	for _, test := range transports {
		t.Run(test.name, func(t *testing.T) {
			up := newUpstream(t, http.StatusOK)
			rc := &retryablehttp.Client{HTTPClient: test.client}
			tr := guard(t, rc)
			defer tr.CloseIdleConnections()
			defer http.DefaultClient.CloseIdleConnections()
			for _, get := range []func(string) (*http.Response, error){rc.Get, rc.Get, http.Get} {
				resp, err := get(up.url)
				if err != nil {
					t.Fatal(err)
				}
				read(t, resp)
			}
			wantTotals(t, tr, up.url, breakerhttp.Totals{Success: 2})
			if hits, conns := up.hits.Load(), up.conns.Load(); hits != 3 || conns != test.conns {
				t.Errorf("got %d requests on %d connections, want 3 on %d: %s", hits, conns, test.conns, test.meaning)
			}
		})
	}
	t.Run("CheckRetry", func(t *testing.T) {
		up := newUpstream(t, http.StatusServiceUnavailable)
		rc, backoffs := newClient(t)
		rc.CheckRetry = nil
		guard(t, rc)
		if _, err := rc.Get(up.url); err == nil {
			t.Error("got no error from a host that always fails")
		}
		if n := backoffs.Load(); n != 4 {
			t.Errorf("got %d backoffs, want the 4 of the default policy", n)
		}
	})
}

// TestGuardAsksPolicy: the policy that rc had still decides about responses.
func TestGuardAsksPolicy(t *testing.T) {
	up := newUpstream(t, http.StatusNotFound)
	rc, backoffs := newClient(t)
	errNotFound := errors.New("not found")
	rc.CheckRetry = func(_ context.Context, resp *http.Response, _ error) (bool, error) {
		return resp.StatusCode == http.StatusNotFound, errNotFound
	}
	guard(t, rc)
	if _, err := rc.Get(up.url); !errors.Is(err, errNotFound) {
		t.Errorf("got error %v, want %v", err, errNotFound)
	}
	if hits, backoffs := up.hits.Load(), backoffs.Load(); hits != 5 || backoffs != 4 {
		t.Errorf("got %d requests and %d backoffs, want 5 and 4", hits, backoffs)
	}
}

func TestGuardErrors(t *testing.T) {
	const twice = "client has a breaker already"
	tests := []struct {
		name    string
		prepare func(t *testing.T, rc *retryablehttp.Client) *retryablehttp.Client
		opts    []breakerhttp.Option
		want    string
	}{
		{
			"nil client",
			func(*testing.T, *retryablehttp.Client) *retryablehttp.Client { return nil },
			nil, "client is nil",
		},
		{
			"invalid options",
			func(_ *testing.T, rc *retryablehttp.Client) *retryablehttp.Client { return rc },
			[]breakerhttp.Option{breakerhttp.WithKey(nil), breakerhttp.WithMaxCircuits(0)},
			"WithMaxCircuits is 0, want 1 or more",
		},
		{
			"guarded",
			func(t *testing.T, rc *retryablehttp.Client) *retryablehttp.Client {
				guard(t, rc)
				return rc
			},
			nil, twice,
		},
		{
			"http.Client of a guarded client",
			func(t *testing.T, rc *retryablehttp.Client) *retryablehttp.Client {
				guard(t, rc)
				return &retryablehttp.Client{HTTPClient: rc.HTTPClient}
			},
			nil, twice,
		},
		{
			"copy of the http.Client",
			func(t *testing.T, rc *retryablehttp.Client) *retryablehttp.Client {
				guard(t, rc)
				c := *rc.HTTPClient
				rc.HTTPClient = &c
				return rc
			},
			nil, twice,
		},
		{
			"breaker by hand",
			func(t *testing.T, rc *retryablehttp.Client) *retryablehttp.Client {
				tr, err := breakerhttp.New(rc.HTTPClient.Transport)
				if err != nil {
					t.Fatal(err)
				}
				rc.HTTPClient.Transport = tr
				return rc
			},
			nil, twice,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			rc, _ := newClient(t)
			rc = test.prepare(t, rc)
			var client *http.Client
			var policy retryablehttp.CheckRetry
			if rc != nil {
				client, policy = rc.HTTPClient, rc.CheckRetry
			}
			tr, err := retryable.Guard(rc, test.opts...)
			if tr != nil || err == nil || !strings.HasPrefix(err.Error(), "breakerhttp: ") || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, %v; want a breakerhttp error with %q", tr, err, test.want)
			}
			if rc != nil && (rc.HTTPClient != client || reflect.ValueOf(rc.CheckRetry).Pointer() != reflect.ValueOf(policy).Pointer()) {
				t.Error("Guard failed, and changed the client")
			}
		})
	}
}
