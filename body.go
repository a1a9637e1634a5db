package breakerhttp

import (
	"io"
	"net/http"
	"sync/atomic"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// canFailLate reports whether a response has a body that can still fail. That of
// 101 Switching Protocols is a connection, whose methods a wrapper would hide.
func canFailLate(req *http.Request, resp *http.Response) bool {
	return resp != nil && resp.Body != nil && resp.Body != http.NoBody &&
		req.Method != http.MethodHead && resp.StatusCode != http.StatusSwitchingProtocols
}

// A responseBody tells the circuit how the body of a successful response ended.
// The caller may Close it while it is being read.
type responseBody struct {
	io.ReadCloser
	host    *host
	req     *http.Request
	receipt circuit.Receipt
	sent    *requestBody // nil unless it is watched
	ended   atomic.Bool
}

func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !b.ended.Swap(true) {
		b.end(err)
	}
	return n, err
}

// Close marks the end first: what a Read returns from then on is the caller's
// own doing.
func (b *responseBody) Close() error {
	if !b.ended.Swap(true) {
		b.end(io.EOF)
	}
	return b.ReadCloser.Close()
}

func (b *responseBody) end(err error) {
	switch {
	case err == io.EOF: //nolint:errorlint // the io.Reader contract: EOF itself
		b.host.circuit.Ended(b.receipt)
	case timedOut(b.req):
		b.host.failLate(b.req, b.receipt, errorTypeTimeout)
	case !cancelled(b.req) && !b.sent.failed():
		b.host.failLate(b.req, b.receipt, errorTypeBody)
	}
}

func (h *host) failLate(req *http.Request, r circuit.Receipt, errorType string) {
	by := circuit.Cause{Context: req.Context()}
	v := circuit.Verdict{Outcome: circuit.Failure, ErrorType: errorType, Detail: "response body broken off"}
	if errorType == errorTypeTimeout {
		v.Detail = "timeout in the response body"
	}
	if !h.circuit.Late(&by, h.t.now(), r, v) {
		h.series.retire(circuit.Totals{Failures: []circuit.ErrorTotal{{Type: errorType, Count: 1}}})
	}
	h.tell(&by)
	h.share(&by, true)
}
