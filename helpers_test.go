package breakerhttp_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/goleak"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/faultserver"
	"github.com/breakerhttp/breakerhttp/internal/pipetest"
)

// eachProtocol runs f in a bubble, with a server that answers byPath.
func eachProtocol(t *testing.T, f func(t *testing.T, srv *pipetest.Server)) {
	t.Helper()
	eachProtocolOf(t, byPath, f)
}

// eachProtocolOf runs f in a bubble, with a server of handler.
func eachProtocolOf(t *testing.T, handler http.HandlerFunc, f func(t *testing.T, srv *pipetest.Server)) {
	t.Helper()
	for _, name := range []string{"HTTP/1.1", "HTTP/2"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := pipetest.NewServer(t, handler)
				if name == "HTTP/2" {
					srv.UseHTTP2()
				}
				f(t, srv)
			})
		})
	}
}

// fetch returns a response with its body unread.
func fetch(t *testing.T, rt http.RoundTripper, ctx context.Context, url string) *http.Response {
	t.Helper()
	resp, err := rt.RoundTrip(newRequest(t, ctx, url))
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	return resp
}

// A fault returns a base RoundTripper, and a URL with which it fails.
type fault func(t testing.TB) (base http.RoundTripper, url string)

// An address of a server, or the lack of one.
type address func(testing.TB) string

// A setting of a base RoundTripper.
type setting func(testing.TB, *http.Transport)

func newBase(t testing.TB, settings ...setting) *http.Transport {
	base := &http.Transport{}
	for _, set := range settings {
		set(t, base)
	}
	t.Cleanup(base.CloseIdleConnections)
	return base
}

// at sends the request to addr.
func at(addr address, settings ...setting) fault {
	return func(t testing.TB) (http.RoundTripper, string) {
		return newBase(t, settings...), "http://" + addr(t)
	}
}

// secure sends the request by TLS.
func secure(f fault) fault {
	return func(t testing.TB) (http.RoundTripper, string) {
		base, url := f(t)
		return base, strings.Replace(url, "http:", "https:", 1)
	}
}

func serving(f faultserver.Fault) address {
	return func(t testing.TB) string { return faultserver.New(t, f) }
}

func named(name string) address { return func(testing.TB) string { return name } }

func answering(status int) address {
	return func(t testing.TB) string {
		srv := httptest.NewServer(newUpstream(status))
		t.Cleanup(srv.Close)
		return srv.Listener.Addr().String()
	}
}

// overTLS is a server with TLS, and a client that trusts it, as the functions
// have changed them.
func overTLS(server, client func(*tls.Config)) fault {
	return func(t testing.TB) (http.RoundTripper, string) {
		srv := httptest.NewUnstartedServer(newUpstream(http.StatusOK))
		srv.Config.ErrorLog = log.New(io.Discard, "", 0) // failed handshakes
		srv.TLS = &tls.Config{}
		server(srv.TLS)
		srv.StartTLS()
		t.Cleanup(srv.Close)
		trusted := x509.NewCertPool()
		trusted.AddCert(srv.Certificate())
		base := newBase(t)
		base.TLSClientConfig = &tls.Config{RootCAs: trusted}
		client(base.TLSClientConfig)
		return base, srv.URL
	}
}

func asIs(*tls.Config) {}

// behindOpenCircuit is the base of a breaker around another one.
func behindOpenCircuit(t testing.TB) (http.RoundTripper, string) {
	const url = "http://a.test"
	inner, err := breakerhttp.New(respond(http.StatusOK))
	if err != nil {
		t.Fatal(err)
	}
	inner.ForceOpen(url)
	return inner, url
}

func speakHTTP2(_ testing.TB, base *http.Transport) {
	base.Protocols = new(http.Protocols)
	base.Protocols.SetUnencryptedHTTP2(true)
}

// The timeouts of a base are short: nothing else ends these requests.
const shortly = 10 * time.Millisecond

func headerTimeout(_ testing.TB, base *http.Transport) { base.ResponseHeaderTimeout = shortly }

func handshakeTimeout(_ testing.TB, base *http.Transport) { base.TLSHandshakeTimeout = shortly }

func dialTimeout(d time.Duration) setting {
	return func(_ testing.TB, base *http.Transport) {
		base.DialContext = (&net.Dialer{Timeout: d}).DialContext
	}
}

// failing makes a system call fail with errno, where a connection is made.
func failing(call string, errno syscall.Errno) setting {
	d := net.Dialer{Control: func(string, string, syscall.RawConn) error { return os.NewSyscallError(call, errno) }}
	return func(_ testing.TB, base *http.Transport) { base.DialContext = d.DialContext }
}

func throughProxy(addr address) setting {
	return func(t testing.TB, base *http.Transport) {
		base.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: addr(t)})
	}
}

// asking resolves names by the name server at addr.
func asking(network string, addr address, patience time.Duration) setting {
	return func(t testing.TB, base *http.Transport) {
		server := addr(t)
		resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server)
		}}
		base.DialContext = (&net.Dialer{Resolver: resolver, Timeout: patience}).DialContext
	}
}

// nxdomain is a name server that knows no name.
func nxdomain(t testing.TB) string {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			buf[2], buf[3] = 0x81, 0x83 // RFC 1035, section 4.1.1: a response, NXDOMAIN
			_, _ = conn.WriteTo(buf[:n], from)
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return conn.LocalAddr().String()
}

const host = "http://a.test"

func circuits(tr *breakerhttp.Transport) (n int) {
	for range tr.Snapshots() {
		n++
	}
	return n
}

// statusByHost answers 500 to hosts that begin with "bad", else 200.
func statusByHost(req *http.Request) (*http.Response, error) {
	if strings.HasPrefix(req.URL.Host, "bad") {
		return respond(500)(req)
	}
	return respond(200)(req)
}

func newHTTP2Server(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// wantError checks that err names all parts, or is nil if there are none.
func wantError(t *testing.T, err error, parts []string) {
	t.Helper()
	if len(parts) == 0 {
		if err != nil {
			t.Errorf("got error %v, want none", err)
		}
		return
	}
	if err == nil {
		t.Fatalf("got no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error:\n%v\nlacks %q", err, part)
		}
	}
	for line := range strings.Lines(err.Error()) {
		if strings.Count(line, "breakerhttp: ") != 1 || !strings.HasPrefix(line, "breakerhttp: ") {
			t.Errorf("error line %q: want the package's name once, in front", line)
		}
	}
}

// waitUntil waits for the garbage collector, and for what it sets off.
func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 500 {
		runtime.GC()
		if done() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("it never happens that %s", what)
}

// post returns a request whose body cannot be had again.
func post(t *testing.T, url string, body io.Reader, length int64) *http.Request {
	t.Helper()
	req := newRequest(t, t.Context(), url)
	req.Method, req.Body, req.ContentLength = http.MethodPost, io.NopCloser(body), length
	return req
}

// A tally is what circuit_breaker.requests reports: a count for each outcome,
// as in "ignored" or "failure timeout".
type tally map[string]int64

// newTally returns an option, and a function that collects what the Transport
// made with it reports.
func newTally(t *testing.T) (breakerhttp.Option, func() tally) {
	reader, provider := newMeter()
	return breakerhttp.WithMeterProvider(provider), func() tally {
		t.Helper()
		got := tally{}
		for _, m := range collect(t, reader).Metrics {
			if sum, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == "circuit_breaker.requests" {
				got.add(sum.DataPoints)
			}
		}
		return got
	}
}

func (y tally) add(points []metricdata.DataPoint[int64]) {
	for _, p := range points {
		attr := func(key attribute.Key) string {
			v, _ := p.Attributes.Value(key)
			return v.AsString()
		}
		what := strings.TrimSpace(attr("circuit_breaker.outcome") + " " + attr("error.type"))
		if p.Value != 0 {
			y[what] += p.Value
		}
	}
}

// totals are what Snapshot must say of the same requests.
func (y tally) totals() (sum breakerhttp.Totals) {
	for what, n := range y {
		switch outcome, _, _ := strings.Cut(what, " "); outcome {
		case "success":
			sum.Success += uint64(n)
		case "failure":
			sum.Failure += uint64(n)
		case "ignored":
			sum.Ignored += uint64(n)
		case "refused":
			sum.Refused += uint64(n)
		case "limited":
			sum.Limited += uint64(n)
		}
	}
	return sum
}

// A witness remembers what its base was given and has returned.
type witness struct {
	base http.RoundTripper
	req  *http.Request
	resp *http.Response
	err  error
}

func (w *witness) RoundTrip(req *http.Request) (*http.Response, error) {
	w.req = req
	w.resp, w.err = w.base.RoundTrip(req)
	return w.resp, w.err
}

// judged sends req through a new Transport, reads the answer, and returns how
// that was counted. It checks that the Transport hands on what base returned.
func judged(t *testing.T, base http.RoundTripper, req *http.Request, opts ...breakerhttp.Option) tally {
	t.Helper()
	seen := &witness{base: base}
	option, collect := newTally(t)
	tr := newTransport(t, seen, append(opts, option)...)
	resp, err := tr.RoundTrip(req)
	if resp != seen.resp || err != seen.err { //nolint:errorlint // the very same is wanted
		t.Errorf("got %v, %v; base returned %v, %v", resp, err, seen.resp, seen.err)
	}
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	counted := collect()
	for s := range tr.Snapshots() {
		if want := counted.totals(); s.Totals != want || s.InFlight != 0 {
			t.Errorf("Snapshot: got totals %+v, %d in flight; want those of the metric, %+v, and 0", s.Totals, s.InFlight, want)
		}
	}
	return counted
}

// newRequest returns a GET.
func newRequest(t *testing.T, ctx context.Context, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatalf("NewRequest: %v", err)
	}
	return req
}

// raceEnabled says that the race detector is on, under which allocations are not what they are
// without it.
var raceEnabled = func() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}()

func TestMain(m *testing.M) {
	time.Local = time.UTC // the texts of times do not depend on the machine
	goleak.VerifyTestMain(m)
}

// An upstream answers with a status that tests change, and counts.
type upstream struct {
	status atomic.Int64
	hits   atomic.Int64
	delay  atomic.Int64 // nanoseconds
	header atomic.Pointer[http.Header]
}

func newUpstream(status int) *upstream {
	u := &upstream{}
	u.status.Store(int64(status))
	return u
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	u.hits.Add(1)
	_, _ = io.Copy(io.Discard, req.Body)
	if d := time.Duration(u.delay.Load()); d > 0 {
		select {
		case <-time.After(d):
		case <-req.Context().Done():
		}
	}
	if h := u.header.Load(); h != nil {
		for k, v := range *h {
			w.Header()[k] = v
		}
	}
	w.WriteHeader(int(u.status.Load()))
	_, _ = io.WriteString(w, "body")
}

// newTransport is New for options that are right. The Transport lives as long as the test, because
// one that is garbage has no metrics.
func newTransport(t *testing.T, base http.RoundTripper, opts ...breakerhttp.Option) *breakerhttp.Transport {
	t.Helper()
	tr := newDroppable(t, base, opts...)
	t.Cleanup(func() { runtime.KeepAlive(tr) })
	return tr
}

// newDroppable returns a Transport that may become garbage during the test.
func newDroppable(t *testing.T, base http.RoundTripper, opts ...breakerhttp.Option) *breakerhttp.Transport {
	t.Helper()
	tr, err := breakerhttp.New(base, opts...)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return tr
}

// get sends a GET and reads the answer to its end.
func get(rt http.RoundTripper, url string) (status int, err error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	return do(rt, req)
}

func do(rt http.RoundTripper, req *http.Request) (status int, err error) {
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, errors.Join(err, resp.Body.Close())
}

func snapshot(t *testing.T, tr *breakerhttp.Transport, key string) breakerhttp.Snapshot {
	t.Helper()
	s, ok := tr.Snapshot(key)
	if !ok {
		t.Fatalf("Snapshot(%q): there is no such circuit", key)
	}
	return s
}

func wantState(t *testing.T, tr *breakerhttp.Transport, key string, want breakerhttp.State) {
	t.Helper()
	if got := snapshot(t, tr, key).State; got != want {
		t.Errorf("circuit of %s is %v, want %v", key, got, want)
	}
}

func wantRefused(t *testing.T, err error) *breakerhttp.OpenError {
	t.Helper()
	var open *breakerhttp.OpenError
	if !errors.As(err, &open) || !errors.Is(err, breakerhttp.ErrOpen) {
		t.Fatalf("got error %v, want a refusal", err)
	}
	return open
}

type closeRecorder struct {
	io.Reader
	closed atomic.Bool
}

func (c *closeRecorder) Close() error {
	c.closed.Store(true)
	return nil
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// respond is a RoundTripper that answers every request with status.
func respond(status int) roundTripFunc {
	return func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
	}
}

// hang answers when the client is gone.
func hang(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() }
