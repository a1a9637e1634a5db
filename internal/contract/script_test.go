package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// A trip is a request on its way: RoundTrip runs in a goroutine of its own, and
// base waits to be told what to do.
type trip struct {
	req      *http.Request
	cancel   context.CancelFunc
	deadline time.Duration // never, or since the Transport was made
	expired  bool          // the context had ended before
	body     requestBody
	call     *call // nil: unguarded, or refused in a dry run
	judged   bool  // the body of the response can still take the verdict back

	sent     int // times
	do       chan reply
	gave     error // by base
	gaveResp *http.Response
	gaveBody *scriptedBody // or nil
	resp     *http.Response
	err      error
	panicked any
	over     bool
}

// never is a deadline that no test reaches.
const never = time.Duration(1 << 62)

type tripKey struct{}

func (x *trip) run(tr *breakerhttp.Transport) {
	defer func() {
		x.panicked = recover()
		x.over = true
	}()
	x.resp, x.err = tr.RoundTrip(x.req)
}

// scriptedBase does for each request as its trip is told.
type scriptedBase struct{}

func (scriptedBase) RoundTrip(req *http.Request) (*http.Response, error) {
	x := req.Context().Value(tripKey{}).(*trip)
	x.sent++
	r := <-x.do
	_ = req.Body.Close()
	x.gaveResp, x.gave = r.play(req)
	if x.gaveResp != nil {
		x.gaveBody, _ = x.gaveResp.Body.(*scriptedBody)
	}
	return x.gaveResp, x.gave
}

// A reply is what base does, and what that says of the host while the context
// of the request has not ended.
type reply struct {
	name string
	play func(*http.Request) (*http.Response, error)
	verdict
}

// GoString is for rapid.
func (r reply) GoString() string { return r.name }

type verdict struct {
	outcome    breakerhttp.Outcome
	whole      bool // there is no body that could fail
	retryAfter time.Duration
}

// scriptedBody ends as the test says.
type scriptedBody struct {
	end    error
	closed bool
}

func (b *scriptedBody) Read([]byte) (int, error) { return 0, b.end }

func (b *scriptedBody) Close() error {
	b.closed = true
	return nil
}

func responding(status int, body bool, retryAfter ...string) func(*http.Request) (*http.Response, error) {
	return func(req *http.Request) (*http.Response, error) {
		resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: req}
		if body {
			resp.Body = &scriptedBody{}
		}
		if len(retryAfter) > 0 {
			resp.Header["Retry-After"] = retryAfter
		}
		return resp, nil
	}
}

func erring(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

const panicValue = "base panics"

var (
	success = verdict{outcome: breakerhttp.Success}
	failure = verdict{outcome: breakerhttp.Failure}
	ignored = verdict{outcome: breakerhttp.Ignored}
)

func failingFor(seconds int) reply {
	return reply{
		fmt.Sprintf("503 for %d s", seconds), responding(503, true, fmt.Sprint(seconds)),
		verdict{outcome: breakerhttp.Failure, retryAfter: time.Duration(seconds) * time.Second},
	}
}

var (
	goodReplies = []reply{
		{"200", responding(200, true), success},
		{"404", responding(404, true), success},
		{"204", responding(204, false), verdict{outcome: breakerhttp.Success, whole: true}},
		{"429", responding(429, true, "100"), success},
	}
	badReplies = []reply{
		{"500", responding(500, true), failure},
		failingFor(7),
		failingFor(25),
		failingFor(100_000),
		{"503 for nonsense", responding(503, false, "7s"), failure},
		{"503 twice", responding(503, false, "7", "8"), failure},
		{"broken", erring(io.ErrUnexpectedEOF), failure},
		{"nothing", erring(nil), failure},
		{"panic", func(*http.Request) (*http.Response, error) { panic(panicValue) }, failure},
	}
	neutralReplies = []reply{
		{"inner refusal", erring(&breakerhttp.OpenError{Key: "inner"}), ignored},
		{"no descriptors", erring(syscall.EMFILE), ignored},
		{"Goexit", func(*http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil }, ignored},
	}
)

// verdictOn is the verdict on what base gave: by the context and the clock first
// if that is an error.
func (x *trip) verdictOn(r reply, now time.Duration) verdict {
	v := r.verdict
	v.whole = v.whole || x.req.Method == http.MethodHead
	switch {
	case x.gave == nil: // also that of a panic
	case errors.Is(x.gave, breakerhttp.ErrOpen) || x.expired:
		v = ignored
	case now >= x.deadline:
		v = failure
	case x.req.Context().Err() != nil:
		v = ignored
	}
	return v
}

// A requestBody tells whether it has been closed.
type requestBody struct{ closed atomic.Bool }

func (*requestBody) Read([]byte) (int, error) { return 0, io.EOF }

func (b *requestBody) Close() error {
	b.closed.Store(true)
	return nil
}
