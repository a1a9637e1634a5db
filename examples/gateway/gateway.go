package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/dashboard"
)

// routes are upstreams by name. They are a flag.Value.
type routes map[string]*url.URL

func (r routes) String() string { return "" }

// Set adds a route, written as NAME=URL.
func (r routes) Set(s string) error {
	name, address, _ := strings.Cut(s, "=")
	if name == "" || strings.ContainsAny(name, "/{} ") {
		return errors.New("want NAME=URL, with a name for the start of a path")
	}
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is no URL of a host", address)
	}
	r[name] = u
	return nil
}

// newBase is how upstreams are reached. Without a timeout, no circuit would open for
// an upstream that hangs.
func newBase() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = 2 * time.Second
	return t
}

// newBreaker guards the upstreams with a circuit for each host. While one is
// open, it answers 503 in place of the upstream, with Retry-After.
func newBreaker(base http.RoundTripper, log *slog.Logger) (*breakerhttp.Transport, error) {
	return breakerhttp.New(base,
		breakerhttp.WithName("gateway"),
		breakerhttp.WithFallback(breakerhttp.ServiceUnavailable),
		breakerhttp.WithTransitionHook(breakerhttp.LogTransitions(log)),
	)
}

// newProxy sends /NAME/... to the upstream of that name. All share a breaker, which
// has a circuit for each host.
func newProxy(rs routes, breaker http.RoundTripper, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	for name, upstream := range rs {
		mux.Handle("/"+name+"/", http.StripPrefix("/"+name, &httputil.ReverseProxy{
			Transport: breaker,
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(upstream)
				r.SetXForwarded()
			},
			ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
				status := http.StatusBadGateway
				if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
					status = http.StatusGatewayTimeout
				}
				if !errors.Is(err, context.Canceled) { // the client has not just left
					log.DebugContext(r.Context(), "upstream failed", "name", name, "error", err)
				}
				http.Error(w, http.StatusText(status), status)
			},
		}))
	}
	return mux
}

// newAdmin is what operators see: the page, and that the gateway is healthy. It is
// healthy while circuits are open: the upstreams are not.
func newAdmin(breaker *breakerhttp.Transport) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/circuits/", http.StripPrefix("/circuits", dashboard.Handler(breaker, dashboard.WithControls())))
	mux.Handle("GET /{$}", http.RedirectHandler("circuits/", http.StatusSeeOther))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	return mux
}
