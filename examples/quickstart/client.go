package main

import (
	"net/http"
	"sync/atomic"

	"github.com/hashicorp/go-retryablehttp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/retryable"
)

// newClient returns an http.Client that retries, with a circuit breaker for
// every host inside of the retries, and inside of that a span for each request
// that is really sent:
//
//	http.Client > retryablehttp > breakerhttp > otelhttp > base
func newClient(base http.RoundTripper, s scenario, t *telemetry, opts ...breakerhttp.Option) (*http.Client, *breakerhttp.Transport, error) {
	rc := newRetryClient(otelhttp.NewTransport(base, otelhttp.WithTracerProvider(t.tracers)), s)
	opts = append(s.options(), append(opts, breakerhttp.WithMeterProvider(t.meters))...)
	breaker, err := retryable.Guard(rc, opts...)
	if err != nil {
		return nil, nil, err
	}
	return rc.StandardClient(), breaker, nil
}

// newTwin returns the same client without breakers and spans, for comparison.
func newTwin(base http.RoundTripper, s scenario) *http.Client {
	return newRetryClient(base, s).StandardClient()
}

func newRetryClient(base http.RoundTripper, s scenario) *retryablehttp.Client {
	rc := retryablehttp.NewClient()
	rc.HTTPClient = &http.Client{Transport: base, Timeout: s.timeout}
	rc.CheckRetry = retryablehttp.ErrorPropagatedRetryPolicy
	rc.RetryMax = 2
	rc.RetryWaitMin = s.retryWait
	rc.RetryWaitMax = 4 * s.retryWait
	rc.Logger = nil
	return rc
}

// A wire counts what is sent. It is where the upstreams are reached.
type wire struct{ *http.Transport }

type sentKey struct{} // of a *atomic.Int64

func newWire(us upstreams) wire {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.DialContext = us.dial
	return wire{t}
}

func (w wire) RoundTrip(req *http.Request) (*http.Response, error) {
	if sent, ok := req.Context().Value(sentKey{}).(*atomic.Int64); ok {
		sent.Add(1)
	}
	return w.Transport.RoundTrip(req)
}
