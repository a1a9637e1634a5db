package breakerhttp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An Outcome is what a request says about its upstream.
type Outcome uint8

const (
	Ignored Outcome = iota // says nothing about the upstream
	Success
	Failure
	Limited // the upstream is healthy, and asks for less
)

// An Attempt is one call of the base RoundTripper, as it is judged: when the
// response headers or an error have come, and where those were a success, once
// more when the response body has ended.
type Attempt struct {
	Request  *http.Request
	Response *http.Response // nil if Err is not nil and Ended is false; the body must not be read
	Err      error
	Duration time.Duration // until response headers or Err

	// Ended says that the body of a Response that was judged Success has been read
	// to its end. Err is the error that ended it, or nil after io.EOF, and
	// Response.Trailer is complete.
	Ended bool

	expired   bool // the context had ended before the host was asked, or the end of the body was
	owed      bool // Ended: bytes were still to come, or the length is unknown and none has come
	bodyFault bool // the request's own body failed
	uploading bool // the request's own body kept base waiting as the context ended
}

// A Classifier judges an Attempt. It is called without a lock, and concurrently.
// Any other value than the four counts as Ignored.
//
// It is called before RoundTrip returns. If it answers Success for a response
// that has a body, it is called again, with Attempt.Ended set, by the Read that
// ends the body. That call decides what the end of the body says about the
// upstream: Success ends a run of failures, Failure counts as a late failure, and
// Ignored changes nothing. A caller who closes the body before its end has it end
// well, and the Classifier is not called again.
type Classifier func(Attempt) Outcome

// The error.type of failures, besides status codes.
const (
	errorTypeOpen       = "circuit_open"
	errorTypeTimeout    = "timeout"
	errorTypeDNS        = "dns"
	errorTypeTLS        = "tls"
	errorTypeProxy      = "proxy"
	errorTypeConnect    = "connect"
	errorTypeConnection = "connection"
	errorTypeBody       = "body"
	errorTypePanic      = "panic"
	errorTypeOther      = "_OTHER"
)

// DefaultClassifier counts status codes of 500 and above as failures, and errors
// for which the upstream, or the network path to it, is to blame. A deadline that
// passes while the upstream is waited for is a failure, whoever set it. It ignores
//   - requests that the caller has cancelled, whatever the cause,
//   - requests whose own body fails, has another length than ContentLength, or
//     keeps the upstream waiting until the deadline,
//   - requests that net/http refuses to send,
//   - what this machine has run out of: file descriptors, memory, ports,
//   - refusals of an inner circuit.
func DefaultClassifier(a Attempt) Outcome {
	outcome, _ := judge(&a)
	return outcome
}

// FailureStatus returns [DefaultClassifier] with these status codes as failures
// too.
func FailureStatus(codes ...int) Classifier {
	codes = slices.Clone(codes)
	return func(a Attempt) Outcome {
		if a.Err == nil && a.Response != nil && slices.Contains(codes, a.Response.StatusCode) {
			return Failure
		}
		return DefaultClassifier(a)
	}
}

// LimitedStatus returns [DefaultClassifier] with these status codes as [Limited],
// such as 429 Too Many Requests and 529 of metered APIs.
func LimitedStatus(codes ...int) Classifier {
	codes = slices.Clone(codes)
	return func(a Attempt) Outcome {
		if a.Err == nil && a.Response != nil && slices.Contains(codes, a.Response.StatusCode) {
			return Limited
		}
		return DefaultClassifier(a)
	}
}

// judge is the default judgement, and the error.type of the failure, if it is
// one.
func judge(a *Attempt) (Outcome, string) {
	switch {
	case a.Ended:
		return judgeEnd(a)
	case a.Err != nil:
		return blame(a)
	case a.Response == nil:
		return Failure, errorTypeConnection
	case a.Response.StatusCode >= 500:
		return Failure, strconv.Itoa(a.Response.StatusCode)
	}
	return judgeGRPC(a.Response, !canFailLate(a.Request, a.Response))
}

// blame finds out whose fault an error is: by the context and the clock first,
// because a cancelled request fails in many ways, then by type.
func blame(a *Attempt) (Outcome, string) {
	err := readable(a.Err)
	switch {
	case errors.Is(err, ErrOpen):
		return Ignored, errorTypeOpen
	case a.expired, a.bodyFault, ofFile(a.Request, err):
		return Ignored, ""
	case timedOut(a.Request) && a.uploading:
		return Ignored, ""
	case timedOut(a.Request):
		return Failure, errorTypeTimeout
	case cancelled(a.Request), malformed(a.Request, err), shortage(err):
		return Ignored, ""
	case wraps(err, isTimeout):
		return Failure, errorTypeTimeout
	case is[*net.DNSError](err):
		return Failure, errorTypeDNS
	case wraps(err, isTLS):
		return Failure, errorTypeTLS
	case wraps(err, isOp("proxyconnect")):
		return Failure, errorTypeProxy
	case wraps(err, isOp("dial")):
		return Failure, errorTypeConnect
	}
	return Failure, errorTypeConnection
}

// judgeEnd judges how the body of a response ended. A deadline that ends it is the
// host's fault only if the host owed bytes: an event stream never does.
func judgeEnd(a *Attempt) (Outcome, string) {
	err, late := readable(a.Err), timedOut(a.Request)
	switch {
	case a.Err == nil && a.Response != nil:
		return judgeGRPC(a.Response, a.owed)
	case a.Err == nil:
		return Success, "" // made by hand
	case a.expired, a.bodyFault, shortage(err), !late && cancelled(a.Request):
		return Ignored, ""
	case late || wraps(err, isTimeout):
		if !a.owed || a.uploading || hasMediaType(a.Response, "text/event-stream") {
			return Ignored, ""
		}
		return Failure, errorTypeTimeout
	}
	return Failure, errorTypeBody
}

// isOver reports whether a context has ended, or its deadline has passed: its
// timer may be late.
func isOver(ctx context.Context) bool {
	if ctx.Err() != nil {
		return true
	}
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) <= 0
}

// timedOut reports whether the request's deadline has passed. A context that was
// cancelled before its deadline says so, however late base returns, and whatever
// the cause is: errgroup passes the timeout of one request on as the cause of all
// others. A context that has not ended may be past its deadline: its timer is
// late, and http.Client.Timeout has closed req.Cancel first.
func timedOut(req *http.Request) bool {
	if req == nil {
		return false
	}
	ctx := req.Context()
	if err := ctx.Err(); err != nil {
		return errors.Is(err, context.DeadlineExceeded)
	}
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline)
}

// cancelled reports whether the caller has given the request up.
func cancelled(req *http.Request) bool {
	if req == nil {
		return false
	}
	select {
	case <-req.Context().Done():
		return true
	//lint:ignore SA1019 http.Client sets it for a RoundTripper that it does not know
	case <-req.Cancel:
		return true
	default:
		return false
	}
}

// shortage reports whether this machine has run out of something. Of an error
// within a look-up, net keeps only the text.
func shortage(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return slices.ContainsFunc(shortages, func(short error) bool {
		return errors.Is(err, short) || ok && strings.HasSuffix(dns.Err, short.Error())
	})
}

func isTimeout(err error) bool {
	t, ok := err.(net.Error) //nolint:errorlint // one of a chain
	return ok && t.Timeout()
}

// isTLS reports whether the peers did not agree on TLS, or on who they are.
func isTLS(err error) bool {
	switch err := err.(type) { //nolint:errorlint // one of a chain
	case tls.RecordHeaderError, *tls.CertificateVerificationError, tls.AlertError, *tls.ECHRejectionError,
		x509.UnknownAuthorityError, x509.HostnameError, x509.CertificateInvalidError, x509.SystemRootsError:
		return true
	case *net.OpError: // in which crypto/tls hides alerts
		return err.Op == "remote error" || err.Op == "local error"
	}
	return false
}

func isOp(name string) func(error) bool {
	return func(err error) bool {
		op, ok := err.(*net.OpError) //nolint:errorlint // one of a chain
		return ok && op.Op == name
	}
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// wraps reports whether err, or any error that it wraps, is as asked.
func wraps(err error, asked func(error) bool) bool {
	if err == nil || asked(err) {
		return err != nil
	}
	switch err := err.(type) { //nolint:errorlint // one of a chain
	case interface{ Unwrap() error }:
		return wraps(err.Unwrap(), asked)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(err.Unwrap(), func(err error) bool { return wraps(err, asked) })
	}
	return false
}

var errUnreadable = errors.New("an error whose methods panic")

// readable returns err, or errUnreadable in place of one whose methods panic, as
// those of a nil *net.OpError do.
func readable(err error) (safe error) {
	defer func() {
		if recover() != nil {
			safe = errUnreadable
		}
	}()
	_ = errors.Is(err, ErrOpen)
	wraps(err, func(err error) bool {
		_, _ = err.Error(), isTimeout(err)
		return false
	})
	return err
}

// describe says for people what failed. It repeats no text that the upstream or
// the request has brought: that may hold secrets.
func describe(a *Attempt, errorType string) string {
	switch errno, ok := errors.AsType[errno](readable(a.Err)); {
	case a.Ended:
		return describeEnd(errorType)
	case a.Response != nil && errorType == strconv.Itoa(a.Response.StatusCode):
		return describeStatus(a.Response.StatusCode)
	case ok:
		return errno.Error()
	case errorType == errorTypeDNS:
		return "DNS look-up failed"
	case errorType == errorTypeTLS:
		return "TLS handshake failed"
	case errorType == errorTypeConnection:
		return "connection broken"
	case errorType == errorTypeOther:
		return "error"
	}
	return errorType
}

func describeEnd(errorType string) string {
	switch errorType {
	case errorTypeTimeout:
		return "timeout in the response body"
	case errorTypeBody:
		return "response body broken off"
	case errorTypeOther:
		return "response body"
	}
	return errorType
}

func describeStatus(code int) string {
	if text := http.StatusText(code); text != "" {
		return strconv.Itoa(code) + " " + text
	}
	return strconv.Itoa(code)
}
