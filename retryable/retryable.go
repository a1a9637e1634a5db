// Package retryable puts a circuit breaker inside a go-retryablehttp client. The
// breaker judges every attempt, and a refusal ends the retries.
//
// For a breaker outside the retries, this package is not needed: give [breakerhttp.New] a
// [retryablehttp.RoundTripper] as its base. Then a call with all its attempts is one outcome.
package retryable

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/breakerhttp/breakerhttp"
)

// Guard puts a breaker inside rc, between its retries and its transport, and
// returns it. Every attempt is judged. A refusal ends the retries at once. The
// caller then gets an error for which errors.Is finds [breakerhttp.ErrOpen] and
// errors.As a [*breakerhttp.OpenError], unless rc.ErrorHandler replaces it. The
// answer of a [breakerhttp.Fallback] is not retried either.
//
// The attempts of one call are failures in a row. By default rc makes five, and five
// failures in a row open a circuit. So with both defaults one URL that always fails
// closes its host to all callers, although the host answers all other URLs. Choose a
// policy that one call alone cannot meet: ConsecutiveFailures above rc.RetryMax + 1,
// or -1 with a FailureRatio in its place, whose MinRequests is 20 by default.
//
// Guard replaces rc.HTTPClient by a copy that has the breaker as its Transport, and
// rc.CheckRetry by [CheckRetry] of the old one. The other fields of rc, and the
// http.Client that it had, stay as they are. A guarded rc closes no idle
// connections. Without a breaker it does so after every failure, for all hosts. Call
// CloseIdleConnections of the returned Transport instead.
//
// With rc.PrepareRetry set to the WaitReady of the returned Transport, a retry waits
// until the circuit would admit it. A first attempt does not wait: call WaitReady
// before it. WaitReady reserves no slot: if several callers wait, some may still be
// refused.
//
// Guard returns an error, and changes nothing, if rc is nil, if an option is
// invalid, or if rc.HTTPClient has a breaker as its Transport already. It does not
// find a breaker inside another RoundTripper. Call Guard before rc is used.
func Guard(rc *retryablehttp.Client, opts ...breakerhttp.Option) (*breakerhttp.Transport, error) {
	if rc == nil {
		return nil, errors.New("breakerhttp: retryable.Guard: client is nil")
	}
	var client http.Client
	if rc.HTTPClient != nil {
		client = *rc.HTTPClient
	} else {
		client = *retryablehttp.NewClient().HTTPClient // what rc would make at its first request
	}
	switch client.Transport.(type) {
	case outer, *breakerhttp.Transport:
		return nil, errors.New("breakerhttp: retryable.Guard: client has a breaker already")
	case nil:
		client.Transport = http.DefaultTransport
	}
	breaker, err := breakerhttp.New(inner{client.Transport}, opts...)
	if err != nil {
		return nil, err
	}
	client.Transport = outer{breaker}
	rc.HTTPClient = &client
	rc.CheckRetry = CheckRetry(rc.CheckRetry)
	return breaker, nil
}

// CheckRetry returns a policy that does not retry a refusal, and asks next about
// everything else. A nil next means [retryablehttp.DefaultRetryPolicy]. The policy may
// be called concurrently if next may.
//
// It is for clients that [Guard] cannot change, and does less than Guard: it asks next
// about the answer of a Fallback too, and rc still closes the idle connections of all
// hosts after a failure if its Transport has a method CloseIdleConnections, as a
// breaker does.
func CheckRetry(next retryablehttp.CheckRetry) retryablehttp.CheckRetry {
	if next == nil {
		next = retryablehttp.DefaultRetryPolicy
	}
	return func(ctx context.Context, resp *http.Response, err error) (bool, error) {
		if errors.Is(err, breakerhttp.ErrOpen) || answered(resp) {
			return false, nil // an error of the policy's would take the place of err
		}
		return next(ctx, resp, err)
	}
}

// outer is the breaker as rc uses it, without CloseIdleConnections. It marks the answers of a
// Fallback: those for which inner has not been called.
type outer struct{ breaker *breakerhttp.Transport }

type (
	sentKey   struct{} // of a request to outer: a *bool, set by inner
	answerKey struct{} // of the request in an answer of a Fallback: that answer
)

func (o outer) RoundTrip(req *http.Request) (*http.Response, error) {
	sent := new(bool)
	req = req.WithContext(context.WithValue(req.Context(), sentKey{}, sent))
	resp, err := o.breaker.RoundTrip(req)
	if resp != nil && !*sent {
		of := cmp.Or(resp.Request, req) // a Fallback need not set it
		resp.Request = of.WithContext(context.WithValue(of.Context(), answerKey{}, resp))
	}
	return resp, err
}

// answered reports whether a Fallback, not a host, has given the response.
func answered(resp *http.Response) bool {
	return resp != nil && resp.Request != nil && resp.Request.Context().Value(answerKey{}) == resp
}

// inner is the base of the breaker. It notes that a request has been sent.
type inner struct{ http.RoundTripper }

func (i inner) RoundTrip(req *http.Request) (*http.Response, error) {
	if sent, ok := req.Context().Value(sentKey{}).(*bool); ok {
		*sent = true
	}
	return i.RoundTripper.RoundTrip(req)
}

func (i inner) CloseIdleConnections() {
	(&http.Client{Transport: i.RoundTripper}).CloseIdleConnections()
}
