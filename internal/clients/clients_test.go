package clients

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/breakerhttp/breakerhttp"
)

// serve starts a server for HTTP/1 and, without TLS, HTTP/2.
func serve(t *testing.T, h http.Handler) (url string) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.URL
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newBase(t *testing.T) *http.Transport {
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	return base
}

// newTransport is breakerhttp.New for options that are right.
func newTransport(t *testing.T, base http.RoundTripper, opts ...breakerhttp.Option) *breakerhttp.Transport {
	t.Helper()
	tr, err := breakerhttp.New(base, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func snapshot(t *testing.T, tr *breakerhttp.Transport, key string) breakerhttp.Snapshot {
	t.Helper()
	s, ok := tr.Snapshot(key)
	if !ok {
		t.Fatalf("there is no circuit %q", key)
	}
	return s
}
