// Package breakerhttp is an [net/http.RoundTripper] that puts a circuit breaker
// in front of every host.
//
//	t, err := breakerhttp.New(nil) // in front of http.DefaultTransport
//	if err != nil { ... }
//	client := &http.Client{Transport: t, Timeout: 10 * time.Second}
//
// Set a timeout: a host that hangs fails only when somebody stops waiting. Make
// one Transport and reuse it, and give each a name by [WithName].
//
// Each host that the client calls gets a circuit of its own. Responses of 500
// and above are failures, and so are errors for which the host, or the network
// path to it, is to blame. Five failures in a row open the circuit: for a minute,
// requests to that host are refused at once with an [OpenError], and none is
// sent. Then one request is let through as a probe. If it succeeds, the circuit
// closes; otherwise it opens again.
//
//	closed ──a rule is met──▶ open ──OpenFor is over──▶ half-open ──ProbeSuccesses──▶ closed
//	                            ▲                           │
//	                            └──────a probe fails────────┘
//
// A [Policy] changes the rules for all hosts or, with [WithHostPolicy], for some.
// With [Policy.Adaptive], a circuit follows its host instead of fixed times and
// counts. [Transport.SetPolicies] changes policies while the program runs. A
// [Classifier] changes what counts as a failure, a [KeyFunc] which requests share
// a circuit, and a [Fallback] what callers get in place of an error. Processes
// share circuits by [WithStore].
//
// # Composition
//
// Put the Transport outside a RoundTripper of OpenTelemetry, so that spans show
// what was really sent. Put it inside retries, so that every attempt is judged and
// a refusal ends them:
//
//	http.Client ▸ retries ▸ breakerhttp ▸ otelhttp ▸ http.Transport
//
// Package [github.com/breakerhttp/breakerhttp/retryable] does that for
// hashicorp/go-retryablehttp in one call.
//
// # What it promises
//
// A Transport follows the contract of RoundTripper: it sends the caller's request
// once and unmodified, closes the request's body also when it refuses, and returns
// errors of the base as they are. It owns no timer and no connection. It starts no
// goroutines unless circuits are shared by a [Store].
//
// By default, a request that succeeds on a closed circuit takes no lock, reads no
// clock and allocates nothing. A deadline adds one clock read. A response body adds
// one allocation. A request body that is neither in memory nor a file adds two, or
// three if the request has a GetBody. A ratio rule, TripWhen, a [Classifier] and a
// [Store] read the clock; the first two also take a lock.
package breakerhttp
