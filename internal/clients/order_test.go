package clients

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gregjones/httpcache"
	docker "github.com/moby/moby/client"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"github.com/breakerhttp/breakerhttp"
)

// TestOAuth2: with the breaker inside, the server of the tokens has a circuit of its
// own, and its failures are not those of the API.
func TestOAuth2(t *testing.T) {
	tokens := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	api := serve(t, http.NotFoundHandler())
	tr := newTransport(t, newBase(t))
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: tr})
	config := clientcredentials.Config{ClientID: "id", ClientSecret: "secret", TokenURL: tokens}

	client := config.Client(ctx)
	for range 6 {
		if _, err := client.Get(api); err == nil {
			t.Fatal("got a response without a token")
		}
	}
	if _, err := client.Get(api); !errors.Is(err, breakerhttp.ErrOpen) {
		t.Errorf("got error %v, want the refusal of the token server's circuit", err)
	}
	if s := snapshot(t, tr, tokens); s.State != breakerhttp.StateOpen {
		t.Errorf("circuit of the token server is %v, want open", s.State)
	}
	if _, ok := tr.Snapshot(api); ok {
		t.Error("the API has a circuit, though no request has reached it")
	}

	ctx = context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: newBase(t)})
	outside := newTransport(t, config.Client(ctx).Transport)
	for range 5 {
		if _, err := (&http.Client{Transport: outside}).Get(api); err == nil {
			t.Fatal("got a response without a token")
		}
	}
	if s := snapshot(t, outside, api); s.State != breakerhttp.StateOpen {
		t.Errorf("with the breaker outside, the API's circuit is %v, want it open for what the token server did", s.State)
	}
}

// TestHTTPCache: with the breaker inside, what is fresh in the cache is answered
// though the circuit is open, and counts as no success of the host.
func TestHTTPCache(t *testing.T) {
	var hits atomic.Int64
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		w.Header().Set("Cache-Control", "max-age=3600")
		_, _ = io.WriteString(w, "cached")
	}))
	tr := newTransport(t, newBase(t))
	cache := httpcache.NewMemoryCacheTransport()
	cache.Transport = tr
	client := cache.Client()
	get := func() (string, error) {
		resp, err := client.Get(url)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}
	for i := range 3 {
		if got, err := get(); got != "cached" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if i == 1 {
			tr.ForceOpen(url)
		}
	}
	if got := snapshot(t, tr, url).Totals; got != (breakerhttp.Totals{Success: 1}) || hits.Load() != 1 {
		t.Errorf("got totals %+v and %d hits, want one success and one hit", got, hits.Load())
	}
}

// TestDocker: requests through a unix socket have no host and so no circuit, unless
// a key func names one.
func TestDocker(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "docker.sock")
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", "1.50")
	})}
	l := listen(t, "unix", socket)
	done := make(chan error)
	go func() { done <- srv.Serve(l) }()
	defer func() {
		_ = srv.Close()
		<-done
	}()
	base := newBase(t)
	base.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	ping := func(tr *breakerhttp.Transport) error {
		client, err := docker.New(docker.WithHost("unix://"+socket), docker.WithHTTPClient(&http.Client{Transport: tr}))
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Ping(t.Context(), docker.PingOptions{})
		return err
	}

	unguarded := newTransport(t, base)
	if err := ping(unguarded); err != nil {
		t.Error(err)
	}
	for s := range unguarded.Snapshots() {
		t.Errorf("there is a circuit %q", s.Key)
	}

	guarded := newTransport(t, base, breakerhttp.WithKey(func(*http.Request) string { return "docker" }))
	if err := ping(guarded); err != nil {
		t.Error(err)
	}
	guarded.ForceOpen("docker")
	if err := ping(guarded); !errors.Is(err, breakerhttp.ErrOpen) {
		t.Errorf("got error %v, want a refusal", err)
	}
}

// TestClientGoRetriesFallbacks: client-go sends a request again that a fallback has
// answered with a Retry-After.
func TestClientGoRetriesFallbacks(t *testing.T) {
	fails := true
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if fails {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	tr := newTransport(t, newBase(t), breakerhttp.WithFallback(breakerhttp.ServiceUnavailable),
		breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: 1, OpenFor: time.Second}))
	call := kubernetes(t, url, tr)
	if err := call(t.Context()); err == nil {
		t.Error("got no error of a host that fails")
	}
	fails = false
	if err := call(t.Context()); err != nil {
		t.Errorf("got error %v, want the answer of the host, a second later", err)
	}
	if got := snapshot(t, tr, url).Totals; got != (breakerhttp.Totals{Success: 1, Failure: 1, Refused: 1}) {
		t.Errorf("got totals %+v, want a failure, a refusal and a success", got)
	}
}

// TestClientGoFindsTheBase: what client-go asks a base about, it finds through the
// Transport.
func TestClientGoFindsTheBase(t *testing.T) {
	base, err := rest.TransportFor(&rest.Config{
		Host: "https://a.test", BearerToken: "token", TLSClientConfig: rest.TLSClientConfig{ServerName: "api.test"},
	})
	if err != nil {
		t.Fatal(err)
	}
	config, err := utilnet.TLSClientConfig(newTransport(t, base))
	if err != nil || config.ServerName != "api.test" {
		t.Errorf("got %v, %v; want the TLS configuration of the base", config, err)
	}
}
