package breakerhttp

import (
	"errors"
	"math"
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

const (
	grpcStatusHeader = "Grpc-Status"
	grpcMediaType    = "application/grpc"
)

// grpcFailures are the gRPC status codes that are the server's fault, and their
// names. Of the others, some are the caller's fault (INVALID_ARGUMENT), some
// answer the question (NOT_FOUND), and UNIMPLEMENTED will not pass by waiting.
var grpcFailures = map[string]string{
	"2":  "UNKNOWN",
	"4":  "DEADLINE_EXCEEDED",
	"13": "INTERNAL",
	"14": "UNAVAILABLE",
	"15": "DATA_LOSS",
}

// judgeGRPC judges a response by its gRPC status, if it has one: in the trailer,
// or, where the response is empty, in the header.
func judgeGRPC(resp *http.Response, empty bool) (Outcome, string) {
	code := resp.Trailer.Get(grpcStatusHeader)
	if code == "" && empty {
		code = resp.Header.Get(grpcStatusHeader)
	}
	if name := grpcFailures[code]; name != "" && hasMediaType(resp, grpcMediaType) {
		return Failure, name
	}
	return Success, ""
}

// hasMediaType reports whether the media type of a response begins with prefix.
func hasMediaType(resp *http.Response, prefix string) bool {
	value := resp.Header.Get("Content-Type")
	return len(value) >= len(prefix) && strings.EqualFold(value[:len(prefix)], prefix)
}

// retryAfter returns how long a response asks callers to wait. A date counts from the response's
// Date if it has one, and from now otherwise. The result is never negative, at most the longest
// Duration, and 0 if Retry-After is absent, repeated or malformed.
func retryAfter(h http.Header, now time.Time) time.Duration {
	field, ok := single(h, "Retry-After")
	if !ok {
		return 0
	}
	if d, ok := delaySeconds(field); ok {
		return d
	}
	ref := now
	if field, ok := single(h, "Date"); ok {
		if date, ok := httpDate(field, now); ok {
			ref = date
		}
	}
	at, ok := httpDate(field, ref)
	if !ok {
		return 0
	}
	return max(0, at.Sub(ref)) // Sub saturates
}

// single returns the value of a header field that occurs once.
func single(h http.Header, name string) (field string, ok bool) {
	fields := h[name]
	if len(fields) != 1 {
		return "", false
	}
	return strings.Trim(fields[0], " \t"), true
}

// delaySeconds reads the delay-seconds of RFC 9110, section 10.2.3.
func delaySeconds(field string) (d time.Duration, ok bool) {
	const most = math.MaxInt64 / time.Second
	var n time.Duration
	for _, c := range []byte(field) {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n <= most {
			n = 10*n + time.Duration(c-'0')
		}
	}
	if n > most {
		return math.MaxInt64, true
	}
	return n * time.Second, true
}

// httpDate reads any of the three forms of an HTTP-date: RFC 9110, section 5.6.7. Unlike
// http.ParseTime it accepts no time zone other than GMT.
func httpDate(field string, ref time.Time) (t time.Time, ok bool) {
	for _, layout := range [...]string{http.TimeFormat, time.ANSIC} {
		if t, err := time.Parse(layout, field); err == nil {
			return t, true
		}
	}
	t, err := time.Parse("Monday, 02-Jan-06 15:04:05 GMT", field)
	if err != nil {
		return t, false
	}
	// A year of two digits is the latest such year that is at most 50 years after ref.
	limit := ref.UTC().AddDate(50, 0, 0)
	centuries := (limit.Year() - t.Year()) / 100 * 100
	if t.AddDate(centuries, 0, 0).After(limit) {
		centuries -= 100
	}
	return t.AddDate(centuries, 0, 0), true
}
