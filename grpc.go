package breakerhttp

import (
	"net/http"
	"strings"
)

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
