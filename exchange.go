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
	t    *Transport
	req  *http.Request
	host *host
	call circuit.Call
	by   circuit.Cause // gathers the transitions that this request causes
	resp *http.Response
	err  error

	began    time.Duration // only if the classifier is the user's, as the next
	took     time.Duration // until base returned
	out      *http.Request // as base gets it
	body     *requestBody  // nil unless it is watched
	expired  bool          // the context had ended before base was called
	admitted bool
	sent     bool // base has been called
	answered bool // base has returned
	over     bool // nothing is left to give back
}

// admit finds the host and asks its circuit. It returns a refusal, or nil with
// no host for an unguarded request.
func (x *exchange) admit() *OpenError {
	for {
		x.host = x.t.find(x.req)
		if x.host == nil {
			return nil
		}
		if x.t.sharing != nil {
			x.host.refresh(x.req.Context())
		}
		if x.admitted = x.host.circuit.Enter(&x.call); x.admitted {
			return nil
		}
		now := x.t.now()
		if x.admitted = x.host.circuit.EnterAt(&x.call, now); x.admitted {
			return nil
		}
		if r, ok := x.host.circuit.Refuse(now); ok {
			return x.refusal(r)
		}
		mayProbe := x.t.mayProbe(x.req)
		x.by.Context = x.req.Context()
		call, r, decision := x.host.circuit.Admit(&x.by, now, mayProbe)
		if decision == circuit.Elect {
			call, r, decision = x.elect()
		}
		switch decision {
		case circuit.Admitted:
			x.call, x.admitted = call, true
			x.host.tell(&x.by)
			return nil
		case circuit.Refused:
			x.host.tell(&x.by)
			return x.refusal(r)
		}
	}
}

func (x *exchange) refusal(r circuit.Refusal) *OpenError {
	return &OpenError{Key: x.host.key, State: State(r.State), RetryAfter: r.RetryAfter, Reason: r.Detail}
}

// mayProbe asks the user's filter, which must not be done under a lock: before
// it is known whether a probe is wanted.
func (t *Transport) mayProbe(req *http.Request) bool {
	return t.probeFilter == nil || t.probeFilter(req)
}

// refuse answers in place of the host; in a dry run it only reports.
func (x *exchange) refuse(refusal *OpenError) (*http.Response, error) {
	x.host.refused(x.req, refusal)
	if x.t.dryRun {
		x.over = true
		return x.t.base.RoundTrip(x.req)
	}
	if x.req.Body != nil {
		_ = x.req.Body.Close() // RoundTrip must, also on errors
	}
	if x.t.fallback == nil {
		x.over = true
		return nil, refusal
	}
	resp, err := x.t.fallback(x.req, refusal)
	x.over = true
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
	x.expired = isOver(x.req.Context())
	if x.t.classifier != nil {
		x.began = x.t.now()
	}
	x.out, x.body = watchRequestBody(x.req)
	x.sent = true
	x.resp, x.err = x.t.base.RoundTrip(x.out)
	x.answered = true
	if x.body != nil && x.resp != nil && x.resp.Request == x.out {
		x.resp.Request = x.req
	}
}

// report tells the circuit how it went. A success that has a body is watched
// further: the body can still take it back.
func (x *exchange) report() {
	watched := canFailLate(x.req, x.resp)
	c := &x.host.circuit
	if !x.good(watched) || !c.Succeed(&x.call, !watched) && !c.SucceedAt(&x.call, x.t.now(), !watched) {
		watched = x.reportVerdict(watched) && watched
	}
	if watched {
		x.resp.Body = x.watch()
	}
}

// good reports a success that needs no further judgement. A response without a
// body may have its gRPC status in the header.
func (x *exchange) good(watched bool) bool {
	return x.t.classifier == nil && x.err == nil && x.resp != nil && x.resp.StatusCode < 500 &&
		(watched || len(x.resp.Header[grpcStatusHeader]) == 0)
}

// reportVerdict returns false if the response is not to be judged again.
func (x *exchange) reportVerdict(watched bool) bool {
	v := circuit.Verdict{Outcome: circuit.Success}
	if !x.good(watched) {
		v = x.judge()
	}
	v.Whole = !watched
	x.by.Context = x.req.Context()
	counted := x.host.circuit.Done(&x.by, x.t.now(), &x.call, v)
	x.host.tell(&x.by)
	x.host.share(&x.by, counted && v.Outcome == circuit.Failure)
	return counted && v.Outcome == circuit.Success
}

// judge classifies what base has returned.
func (x *exchange) judge() circuit.Verdict {
	a := Attempt{Request: x.req, Err: x.err, expired: x.expired, bodyFault: x.body.failed()}
	if x.err == nil {
		a.Response = x.resp
	}
	outcome, errorType := judge(&a)
	if x.t.classifier != nil {
		x.took = x.t.now() - x.began
		a.Duration = x.took
		outcome = x.t.classifier(a)
		if outcome == Failure && errorType == "" {
			errorType = otherErrorType(&a)
		}
	}
	v := circuit.Verdict{Outcome: circuit.Outcome(outcome)}
	if outcome == Failure {
		v.ErrorType = errorType
		v.Detail = describe(&a, errorType)
		if a.Response != nil {
			v.RetryAfter = retryAfter(a.Response.Header, time.Now())
		}
	}
	return v
}

// otherErrorType is that of a failure which is none by default.
func otherErrorType(a *Attempt) string {
	if a.Response != nil {
		return strconv.Itoa(a.Response.StatusCode)
	}
	return errorTypeOther
}

// abandon is for what ends the goroutine's ordinary way: a panic of base, or of
// a function of the user's, or runtime.Goexit. It gives the slot and the bodies
// back, and lets it go on.
func (x *exchange) abandon() {
	if x.over {
		return
	}
	cause := recover()
	if cause != nil {
		defer panic(cause) // whatever happens here
	}
	switch {
	case x.answered:
		if x.resp != nil && x.resp.Body != nil {
			defer x.resp.Body.Close()
		}
	case !x.sent:
		if x.req != nil && x.req.Body != nil {
			defer x.req.Body.Close()
		}
	}
	if x.host == nil {
		return
	}
	x.by.Context = x.req.Context()
	defer x.host.tell(&x.by)
	if !x.admitted {
		return
	}
	v := circuit.Verdict{Outcome: circuit.Ignored}
	if cause != nil && x.sent && !x.answered {
		v = circuit.Verdict{Outcome: circuit.Failure, ErrorType: errorTypePanic, Detail: errorTypePanic}
	}
	counted := x.host.circuit.Done(&x.by, x.t.now(), &x.call, v)
	x.host.share(&x.by, counted && v.Outcome == circuit.Failure)
}
