package breakerhttp

import (
	"io"
	"net/http"
	"sync/atomic"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// canFailLate reports whether a response has a body that can still fail. The body of 101 Switching
// Protocols is a connection, whose methods a wrapper would hide. An empty body over HTTP/2 is not
// http.NoBody, and only its length shows that it is empty.
func canFailLate(req *http.Request, resp *http.Response) bool {
	if resp == nil || resp.Body == nil || resp.ContentLength == 0 || resp.Body == http.NoBody ||
		req != nil && req.Method == http.MethodHead {
		return false
	}
	switch resp.StatusCode {
	case http.StatusSwitchingProtocols, http.StatusNoContent, http.StatusNotModified:
		return false
	}
	return true
}

// A responseBody gives the circuit the verdict on the end of a successful response's body. The
// caller may Close it while it is being read. One is made for each response, so it has no more
// fields than it needs.
type responseBody struct {
	io.ReadCloser
	host    *host
	out     *http.Request // as base got it
	resp    *http.Response
	receipt circuit.Receipt
	owed    int64 // bytes still to come; -1 if the length is unknown and nothing has come
	ended   atomic.Bool
}

// An askedBody is a responseBody whose end a user's Classifier judges.
type askedBody struct {
	responseBody
	attempt Attempt // Request and Duration, as they were when the headers came
}

// watch returns what replaces the body of a response that was judged a success.
func (x *exchange) watch() io.ReadCloser {
	if x.t.classifier == nil {
		b := &responseBody{}
		b.init(x)
		return b
	}
	b := &askedBody{attempt: Attempt{Request: x.req, Duration: x.took}}
	b.init(x)
	return b
}

func (b *responseBody) init(x *exchange) {
	b.ReadCloser, b.resp, b.owed = x.resp.Body, x.resp, max(x.resp.ContentLength, -1)
	b.host, b.out, b.receipt = x.host, x.out, x.call.Receipt
}

func (b *responseBody) Read(p []byte) (int, error) { return b.read(p, nil) }

func (b *askedBody) Read(p []byte) (int, error) { return b.read(p, &b.attempt) }

// read reads, and judges the end of the body. If asked is not nil, the user's Classifier judges it.
func (b *responseBody) read(p []byte, asked *Attempt) (int, error) {
	waited := b.owed == 0 || !isOver(b.out.Context())
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.owed = max(b.owed-int64(n), 0)
	}
	if err != nil && !b.ended.Swap(true) {
		b.end(err, waited, asked)
	}
	return n, err
}

// Close marks the end before it closes the body: whatever a Read returns after that, the caller has
// caused it.
func (b *responseBody) Close() error {
	if !b.ended.Swap(true) {
		b.host.circuit.Ended(b.receipt)
	}
	return b.ReadCloser.Close()
}

// end judges a body that has ended with err. waited says that the Read that returned err waited for
// the host, because the context had not ended before it.
func (b *responseBody) end(err error, waited bool, asked *Attempt) {
	eof := err == io.EOF //nolint:errorlint // the io.Reader contract: EOF itself
	if eof && asked == nil && !b.mayHaveGRPCStatus() {
		b.host.circuit.Ended(b.receipt)
		return
	}
	a := Attempt{Request: b.out}
	if asked != nil {
		a = *asked
	}
	a.Response, a.Ended = b.resp, true
	a.expired, a.owed = !waited, b.owed != 0
	if sent := watchedBody(b.out); sent != nil {
		a.bodyFault, a.uploading = sent.failed(), sent.keptWaiting()
	}
	if !eof {
		a.Err = err
	}
	outcome, errorType := judge(&a)
	if asked != nil {
		outcome = b.host.t.classifier(a)
		if errorType == "" {
			errorType = errorTypeOther
		}
	}
	switch outcome {
	case Success:
		b.host.circuit.Ended(b.receipt)
	case Failure:
		b.host.failLate(b.out, b.receipt, circuit.Verdict{
			Outcome:   circuit.Failure,
			ErrorType: errorType,
			Detail:    describe(&a, errorType),
			Broken:    errorType == errorTypeBody && isBroken(err),
		})
	}
}

// mayHaveGRPCStatus reports whether the response has trailers, or had an empty body of unknown
// length, in which case its gRPC status may be in the header.
func (b *responseBody) mayHaveGRPCStatus() bool { return len(b.resp.Trailer) != 0 || b.owed < 0 }

// failLate gives the verdict on a response that failed after it had counted as a success. If the
// circuit has been evicted meanwhile, only the metrics count the failure.
func (h *host) failLate(req *http.Request, r circuit.Receipt, v circuit.Verdict) {
	by := circuit.Cause{Context: req.Context()}
	if !h.circuit.Late(&by, r, v) {
		h.series.retire(circuit.Totals{Failures: []circuit.ErrorTotal{{Type: v.ErrorType, Count: 1}}})
	}
	h.emit(&by)
	h.publishResult(&by, true)
}
