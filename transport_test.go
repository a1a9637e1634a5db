package breakerhttp_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/pipetest"
)

func TestMain(m *testing.M) {
	time.Local = time.UTC // the texts of times do not depend on the machine
	goleak.VerifyTestMain(m)
}

// An upstream answers with a status that tests change, and counts.
type upstream struct {
	status atomic.Int64
	hits   atomic.Int64
	delay  atomic.Int64 // nanoseconds
	header atomic.Pointer[http.Header]
}

func newUpstream(status int) *upstream {
	u := &upstream{}
	u.status.Store(int64(status))
	return u
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	u.hits.Add(1)
	_, _ = io.Copy(io.Discard, req.Body)
	if d := time.Duration(u.delay.Load()); d > 0 {
		select {
		case <-time.After(d):
		case <-req.Context().Done():
		}
	}
	if h := u.header.Load(); h != nil {
		for k, v := range *h {
			w.Header()[k] = v
		}
	}
	w.WriteHeader(int(u.status.Load()))
	_, _ = io.WriteString(w, "body")
}

// newTransport is New for options that are right.
func newTransport(t *testing.T, base http.RoundTripper, opts ...breakerhttp.Option) *breakerhttp.Transport {
	t.Helper()
	tr, err := breakerhttp.New(base, opts...)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return tr
}

// get sends a GET and reads the answer to its end.
func get(rt http.RoundTripper, url string) (status int, err error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	return do(rt, req)
}

func do(rt http.RoundTripper, req *http.Request) (status int, err error) {
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, errors.Join(err, resp.Body.Close())
}

func snapshot(t *testing.T, tr *breakerhttp.Transport, key string) breakerhttp.Snapshot {
	t.Helper()
	s, ok := tr.Snapshot(key)
	if !ok {
		t.Fatalf("Snapshot(%q): there is no such circuit", key)
	}
	return s
}

func wantState(t *testing.T, tr *breakerhttp.Transport, key string, want breakerhttp.State) {
	t.Helper()
	if got := snapshot(t, tr, key).State; got != want {
		t.Errorf("circuit of %s is %v, want %v", key, got, want)
	}
}

func wantRefused(t *testing.T, err error) *breakerhttp.OpenError {
	t.Helper()
	var open *breakerhttp.OpenError
	if !errors.As(err, &open) || !errors.Is(err, breakerhttp.ErrOpen) {
		t.Fatalf("got error %v, want a refusal", err)
	}
	return open
}

// TestDefaults drives the default policy through all states with a real client
// and server: exactly the fifth failure opens, for a minute, and one probe
// closes.
func TestDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newUpstream(http.StatusServiceUnavailable)
		srv := pipetest.NewServer(t, up)
		tr := newTransport(t, srv.Transport)
		client := &http.Client{Transport: tr}
		call := func() (int, error) {
			resp, err := client.Get(srv.URL)
			if err != nil {
				return 0, err
			}
			defer resp.Body.Close()
			return resp.StatusCode, nil
		}
		for i := range 5 {
			wantStateBefore := breakerhttp.StateClosed
			if i > 0 {
				wantState(t, tr, srv.URL, wantStateBefore)
			}
			if status, err := call(); status != 503 || err != nil {
				t.Fatalf("call %d: got %d, %v; want 503", i+1, status, err)
			}
		}
		wantState(t, tr, srv.URL, breakerhttp.StateOpen)
		opened := time.Now()

		time.Sleep(20 * time.Second)
		_, err := call()
		refusal := wantRefused(t, err)
		want := breakerhttp.OpenError{
			Key:        srv.URL,
			State:      breakerhttp.StateOpen,
			RetryAfter: 40 * time.Second,
			Reason:     "5 failures in a row, last: 503 Service Unavailable",
		}
		if *refusal != want {
			t.Errorf("got refusal %+v, want %+v", *refusal, want)
		}
		if got := up.hits.Load(); got != 5 {
			t.Errorf("upstream got %d requests, want 5", got)
		}

		time.Sleep(time.Until(opened.Add(time.Minute)) - time.Nanosecond)
		if _, err := call(); err == nil {
			t.Error("a nanosecond before its time, the circuit admitted a request")
		}
		time.Sleep(time.Nanosecond)
		wantState(t, tr, srv.URL, breakerhttp.StateHalfOpen)
		up.status.Store(http.StatusOK)
		if status, err := call(); status != 200 || err != nil {
			t.Errorf("probe: got %d, %v; want 200", status, err)
		}
		wantState(t, tr, srv.URL, breakerhttp.StateClosed)

		var steps []string
		for _, tr := range tr.Transitions() {
			steps = append(steps, tr.From.String()+">"+tr.To.String()+":"+string(tr.Reason))
		}
		got := strings.Join(steps, " ")
		if want := "closed>open:consecutive_failures open>half_open:open_elapsed half_open>closed:probe_succeeded"; got != want {
			t.Errorf("transitions:\n got %s\nwant %s", got, want)
		}
	})
}

// TestHostsAreApart: one dead host does not touch another.
func TestHostsAreApart(t *testing.T) {
	dead := httptest.NewServer(newUpstream(http.StatusInternalServerError))
	defer dead.Close()
	well := httptest.NewServer(newUpstream(http.StatusOK))
	defer well.Close()
	tr := newTransport(t, nil)
	defer tr.CloseIdleConnections()
	for range 10 {
		_, _ = get(tr, dead.URL)
		if status, err := get(tr, well.URL); status != 200 || err != nil {
			t.Fatalf("healthy host: got %d, %v; want 200", status, err)
		}
	}
	wantState(t, tr, dead.URL, breakerhttp.StateOpen)
	wantState(t, tr, well.URL, breakerhttp.StateClosed)
	want := breakerhttp.Totals{Failure: 5, Refused: 5}
	if got := snapshot(t, tr, dead.URL).Totals; got != want {
		t.Errorf("dead host: got totals %+v, want %+v", got, want)
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

type closeRecorder struct {
	io.Reader
	closed atomic.Bool
}

func (c *closeRecorder) Close() error {
	c.closed.Store(true)
	return nil
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// respond is a RoundTripper that answers every request with status.
func respond(status int) roundTripFunc {
	return func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
	}
}

// TestConcurrentProbes: whatever the concurrency, a half-open circuit lets one
// request through.
func TestConcurrentProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newUpstream(http.StatusServiceUnavailable)
		srv := pipetest.NewServer(t, up)
		tr := newTransport(t, srv.Transport)
		for range 5 {
			_, _ = get(tr, srv.URL)
		}
		time.Sleep(time.Minute)
		up.hits.Store(0)
		up.status.Store(http.StatusOK)
		up.delay.Store(int64(time.Second))
		var refused atomic.Int64
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := get(tr, srv.URL); errors.Is(err, breakerhttp.ErrOpen) {
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		if hits, refused := up.hits.Load(), refused.Load(); hits != 1 || refused != 49 {
			t.Errorf("got %d probes and %d refusals, want 1 and 49", hits, refused)
		}
	})
}
