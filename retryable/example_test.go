package retryable_test

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/retryable"
)

// failing is a host that answers its first n requests with 503 Service
// Unavailable.
func failing(n int64) *httptest.Server {
	var hits atomic.Int64
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if hits.Add(1) <= n {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
}

// newRetries is a client for examples: quick, and without a log.
func newRetries() *retryablehttp.Client {
	rc := retryablehttp.NewClient()
	rc.RetryWaitMin = time.Millisecond
	rc.Logger = nil
	return rc
}

// One call makes five attempts, and here ten failures in a row open the circuit. So
// one URL that fails does not close the host to others, but a second call in a row
// that fails does.
func ExampleGuard() {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/broken" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer srv.Close()
	rc := newRetries()
	transport, err := retryable.Guard(rc, breakerhttp.WithPolicy(breakerhttp.Policy{
		ConsecutiveFailures: 2 * (rc.RetryMax + 1),
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer transport.CloseIdleConnections()

	for _, path := range []string{"/broken", "/", "/broken", "/broken", "/"} {
		resp, err := rc.Get(srv.URL + path)
		var open *breakerhttp.OpenError
		switch {
		case err == nil:
			fmt.Println(path, resp.Status)
			_ = resp.Body.Close()
		case errors.As(err, &open):
			fmt.Println(path, "refused:", open.Reason)
		default:
			fmt.Println(path, "failed")
		}
	}
	// Output:
	// /broken failed
	// / 200 OK
	// /broken failed
	// /broken failed
	// / refused: 10 failures in a row, last: 500 Internal Server Error
}

// With WaitReady, retries wait for the next probe.
func ExampleGuard_waitReady() {
	srv := failing(2)
	defer srv.Close()
	rc := newRetries()
	transport, err := retryable.Guard(rc, breakerhttp.WithPolicy(breakerhttp.Policy{
		ConsecutiveFailures: 2,
		OpenFor:             20 * time.Millisecond,
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer transport.CloseIdleConnections()
	rc.PrepareRetry = transport.WaitReady

	resp, err := rc.Get(srv.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	for _, t := range transport.Transitions() {
		fmt.Println(t.From, "to", t.To)
	}
	// Output:
	// 200 OK
	// closed to open
	// open to half_open
	// half_open to closed
}

// A breaker outside the retries counts a call as one outcome, however many
// attempts it takes.
func Example_outsideRetries() {
	srv := failing(4)
	defer srv.Close()
	rc := newRetries()
	rc.ErrorHandler = retryablehttp.PassthroughErrorHandler // the last response, not an error, is the outcome
	transport, err := breakerhttp.New(&retryablehttp.RoundTripper{Client: rc})
	if err != nil {
		log.Fatal(err)
	}
	defer rc.HTTPClient.CloseIdleConnections()
	client := &http.Client{Transport: transport}

	resp, err := client.Get(srv.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	snapshot, _ := transport.Snapshot(srv.URL)
	fmt.Println(resp.Status)
	fmt.Printf("%+v\n", snapshot.Totals)
	// Output:
	// 200 OK
	// {Success:1 Failure:0 Ignored:0 Refused:0 Limited:0}
}

// By hand, where another RoundTripper goes around the breaker.
func ExampleCheckRetry() {
	srv := failing(0)
	defer srv.Close()
	transport, err := breakerhttp.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	transport.ForceOpen(srv.URL)

	rc := newRetries()
	rc.HTTPClient.Transport = logged{transport}
	rc.CheckRetry = retryable.CheckRetry(rc.CheckRetry)
	_, err = rc.Get(srv.URL)
	fmt.Println(errors.Is(err, breakerhttp.ErrOpen))
	// Output:
	// GET
	// true
}

// logged has no CloseIdleConnections, by which rc would close those of healthy
// hosts too.
type logged struct{ next http.RoundTripper }

func (l logged) RoundTrip(req *http.Request) (*http.Response, error) {
	fmt.Println(req.Method)
	return l.next.RoundTrip(req)
}
