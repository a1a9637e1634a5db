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
	"syscall"
	"time"
)

// An Outcome is what a request says about its upstream.
type Outcome uint8

const (
	Ignored Outcome = iota // says nothing about the upstream
	Success
	Failure
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
}

// A Classifier judges an Attempt. It is called without a lock, and concurrently.
// Any other value than the three counts as Ignored.
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
// for which the upstream, or the way to it, is to blame. It ignores what the
// caller has cancelled or done wrong, what this machine is short of, and the
// refusals of an inner circuit. A deadline that passes while the upstream is
// asked is a failure, whoever set it.
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
// for a cancelled request fails in many ways, then by type.
func blame(a *Attempt) (Outcome, string) {
	err := a.Err
	switch {
	case errors.Is(err, ErrOpen):
		return Ignored, errorTypeOpen
	case a.expired:
		return Ignored, ""
	case timedOut(a.Request):
		return Failure, errorTypeTimeout
	case cancelled(a.Request), a.bodyFault, malformed(a.Request, err), shortage(err):
		return Ignored, ""
	}
	if isTimeout(err) {
		return Failure, errorTypeTimeout
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return Failure, errorTypeDNS
	}
	if isTLS(err) {
		return Failure, errorTypeTLS
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		switch op.Op {
		case "proxyconnect":
			return Failure, errorTypeProxy
		case "dial":
			return Failure, errorTypeConnect
		}
	}
	return Failure, errorTypeConnection
}

// judgeEnd judges how the body of a response ended. A deadline that ends it is the
// host's fault only if the host owed bytes: an event stream never does.
func judgeEnd(a *Attempt) (Outcome, string) {
	switch {
	case a.Err == nil && a.Response != nil:
		return judgeGRPC(a.Response, a.owed)
	case a.Err == nil:
		return Success, "" // made by hand
	case a.expired:
		return Ignored, ""
	case timedOut(a.Request), isTimeout(a.Err):
		if !a.owed || hasMediaType(a.Response, "text/event-stream") {
			return Ignored, ""
		}
		return Failure, errorTypeTimeout
	case cancelled(a.Request), a.bodyFault, shortage(a.Err):
		return Ignored, ""
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

// timedOut reports whether the request's deadline has passed. The context alone
// does not tell: the timer of http.Client.Timeout may cancel it first. Nor does
// its cause: errgroup passes the timeout of one request on to all others.
func timedOut(req *http.Request) bool {
	if req == nil {
		return false
	}
	ctx := req.Context()
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return true
	}
	return errors.Is(ctx.Err(), context.DeadlineExceeded)
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

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

// isTLS reports whether the peers did not agree on TLS, or on who they are.
func isTLS(err error) bool {
	return is[tls.RecordHeaderError](err) || is[*tls.CertificateVerificationError](err) || is[tls.AlertError](err) ||
		is[*tls.ECHRejectionError](err) || is[x509.UnknownAuthorityError](err) || is[x509.HostnameError](err) ||
		is[x509.CertificateInvalidError](err) || is[x509.SystemRootsError](err) || isAlert(err)
}

// isAlert reports whether err is a TLS alert, which crypto/tls hides in an
// OpError.
func isAlert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && (op.Op == "remote error" || op.Op == "local error")
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// shortage reports whether this machine has run out of something.
func shortage(err error) bool {
	errno, ok := errors.AsType[syscall.Errno](err)
	return ok && slices.Contains(shortages, errno)
}

// describe says for people what failed. It repeats no text that the upstream or
// the request has brought: that may hold secrets.
func describe(a *Attempt, errorType string) string {
	switch errno, ok := errors.AsType[syscall.Errno](a.Err); {
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
