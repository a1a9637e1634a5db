// Package dashboard shows the circuits of a [breakerhttp.Transport]: a live page for people, and
// JSON for programs. It is made for an admin mux, which decides who may see it:
//
//	admin.Handle("/circuits/", http.StripPrefix("/circuits", dashboard.Handler(t)))
//
// All URLs in the page are relative, so it may be mounted anywhere. It loads nothing from other
// servers, and nothing runs while nobody looks.
package dashboard

import (
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/breakerhttp/breakerhttp"
)

// An Option configures a [Handler].
type Option interface{ apply(*config) }

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// config holds what the options have set.
type config struct {
	controls bool
	hosts    map[string]bool // hosts whose requests are answered; nil means the default
	origins  http.CrossOriginProtection
}

// WithControls lets people act on the page, after a confirmation. It adds
//
//	POST force-open      refuse every request of a circuit until it is reset
//	POST force-closed    admit every request of a circuit until it is reset
//	POST reset           close a circuit, empty its counts, and end forcing it
//
// Each takes the circuit's key as the form value "key", written as circuits.json writes it, and
// answers with the circuit as circuits.json shows it. It answers 400 without a key, and 404 with
// the nearest names if there is no such circuit.
//
// With controls, only requests whose Host header is localhost or a loopback address are answered,
// unless [WithHosts] names others, and requests that a browser sends on behalf of another origin
// are refused as by [http.CrossOriginProtection]. Who may send other requests is up to the admin
// mux.
func WithControls() Option {
	return optionFunc(func(c *config) { c.controls = true })
}

// WithTrustedOrigins lets pages of other origins, such as "https://admin.example.com", send what
// [WithControls] adds, as [http.CrossOriginProtection.AddTrustedOrigin] does. It is for proxies
// that change the Host header: behind them the page itself looks like another origin. It panics if
// an origin is not a scheme with a host.
func WithTrustedOrigins(origins ...string) Option {
	return optionFunc(func(c *config) {
		for _, o := range origins {
			if err := c.origins.AddTrustedOrigin(o); err != nil {
				panic("dashboard: WithTrustedOrigins: " + err.Error())
			}
		}
	})
}

// securityPolicy lets the page load its own parts only, and lets no other page frame it. No script
// may write HTML, so a key cannot become HTML.
const securityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Handler returns a handler of
//
//	GET /                 the page
//	GET /circuits.json    {"now": ..., "circuits": [...], "transitions": [...], ...}
//	GET /events           the same, and then its changes, at most once a second, as server-sent events
//
// and of what the page loads. docs/circuits-json.md describes circuits.json. Its names are stable;
// others may be added.
//
// A stream of events ends with its request, and when its [http.Server] shuts down. It outlives the
// server's ReadTimeout and WriteTimeout, but not a client that has stopped taking events. All
// streams of a Handler share one reading of the circuits per second.
func Handler(t *breakerhttp.Transport, opts ...Option) http.Handler {
	var c config
	for _, o := range opts {
		o.apply(&c)
	}
	circuits := newSource(t)
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", page(c.controls))
	for name, contentType := range parts() {
		mux.Handle("GET /"+name, content(embedded(name), contentType))
	}
	mux.HandleFunc("GET /circuits.json", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, circuits.read()) })
	s := &streams{feed: newFeed(circuits)}
	mux.Handle("GET /events", s)
	if c.controls {
		for path, act := range map[string]func(string){
			"/force-open": t.ForceOpen, "/force-closed": t.ForceClosed, "/reset": t.Reset,
		} {
			mux.Handle("POST "+path, c.origins.Handler(control(t, act)))
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", securityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		s.watch(r)
		switch p := r.URL.Path; {
		case !c.answers(hostOf(r.Host)):
			refuseHost(w, r.Host)
		case p == "" && !strings.HasSuffix(requestedPath(r), "/"):
			redirectToSlash(w, r)
		case path.Clean("/"+p) != "/"+strings.TrimPrefix(p, "/"):
			http.NotFound(w, r) // the mux would redirect it to a path without the prefix
		default:
			mux.ServeHTTP(w, rooted(r))
		}
	})
}

// requestedPath returns the path that the client asked for, before any handler stripped it, or ""
// if the request did not come from a client.
func requestedPath(r *http.Request) string {
	u, err := url.ParseRequestURI(r.RequestURI)
	if err != nil {
		return ""
	}
	return u.Path
}

// redirectToSlash redirects a request whose whole path [http.StripPrefix] has stripped to the same
// path with a slash, which the relative URLs of the page need. The Location is relative too,
// because a proxy may have stripped more.
func redirectToSlash(w http.ResponseWriter, r *http.Request) {
	last := "."
	if p := requestedPath(r); p != "" {
		last = path.Base(p)
	}
	w.Header().Set("Location", "./"+url.PathEscape(last)+"/")
	w.WriteHeader(http.StatusPermanentRedirect)
}

// rooted returns the request with a path that begins with a slash, even if [http.StripPrefix] has
// stripped the slash.
func rooted(r *http.Request) *http.Request {
	if strings.HasPrefix(r.URL.Path, "/") {
		return r
	}
	copied, u := *r, *r.URL
	u.Path, u.RawPath = "/"+u.Path, ""
	copied.URL = &u
	return &copied
}
