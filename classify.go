package breakerhttp

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
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

// An Attempt is one call of the base RoundTripper. It is judged when the response headers or an
// error have come. If that was a success and the response has a body, it is judged again when the
// body has ended.
type Attempt struct {
	Request  *http.Request
	Response *http.Response // nil if Err is not nil and Ended is false; the body must not be read
	Err      error
	Duration time.Duration // until response headers or Err

	// Ended is set when an Attempt that was judged Success is judged again: the body of Response
	// has been read to its end. Then Err is the error that ended it, or nil after io.EOF, and
	// Response.Trailer is complete.
	Ended bool

	expired   bool // the context had ended before base, or the Read that ended the body, was called
	owed      bool // Ended: bytes were still to come, or the length is unknown and none has come
	bodyFault bool // the request's own body failed
	uploading bool // the request's own body kept base waiting when the context ended
}

// A Classifier judges an Attempt. It is called concurrently, and no lock is held. A value other
// than the four Outcomes counts as Ignored.
//
// It is called before RoundTrip returns. If it answers Success for a response
// that has a body, it is called again, with Attempt.Ended set, by the Read that
// ends the body. That call decides what the end of the body says about the
// upstream: Success ends a run of failures, Failure counts as a late failure, and
// Ignored and Limited change nothing. If the caller closes the body before its end, that
// counts as a good end, and the Classifier is not called again.
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

// DefaultClassifier counts as failures
//   - status codes of 500 and above,
//   - the gRPC status codes UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE and DATA_LOSS,
//   - errors for which the upstream, or the network path to it, is to blame,
//   - deadlines that pass while the upstream is waited for, whoever set them.
//
// It ignores
//   - requests that the caller has cancelled, whatever the cause,
//   - requests whose own body fails, has another length than ContentLength, or
//     keeps the upstream waiting until the deadline,
//   - requests that net/http refuses to send,
//   - errors of a machine that has run out of file descriptors, memory or ports,
//   - refusals of an inner circuit.
//
// It counts everything else as a success.
func DefaultClassifier(a Attempt) Outcome {
	outcome, _ := judge(&a)
	return outcome
}

// FailureStatus returns [DefaultClassifier] with these status codes as failures
// too.
func FailureStatus(codes ...int) Classifier { return statusAs(Failure, codes) }

// LimitedStatus returns [DefaultClassifier] with these status codes as [Limited],
// such as 429 Too Many Requests and 529 of metered APIs.
func LimitedStatus(codes ...int) Classifier { return statusAs(Limited, codes) }

// statusAs returns DefaultClassifier with another outcome for these status codes.
func statusAs(outcome Outcome, codes []int) Classifier {
	codes = slices.Clone(codes)
	return func(a Attempt) Outcome {
		if a.Err == nil && a.Response != nil && slices.Contains(codes, a.Response.StatusCode) {
			return outcome
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

// describe says for people what failed. It repeats no text of the upstream or the
// request, which may hold secrets.
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
