// Package retryable puts a circuit breaker inside a go-retryablehttp client,
// where it judges every attempt and ends the retries when it refuses one.
//
// A breaker outside the retries needs nothing of this package: it is a
// [breakerhttp.Transport] with a [retryablehttp.RoundTripper] as its base, and
// judges a call with all its attempts as one.
package retryable

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/breakerhttp/breakerhttp"
)

// Guard puts a breaker inside rc, between its retries and its transport. Every
// attempt is judged. A refusal ends the retries at once, and the caller's error
// is [breakerhttp.ErrOpen] for errors.Is and a [*breakerhttp.OpenError] for
// errors.As, unless rc.ErrorHandler hides it. What a [breakerhttp.Fallback]
// answers is not retried either.
//
// Guard replaces rc.HTTPClient by a copy with the breaker as its Transport, and
// rc.CheckRetry by [CheckRetry] of what it was. The rest of rc, and the
// http.Client that it had, stay as they are. From then on rc closes no idle
// connections, which it otherwise does after every failure and for all hosts:
// that is left to CloseIdleConnections of the returned Transport.
//
// With rc.PrepareRetry set to the WaitReady of the returned Transport, a retry
// waits for the next probe. A first attempt is still refused at once: call
// WaitReady before it. It reserves nothing, so of several that wait some may
// still be refused.
//
// It fails if rc is nil, if the Transport of rc.HTTPClient is a breaker already
// (one inside another RoundTripper it does not see), or if an option is invalid,
// and then changes nothing. Call it before rc is used.
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
// everything else. If next is nil, it asks [retryablehttp.DefaultRetryPolicy].
// The policy may be called concurrently if next may.
//
// It is for a breaker that is wired by hand, and does not do all that [Guard]
// does: the answer of a Fallback is a response like any other to it, and a
// client whose Transport has CloseIdleConnections, as a breaker does, calls that
// after every failure.
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

// outer is the breaker as rc sees it: without CloseIdleConnections. It marks the
// answers of a Fallback: those for which inner has not been called.
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

// inner is the base of the breaker.
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
