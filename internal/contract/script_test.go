package contract

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// An exchange is a request on its way: RoundTrip runs in a goroutine of its own, and base waits to be
// told what to do.
type exchange struct {
	req       *http.Request
	cancel    context.CancelCauseFunc
	deadline  time.Duration // since the Transport was made; never if there is none
	cancelled bool          // before the deadline
	expired   bool          // the context had ended before the request began
	call      *call         // nil if the request is unguarded, or was refused in a dry run
	judged    bool          // the end of the response's body counts

	// What the classifier says of the end of the response's body, or byDefault.
	opinion breakerhttp.Outcome

	reply  chan reply
	sent   int // times
	asSent *http.Request

	// What base returned, and what the caller got.
	gaveResp, gotResp *http.Response
	gaveErr, gotErr   error
	panicked          any
	over              bool
	refused           *breakerhttp.OpenError // what the fallback was given
	starved           bool                   // the deadline passed while base waited for the request's own body

	upload   *stream // the request's body
	download *stream // the response's body, or nil
}

// byDefault is no outcome.
const byDefault = breakerhttp.Outcome(99)

// never is a deadline that no test reaches.
const never = time.Duration(1 << 62)

type exchangeKey struct{}

func (x *exchange) run(tr *breakerhttp.Transport) {
	defer func() {
		x.panicked = recover()
		x.over = true
	}()
	x.gotResp, x.gotErr = tr.RoundTrip(x.req)
}

// scriptedBase does for each request what its exchange is told.
type scriptedBase struct{}

func (scriptedBase) RoundTrip(req *http.Request) (*http.Response, error) {
	x := req.Context().Value(exchangeKey{}).(*exchange)
	x.sent++
	x.asSent = req
	r, ok := <-x.reply
	if !ok { // the test is over
		return nil, syscall.EMFILE
	}
	defer req.Body.Close()
	x.gaveResp, x.gaveErr = r.play(x)
	if x.gaveResp != nil {
		x.download, _ = x.gaveResp.Body.(*stream)
	}
	return x.gaveResp, x.gaveErr
}

// A stream is the body of a request or a response. Each Read waits for the next chunk.
type stream struct {
	length   int64 // as promised; 0 or less if unknown
	next     chan chunk
	hangUp   chan struct{} // Close closes it
	atEOF    func()        // or nil
	closed   bool
	read     int64         // bytes
	reading  bool          // a Read waits
	since    time.Duration // when it began to
	got      chunk         // what the latest Read returned
	panicked any           // or how it panicked
	failed   bool          // broken off, or not as long as promised, before it was closed
}

// A chunk is what a Read returns: a number of bytes, and an error or nil.
type chunk struct {
	n   int
	err error
}

func newStream(length int64) *stream {
	return &stream{length: length, next: make(chan chunk), hangUp: make(chan struct{})}
}

func (s *stream) Read([]byte) (int, error) {
	select {
	case c := <-s.next:
		s.read += int64(c.n)
		wrong := s.length > 0 && (s.read > s.length || errors.Is(c.err, io.EOF) && s.read < s.length)
		s.failed = s.failed || wrong || c.err != nil && !errors.Is(c.err, io.EOF)
		if errors.Is(c.err, io.EOF) && s.atEOF != nil {
			s.atEOF()
		}
		return c.n, c.err
	case <-s.hangUp:
		return 0, http.ErrBodyReadAfterClose
	}
}

func (s *stream) Close() error {
	if !s.closed {
		s.closed = true
		close(s.hangUp)
	}
	return nil
}

// begin reads from r, which leads to s, in a goroutine of its own.
func (s *stream) begin(r io.Reader, now time.Duration) {
	s.reading, s.since = true, now
	go func() {
		defer func() { s.reading, s.panicked = false, recover() }()
		n, err := r.Read(make([]byte, 1))
		s.got = chunk{n, err}
	}()
}

// passed reports whether moment passed while a Read waited.
func (s *stream) passed(moment, now time.Duration) bool {
	return s.since < moment && moment <= now
}

// A reply is what base does, and what that says of the host as long as the context has not ended.
type reply struct {
	name string
	play func(*exchange) (*http.Response, error)
	verdict
}

// GoString is for rapid.
func (r reply) GoString() string { return r.name }

type verdict struct {
	outcome    breakerhttp.Outcome
	whole      bool // there is no body that could fail
	broken     bool // the connection broke
	timeout    bool // a deadline passed
	network    bool // an error that our own network may cause
	limited    bool // a classifier can take it as Limited
	retryAfter time.Duration
}

// respond answers with a body of that length: 0 means none, and -1 that nobody knows.
func respond(status int, length int64, header http.Header) func(*exchange) (*http.Response, error) {
	return func(x *exchange) (*http.Response, error) {
		resp := &http.Response{
			StatusCode: status, Header: header.Clone(), ContentLength: length, Body: http.NoBody, Request: x.asSent,
		}
		if resp.Header == nil {
			resp.Header = http.Header{}
		}
		if length != 0 {
			resp.Body = newStream(length)
		}
		return resp, nil
	}
}

// grpc answers with a status in the trailer.
func grpc(status string) func(*exchange) (*http.Response, error) {
	return func(x *exchange) (*http.Response, error) {
		resp, err := respond(200, -1, http.Header{"Content-Type": {"application/grpc+proto"}})(x)
		resp.Trailer = http.Header{"Grpc-Status": nil}
		resp.Body.(*stream).atEOF = func() { resp.Trailer.Set("Grpc-Status", status) }
		return resp, err
	}
}

func fail(err error) func(*exchange) (*http.Response, error) {
	return func(*exchange) (*http.Response, error) { return nil, err }
}

var (
	errReset = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	errOwn   = errors.New("the caller's own body fails")
)

const (
	panicValue = "base panics"
	ownBody    = "the request's own body fails"
)

var (
	success = verdict{outcome: breakerhttp.Success}
	whole   = verdict{outcome: breakerhttp.Success, whole: true}
	failure = verdict{outcome: breakerhttp.Failure}
	timeout = verdict{outcome: breakerhttp.Failure, timeout: true, network: true}
	broken  = verdict{outcome: breakerhttp.Failure, broken: true}
	lost    = verdict{outcome: breakerhttp.Failure, broken: true, network: true}
	ignored = verdict{outcome: breakerhttp.Ignored}
)

func unavailable(retryAfter ...string) http.Header { return http.Header{"Retry-After": retryAfter} }

func failingFor(seconds int) reply {
	return reply{
		fmt.Sprintf("503 for %d s", seconds), respond(503, -1, unavailable(fmt.Sprint(seconds))),
		verdict{outcome: breakerhttp.Failure, retryAfter: time.Duration(seconds) * time.Second},
	}
}

var (
	goodReplies = []reply{
		{"200", respond(200, -1, nil), success},
		{"200 of 2 bytes", respond(200, 2, nil), success},
		{"event stream", respond(200, -1, http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}}), success},
		{"404", respond(404, 2, nil), success},
		{"204", respond(204, 0, nil), whole},
		{"gRPC OK", grpc("0"), success},
		{"gRPC UNAVAILABLE", grpc("14"), success}, // until its trailer comes
		{"429", respond(429, -1, unavailable("100")), verdict{outcome: breakerhttp.Success, limited: true, retryAfter: 100 * time.Second}},
		{"429 at any time", respond(429, 0, nil), verdict{outcome: breakerhttp.Success, limited: true, whole: true}},
	}
	badReplies = []reply{
		{"500", respond(500, -1, nil), failure},
		failingFor(7),
		failingFor(25),
		failingFor(100_000),
		{"gRPC without a body", respond(200, 0, http.Header{"Content-Type": {"application/grpc"}, "Grpc-Status": {"14"}}), failure},
		{"503 for nonsense", respond(503, 0, unavailable("7s")), failure},
		{"503 twice", respond(503, 0, unavailable("7", "8")), failure},
		{"EOF", fail(io.ErrUnexpectedEOF), lost},
		{"reset", fail(errReset), lost},
		{"nothing", fail(nil), verdict{outcome: breakerhttp.Failure, network: true}},
		{"panic", func(*exchange) (*http.Response, error) { panic(panicValue) }, failure},
	}
	neutralReplies = []reply{
		{"inner refusal", fail(&breakerhttp.OpenError{Key: "inner"}), ignored},
		{"no descriptors", fail(syscall.EMFILE), ignored},
		{ownBody, failOwnBody, ignored},
		{"Goexit", func(*exchange) (*http.Response, error) { runtime.Goexit(); return nil, nil }, ignored},
		{"cause", func(x *exchange) (*http.Response, error) {
			return nil, cmp.Or(context.Cause(x.req.Context()), error(syscall.EMFILE))
		}, ignored},
	}
)

// failOwnBody is base when the request's own body cannot be read.
func failOwnBody(x *exchange) (*http.Response, error) {
	if !x.upload.failed {
		return nil, syscall.EMFILE // it has been read to its end
	}
	return nil, errOwn
}

// verdictOn is the verdict on what base returned. If that is an error, the context and the clock
// come first.
func (x *exchange) verdictOn(r reply, opinionated bool, now time.Duration) verdict {
	v := r.verdict
	if v.limited && opinionated {
		v.outcome = breakerhttp.Limited
	}
	v.whole = v.whole || x.req.Method == http.MethodHead
	switch {
	case x.gaveErr == nil: // also after a panic
		return v
	case errors.Is(x.gaveErr, breakerhttp.ErrOpen) || x.expired || x.cancelled || x.upload.failed || x.starved:
		return ignored
	case now >= x.deadline:
		return timeout
	}
	return v
}

// verdictOnBody is the verdict on a body that a Read has ended, by io.EOF or another error.
func (x *exchange) verdictOnBody(err error, opinionated bool, now time.Duration) verdict {
	v := x.defaultVerdictOnBody(err, now)
	if opinionated && x.opinion != byDefault {
		v.outcome = x.opinion
	}
	return v
}

func (x *exchange) defaultVerdictOnBody(err error, now time.Duration) verdict {
	body := x.download
	switch {
	case err == io.EOF && x.gotResp.Trailer.Get("Grpc-Status") == "14": //nolint:errorlint // the contract of io.Reader: EOF itself
		return failure
	case err == io.EOF: //nolint:errorlint // as above
		return success
	case x.cancelled || x.upload.failed:
		return ignored
	case now >= x.deadline:
		isEvents := strings.HasPrefix(x.gotResp.Header.Get("Content-Type"), "text/event-stream")
		owed := body.read == 0 || body.length >= 0 && body.read < body.length
		if body.passed(x.deadline, now) && owed && !isEvents {
			return timeout
		}
		return ignored
	}
	return broken
}
