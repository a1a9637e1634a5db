// Package breakerhttp is an [net/http.RoundTripper] that puts a circuit breaker
// in front of every host.
//
//	t, err := breakerhttp.New(nil) // in front of http.DefaultTransport
//	if err != nil { ... }
//	client := &http.Client{Transport: t}
//
// Each host that the client calls gets a circuit of its own. Responses of 500
// and above, and errors for which the host or the way to it is to blame, are
// failures. Five in a row open the circuit: for a minute, requests to that host
// are refused at once with an [OpenError], and none is sent. Then one request is
// let through as a probe. If it succeeds the circuit closes, else it opens again.
//
//	closed ──a rule is met──▶ open ──OpenFor is over──▶ half-open ──ProbeSuccesses──▶ closed
//	                            ▲                           │
//	                            └──────a probe fails────────┘
//
// A [Policy] changes the rules for all hosts or, with [WithHostPolicy], for some.
// A [Classifier] changes what counts as a failure, a [KeyFunc] what shares a
// circuit, a [Fallback] what callers get in place of an error.
//
// # Composition
//
// Around a RoundTripper of OpenTelemetry, so that spans show what was really
// sent; inside of retries, so that every attempt is judged and a refusal ends
// them:
//
//	http.Client ▸ retries ▸ breakerhttp ▸ otelhttp ▸ http.Transport
//
// Package [github.com/breakerhttp/breakerhttp/retryable] does that for
// hashicorp/go-retryablehttp in one call.
//
// # What it promises
//
// A Transport follows the contract of RoundTripper: it sends the caller's request
// once and unmodified, closes its body also when it refuses, and returns errors
// of the base as they are. It owns no timer or connection, and no goroutine but
// for the calls of a [Store].
//
// By default, a request that succeeds on a closed circuit costs no lock and no
// reading of the clock, but one if it has a deadline; and no allocation, but one
// if its response has a body, and two if its own body cannot be sent again. A
// ratio rule, TripWhen, a [Classifier] and a [Store] read the clock; the first
// two also take a lock.
package breakerhttp
