package breakerhttp

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/keytext"
)

// ErrOpen matches every refusal: use errors.Is(err, ErrOpen).
var ErrOpen = errors.New("breakerhttp: circuit open")

// An OpenError is the error of a request that was refused: it was not sent.
type OpenError struct {
	Key        string
	State      State         // StateOpen; StateHalfOpen when every probe is taken; StateClosed while ramping, recovering or full
	RetryAfter time.Duration // until the circuit may admit a request; 0 if unknown: half-open, ramping, recovering, full, forced, or another process probes
	Reason     string        // what opened it, for people: "5 failures in a row, last: 503 Service Unavailable"
}

// Error names the circuit, why it opened, and when to try again.
func (e *OpenError) Error() string {
	var b strings.Builder
	b.WriteString("breakerhttp: circuit of " + keytext.Encode(e.Key) + " is " + strings.ReplaceAll(e.State.String(), "_", "-"))
	if e.State == StateClosed {
		b.WriteString(" but admits only some requests")
	}
	if e.Reason != "" {
		b.WriteString(": " + e.Reason)
	}
	if e.RetryAfter > 0 {
		b.WriteString("; retry in " + ceilSeconds(e.RetryAfter) + "s")
	}
	return b.String()
}

// Is reports whether target is [ErrOpen].
func (e *OpenError) Is(target error) bool { return target == ErrOpen }

// ErrorType returns "circuit_open", the error.type of OpenTelemetry.
func (e *OpenError) ErrorType() string { return errorTypeOpen }

// RetryableError returns false: aws-sdk-go-v2 asks for it.
func (e *OpenError) RetryableError() bool { return false }

// NonRetriable does nothing: azcore retries no error that has it.
func (e *OpenError) NonRetriable() {}

// A Fallback answers a request that was refused. It returns either a response or an error, as
// [http.RoundTripper] does; otherwise the caller gets an error that says so. The request's body is
// closed already. A Fallback is called concurrently, and no lock is held.
type Fallback func(*http.Request, *OpenError) (*http.Response, error)

// errNoFallback is returned for a Fallback that breaks its contract.
var errNoFallback = errors.New("breakerhttp: Fallback must return either a response or an error")

// ServiceUnavailable is a [Fallback] that answers 503 Service Unavailable. If it is known when the
// circuit may admit a request, the response has a Retry-After (RFC 9110, section 10.2.3) in
// seconds, rounded up.
func ServiceUnavailable(req *http.Request, err *OpenError) (*http.Response, error) {
	const body = "circuit open\n"
	resp := &http.Response{
		Status:     "503 " + http.StatusText(http.StatusServiceUnavailable),
		StatusCode: http.StatusServiceUnavailable,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Content-Type":           {"text/plain; charset=utf-8"},
			"X-Content-Type-Options": {"nosniff"},
		},
		Body:          io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)),
		Request:       req,
	}
	if req.Method == http.MethodHead {
		resp.Body = http.NoBody
	}
	if err.RetryAfter > 0 {
		resp.Header.Set("Retry-After", ceilSeconds(err.RetryAfter))
	}
	return resp, nil
}

// ceilSeconds returns d in seconds, rounded up. They may not fit into an int.
func ceilSeconds(d time.Duration) string {
	s := d / time.Second
	if d%time.Second > 0 {
		s++
	}
	return strconv.FormatInt(int64(s), 10)
}
