package breakerhttp_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/pipetest"
)

// TestGRPCStatus: the status of a gRPC response is judged, where it is in the
// trailer and where the response has nothing but headers.
func TestGRPCStatus(t *testing.T) {
	const proto = "application/grpc+proto"
	success := tally{"success": 1}
	late := func(name string) tally { return tally{"success": 1, "failure " + name: 1} }
	atOnce := func(name string) tally { return tally{"failure " + name: 1} }
	for _, tt := range []struct {
		name, path, contentType, status string
		want                            tally
	}{
		{"OK", "/trailer", proto, "0", success},
		{"CANCELLED", "/trailer", proto, "1", success},
		{"UNKNOWN", "/trailer", proto, "2", late("UNKNOWN")},
		{"INVALID_ARGUMENT", "/trailer", proto, "3", success},
		{"DEADLINE_EXCEEDED", "/trailer", proto, "4", late("DEADLINE_EXCEEDED")},
		{"NOT_FOUND", "/trailer", proto, "5", success},
		{"RESOURCE_EXHAUSTED", "/trailer", proto, "8", success},
		{"UNIMPLEMENTED", "/trailer", proto, "12", success},
		{"INTERNAL", "/trailer", proto, "13", late("INTERNAL")},
		{"UNAVAILABLE", "/trailer", proto, "14", late("UNAVAILABLE")},
		{"DATA_LOSS", "/trailer", proto, "15", late("DATA_LOSS")},
		{"UNAUTHENTICATED", "/trailer", proto, "16", success},
		{"nonsense", "/trailer", proto, "fourteen", success},
		{"none", "/trailer", proto, "", success},
		{"announced trailer", "/announced", proto, "14", late("UNAVAILABLE")},
		{"empty body, then a trailer", "/empty", proto, "14", late("UNAVAILABLE")},
		{"trailers-only", "/header", proto, "14", atOnce("UNAVAILABLE")},
		{"trailers-only, not the server's fault", "/header", proto, "5", success},
		{"trailers-only, flushed", "/flushed", proto, "14", late("UNAVAILABLE")},
		{"in the header of a response that has more", "/both", proto, "14", success},
		{"gRPC", "/trailer", "application/grpc", "14", late("UNAVAILABLE")},
		{"gRPC-Web", "/header", "application/grpc-web+json", "14", atOnce("UNAVAILABLE")},
		{"in capitals", "/trailer", "Application/GRPC", "14", late("UNAVAILABLE")},
		{"Connect", "/trailer", "application/connect+proto", "14", success},
		{"JSON, trailers-only", "/header", "application/json", "14", success},
		{"no type", "/header", "", "14", success},
	} {
		for _, opt := range []struct {
			name string
			opts []breakerhttp.Option
		}{
			{"default", nil},
			{"classifier", []breakerhttp.Option{breakerhttp.WithClassifier(breakerhttp.DefaultClassifier)}},
		} {
			t.Run(tt.name+"/"+opt.name, func(t *testing.T) {
				eachProtocolOf(t, grpcStatus(tt.contentType, tt.status), func(t *testing.T, srv *pipetest.Server) {
					got := judged(t, srv.Transport, post(t, srv.URL+tt.path, strings.NewReader("x"), 1), opt.opts...)
					if diff := cmp.Diff(tt.want, got); diff != "" {
						t.Errorf("counted (-want +got):\n%s", diff)
					}
				})
			})
		}
	}
}

// grpcStatus answers with a gRPC status in the place that the path says.
func grpcStatus(contentType, status string) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		h, flush := w.Header(), http.NewResponseController(w).Flush
		h["Content-Type"] = []string{contentType}
		where := http.TrailerPrefix + "Grpc-Status"
		defer func() {
			if status != "" {
				h.Set(where, status)
			}
		}()
		switch req.URL.Path {
		case "/announced":
			h.Set("Trailer", "Grpc-Status")
			where = "Grpc-Status"
			fallthrough
		case "/trailer":
			_, _ = io.WriteString(w, "message")
			_ = flush()
		case "/empty":
			_ = flush()
		case "/header":
			where = "Grpc-Status"
		case "/both":
			h.Set("Grpc-Status", status)
			_, _ = io.WriteString(w, "message")
			_ = flush()
			where = "Ignored"
		case "/flushed":
			h.Set("Grpc-Status", status)
			_ = flush()
			where = "Ignored"
		}
	}
}

// TestGRPCUnavailableOpens: a server that answers so opens its circuit, which
// says why.
func TestGRPCUnavailableOpens(t *testing.T) {
	for _, path := range []string{"/trailer", "/header"} {
		eachProtocolOf(t, grpcStatus("application/grpc", "14"), func(t *testing.T, srv *pipetest.Server) {
			tr := newTransport(t, srv.Transport)
			for range 5 {
				if _, err := get(tr, srv.URL+path); err != nil {
					t.Fatal(err)
				}
			}
			_, err := get(tr, srv.URL+path)
			if got, want := wantRefused(t, err).Reason, "5 failures in a row, last: UNAVAILABLE"; got != want {
				t.Errorf("got reason %q, want %q", got, want)
			}
		})
	}
}
