package breakerhttp

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// blame judges an error of base, and returns the error.type if it is a failure. It looks at the
// context and the clock first, because a cancelled request fails in many ways.
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

// judgeEnd judges how the body of a response ended. If a deadline ended it, that is the host's
// fault only if the host still owed bytes. An event stream never owes any.
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

// isOver reports whether a context has ended, or should have. A context without a Done channel never
// ends, whatever its deadline says.
func isOver(ctx context.Context) bool {
	return ctx.Err() != nil || isPastDeadline(ctx) && ctx.Done() != nil
}

// isPastDeadline reports whether the deadline of ctx has passed. The context may not have ended
// yet, because its timer may be late.
func isPastDeadline(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) <= 0
}

// timedOut reports whether the request's deadline has passed. A context that was cancelled before
// its deadline has the error Canceled, even if base returns after the deadline. The cause of the
// context does not count: errgroup makes the timeout of one request the cause of all others. A
// context that has not ended may be past its deadline, because http.Client.Timeout can close
// req.Cancel before the context's timer fires.
func timedOut(req *http.Request) bool {
	if req == nil {
		return false
	}
	ctx := req.Context()
	if err := ctx.Err(); err != nil {
		return errors.Is(err, context.DeadlineExceeded)
	}
	return isPastDeadline(ctx)
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

// shortage reports whether err says that this machine has run out of something. For an error
// within a look-up, package net keeps only the text.
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
	switch err.(type) { //nolint:errorlint // one of a chain
	case x509.UnknownAuthorityError, x509.HostnameError, x509.CertificateInvalidError, x509.SystemRootsError:
		return true
	}
	return strings.HasPrefix(err.Error(), "tls: ") // most errors of crypto/tls have no type
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

// wraps reports whether asked returns true for err or for any error that it wraps.
func wraps(err error, asked func(error) bool) bool {
	switch {
	case err == nil:
		return false
	case asked(err):
		return true
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

// readable returns err, or errUnreadable if a method of err panics, as those of a nil *net.OpError
// do.
func readable(err error) (safe error) {
	defer func() {
		if recover() != nil {
			safe = errUnreadable
		}
	}()
	_, _ = errors.Is(err, ErrOpen), shortage(err) // they call its Is and As
	wraps(err, func(err error) bool {
		_, _ = err.Error(), isTimeout(err)
		return false
	})
	return err
}

// isBroken reports whether err, which is not a timeout, says that the connection broke, or that the
// peer closed it. Such errors come together: one restart of a host breaks all connections to it, and
// all requests that share a connection. A malformed response breaks its connection too, but is a
// failure of its own.
func isBroken(err error) bool {
	err = readable(err)
	switch {
	case err == nil:
		return false
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), wraps(err, isOp("read")), wraps(err, isOp("write")):
		return true
	}
	return slices.ContainsFunc(brokenTexts, func(text string) bool { return strings.Contains(err.Error(), text) })
}

// brokenTexts are parts of the texts of errors that nothing else identifies:
// net/http does not export them, or they are the operating system's (Windows has
// other texts, and its errors are found by their operation).
var brokenTexts = []string{
	"connection reset by peer",
	"broken pipe",
	"server closed idle connection",
	"cannot rewind body after connection loss",
	"unexpected EOF reading trailer",
	"GOAWAY",
	"connection error: ", // of HTTP/2
	"http2: client conn", // is closed, not usable, lost, ...
	"received from peer", // an HTTP/2 stream that the peer has reset
}
