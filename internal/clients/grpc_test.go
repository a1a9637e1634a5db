package clients

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

const (
	check = "/grpc.health.v1.Health/Check" // unary
	watch = "/grpc.health.v1.Health/Watch" // streams from the server
)

// A health answers each call with a number of messages, and then with a code.
type health struct {
	healthpb.UnimplementedHealthServer
	messages int
	code     codes.Code
}

func (h *health) Check(context.Context, *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	return &healthpb.HealthCheckResponse{}, status.Error(h.code, "from the test")
}

func (h *health) Watch(_ *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	for range h.messages {
		if err := stream.Send(&healthpb.HealthCheckResponse{}); err != nil {
			return err
		}
	}
	return status.Error(h.code, "from the test")
}

// byServeHTTP starts a server of grpc-go within a server of net/http.
func byServeHTTP(t *testing.T, h *health) (url string) {
	srv := grpc.NewServer()
	healthpb.RegisterHealthServer(srv, h)
	return serve(t, srv)
}

// byGRPC starts a server of grpc-go that speaks HTTP/2 by itself, and answers with
// nothing but headers where it can.
func byGRPC(t *testing.T, h *health) (url string) {
	srv := grpc.NewServer()
	healthpb.RegisterHealthServer(srv, h)
	l := listen(t, "tcp", "127.0.0.1:0")
	done := make(chan error)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String()
}

// byConnect starts a server of connect-go.
func byConnect(t *testing.T, h *health) (url string) {
	answer := func() error {
		if h.code == codes.OK {
			return nil
		}
		return connect.NewError(connect.Code(h.code), errors.New("from the test"))
	}
	mux := http.NewServeMux()
	mux.Handle(check, connect.NewUnaryHandler(check,
		func(context.Context, *connect.Request[healthpb.HealthCheckRequest]) (*connect.Response[healthpb.HealthCheckResponse], error) {
			return connect.NewResponse(&healthpb.HealthCheckResponse{}), answer()
		}))
	mux.Handle(watch, connect.NewServerStreamHandler(watch,
		func(_ context.Context, _ *connect.Request[healthpb.HealthCheckRequest], stream *connect.ServerStream[healthpb.HealthCheckResponse]) error {
			for range h.messages {
				if err := stream.Send(&healthpb.HealthCheckResponse{}); err != nil {
					return err
				}
			}
			return answer()
		}))
	return serve(t, mux)
}

// TestGRPCStatus: a server whose calls fail by its own fault opens its circuit,
// whatever the protocol and kind of call; other codes do not. Where a protocol has
// the status in its body, the circuit does not see it.
func TestGRPCStatus(t *testing.T) {
	type client = *connect.Client[healthpb.HealthCheckRequest, healthpb.HealthCheckResponse]
	unary := func(c client) error {
		_, err := c.CallUnary(t.Context(), connect.NewRequest(&healthpb.HealthCheckRequest{}))
		return err
	}
	stream := func(c client) error {
		stream, err := c.CallServerStream(t.Context(), connect.NewRequest(&healthpb.HealthCheckRequest{}))
		if err != nil {
			return err
		}
		for stream.Receive() {
		}
		return errors.Join(stream.Err(), stream.Close())
	}
	calls := []struct {
		name     string
		path     string
		call     func(client) error
		messages int
	}{
		{"unary", check, unary, 0},
		{"stream", watch, stream, 3},
		{"stream without a message", watch, stream, 0},
	}
	gRPC, web, connectProtocol := connect.WithGRPC(), connect.WithGRPCWeb(), connect.WithProtoJSON()
	for _, tt := range []struct {
		name   string
		server func(*testing.T, *health) (url string)
		http2  bool
		speak  connect.ClientOption
		seen   [3]string // the reason why each kind of call opens the circuit if it is UNAVAILABLE
	}{
		{"grpc-go", byGRPC, true, gRPC, [3]string{"UNAVAILABLE", "UNAVAILABLE", "UNAVAILABLE"}},
		{"grpc-go by ServeHTTP", byServeHTTP, true, gRPC, [3]string{"UNAVAILABLE", "UNAVAILABLE", "UNAVAILABLE"}},
		{"connect-go", byConnect, true, gRPC, [3]string{"UNAVAILABLE", "UNAVAILABLE", "UNAVAILABLE"}},
		{"connect-go, gRPC-Web over HTTP/1.1", byConnect, false, web, [3]string{"UNAVAILABLE", "", "UNAVAILABLE"}},
		{"connect-go, gRPC-Web over HTTP/2", byConnect, true, web, [3]string{"UNAVAILABLE", "", "UNAVAILABLE"}},
		{"connect-go, Connect over HTTP/1.1", byConnect, false, connectProtocol, [3]string{"503 Service Unavailable", "", ""}},
		{"connect-go, Connect over HTTP/2", byConnect, true, connectProtocol, [3]string{"503 Service Unavailable", "", ""}},
	} {
		for i, call := range calls {
			for _, code := range []codes.Code{codes.OK, codes.NotFound, codes.Unavailable} {
				t.Run(tt.name+"/"+call.name+"/"+code.String(), func(t *testing.T) {
					url := tt.server(t, &health{messages: call.messages, code: code})
					base := newBase(t)
					base.Protocols = new(http.Protocols)
					base.Protocols.SetHTTP1(!tt.http2)
					base.Protocols.SetUnencryptedHTTP2(tt.http2)
					tr := newTransport(t, base)
					client := connect.NewClient[healthpb.HealthCheckRequest, healthpb.HealthCheckResponse](
						&http.Client{Transport: tr}, url+call.path, tt.speak)
					for range 5 {
						err := call.call(client)
						if got := connect.CodeOf(err); err != nil && got != connect.Code(code) || (err == nil) != (code == codes.OK) {
							t.Errorf("got error %v, want code %v", err, code)
						}
					}
					want := ""
					if seen := tt.seen[i]; code == codes.Unavailable && seen != "" {
						want = "5 failures in a row, last: " + seen
					}
					if got := snapshot(t, tr, url).Reason; got != want {
						t.Errorf("circuit opened because of %q, want %q", got, want)
					}
				})
			}
		}
	}
}
