package breakerhttp

import (
	"net/http"
	"strconv"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// An exchange is a request on its way through a Transport. It lives on the stack
// of RoundTrip.
type exchange struct {
	t     *Transport
	req   *http.Request
	host  *host // nil for an unguarded request
	call  circuit.Call
	by    circuit.Cause // collects the transitions that this request causes
	stage stage
	resp  *http.Response
	err   error

	took    time.Duration // until base returned; set only for a user's classifier
	out     *http.Request // as base gets it
	body    *requestBody  // nil unless it is watched
	expired bool          // the context had ended before base was called
}

// A stage is how far an exchange has come.
type stage uint8

const (
	asking   stage = iota // the circuit, or the user's code about it
	sending               // base has been called
	answered              // base has returned
	over                  // nothing is left to release
)

// admit asks the circuit about a request that it has not admitted at once. It returns a refusal, or
// nil if the request is to be sent. If the circuit has been evicted, admit looks for the host again,
// but does not wait for the store again: otherwise hosts that evict each other's circuits meanwhile
// could keep their requests for ever.
func (x *exchange) admit() *OpenError {
	if x.host.circuit.Refusing() {
		if r, ok := x.host.circuit.Refuse(x.t.now()); ok {
			return x.openError(r)
		}
	}
	for ; x.host != nil; x.host = x.t.find(x.req) {
		x.by.Context = x.req.Context()
		r, decision := x.host.circuit.Admit(&x.by, &x.call, x.t.mayProbe(x.req))
		if decision == circuit.Elect {
			r, decision = x.elect()
		}
		x.host.emit(&x.by)
		switch decision {
		case circuit.Admitted:
			return nil
		case circuit.Refused:
			return x.openError(r)
		}
	}
	return nil
}

func (x *exchange) openError(r circuit.Refusal) *OpenError {
	return &OpenError{Key: x.host.key, State: State(r.State), RetryAfter: r.RetryAfter, Reason: r.Detail}
}

// mayProbe asks the user's filter. That is needed before it is known whether a probe is due, because
// only the circuit knows that, and the filter must not be called under the circuit's lock.
func (t *Transport) mayProbe(req *http.Request) bool {
	return t.probeFilter == nil || t.probeFilter(req)
}

// refuse answers in place of the host. In a dry run it only records the refusal.
func (x *exchange) refuse(refusal *OpenError) (*http.Response, error) {
	x.host.recordRefusal(x.req, refusal)
	x.stage = over
	if x.t.dryRun {
		return x.t.base.RoundTrip(x.req)
	}
	if x.req.Body != nil {
		_ = x.req.Body.Close() // RoundTrip must, also on errors
	}
	if x.t.fallback == nil {
		return nil, refusal
	}
	resp, err := x.t.fallback(x.req, refusal)
	if (resp == nil) == (err == nil) {
		if resp != nil && resp.Body != nil {
			_ = resp.Body.Close()
		}
		return nil, errNoFallback
	}
	return resp, err
}

// send calls base, once.
func (x *exchange) send() {
	if ctx := x.req.Context(); ctx.Done() != nil { // without it, isOver is false: this saves the call
		x.expired = isOver(ctx)
	}
	var began time.Duration
	if x.t.classifier != nil {
		began = x.t.now()
	}
	x.out = x.req
	if x.req.Body != nil {
		x.out, x.body = watchRequestBody(x.req)
	}
	x.stage = sending
	x.resp, x.err = x.t.base.RoundTrip(x.out)
	x.stage = answered
	if x.t.classifier != nil {
		x.took = x.t.now() - began
	}
	if x.body != nil && x.resp != nil && x.resp.Request == x.out {
		x.resp.Request = x.req
	}
}

// good reports whether the result is a success that needs no further judgement. A response without
// a body may have its gRPC status in the header.
func (x *exchange) good(watched bool) bool {
	return x.t.classifier == nil && x.err == nil && x.resp != nil && x.resp.StatusCode < 500 &&
		(watched || len(x.resp.Header[grpcStatusHeader]) == 0)
}

// judge gives the verdict to the circuit. It returns false if the response is not
// to be judged again.
func (x *exchange) judge(watched bool) bool {
	v := circuit.Verdict{Outcome: circuit.Success}
	if !x.good(watched) {
		v = x.verdict()
	}
	v.Whole = !watched
	return x.done(v) && v.Outcome == circuit.Success
}

// done ends the call. It returns false if the verdict does not count.
func (x *exchange) done(v circuit.Verdict) bool {
	x.by.Context = x.req.Context()
	counted := x.host.circuit.Done(&x.by, &x.call, v)
	x.host.emit(&x.by)
	x.host.publishResult(&x.by, counted && v.Outcome == circuit.Failure)
	return counted
}

// verdict classifies what base has returned.
func (x *exchange) verdict() circuit.Verdict {
	a := Attempt{Request: x.req, Err: x.err, expired: x.expired, bodyFault: x.body.failed(), uploading: x.body.keptWaiting()}
	if x.err == nil {
		a.Response = x.resp
	}
	outcome, errorType := judge(&a)
	if x.t.classifier != nil {
		a.Duration = x.took
		outcome = x.t.classifier(a)
	}
	v := circuit.Verdict{Outcome: circuit.Outcome(outcome)}
	if outcome == Failure || outcome == Limited {
		if errorType == "" {
			errorType = otherErrorType(&a)
		}
		v.ErrorType = errorType
		v.Detail = describe(&a, errorType)
		v.Broken = errorType == errorTypeConnection && isBroken(x.err)
		if a.Response != nil {
			v.RetryAfter = retryAfter(a.Response.Header, time.Now())
		}
	}
	return v
}

// otherErrorType returns the error.type of a failure that only the user's classifier counts as one,
// or of what it counts as limited.
func otherErrorType(a *Attempt) string {
	if a.Response != nil {
		return strconv.Itoa(a.Response.StatusCode)
	}
	return errorTypeOther
}

// abandon cleans up if base or a function of the user's has panicked with cause, or has called
// runtime.Goexit. It frees the slot, closes the bodies, and lets the panic go on.
func (x *exchange) abandon(cause any) {
	if cause != nil {
		defer panic(cause) // even if what follows panics too
	}
	switch x.stage {
	case asking:
		if x.req != nil && x.req.Body != nil {
			defer x.req.Body.Close()
		}
	case answered:
		if x.resp != nil && x.resp.Body != nil {
			defer x.resp.Body.Close()
		}
	}
	switch {
	case x.host == nil, !x.call.Admitted():
	case cause != nil && x.stage == sending:
		x.done(circuit.Verdict{Outcome: circuit.Failure, ErrorType: errorTypePanic, Detail: errorTypePanic})
	default:
		x.done(circuit.Verdict{Outcome: circuit.Ignored})
	}
}
