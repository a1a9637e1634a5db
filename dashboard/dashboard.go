// Package dashboard shows the circuits of a [breakerhttp.Transport]: a live page
// for people, and JSON for programs. It is meant for an admin mux, which says who
// may see it:
//
//	admin.Handle("/circuits/", http.StripPrefix("/circuits", dashboard.Handler(t)))
//
// All URLs in the page are relative, so it may be anywhere. Everything comes out
// of the binary, and nothing runs while nobody looks.
package dashboard

import (
	"bytes"
	"embed"
	"net/http"
	"net/url"
	"path"

	"github.com/breakerhttp/breakerhttp"
)

// An Option configures a [Handler].
type Option interface{ apply(*config) }

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

type config struct{ controls bool }

// WithControls lets who sees the page also act, after a confirmation. It adds
//
//	POST force-open      refuse every request of a circuit until reset
//	POST force-closed    admit every request of a circuit until reset
//	POST reset           close a circuit, empty it, and end forcing it
//
// each with the circuit's key as form value "key". They answer with the circuit's
// [breakerhttp.Snapshot] as JSON, 400 without a key, and 404 to the reset of a
// circuit that there is not. Requests that a browser sends on behalf of another
// origin are refused as [http.CrossOriginProtection] does. Who may send the
// others is for the admin mux to say.
func WithControls() Option {
	return optionFunc(func(c *config) { c.controls = true })
}

//go:embed assets
var assets embed.FS

// policy lets the page load its own parts only, and no other page frame it. No
// script may write HTML, so that a key cannot become any.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Handler returns a handler of
//
//	GET /                 the page
//	GET /circuits.json    {"now": ..., "circuits": [...], "transitions": [...]}
//	GET /events           the same and what changes of it, once a second at most, as server-sent events
//
// and of what the page loads. In circuits.json, "circuits" are the Snapshots of
// all circuits by key, "transitions" are the latest 256, the oldest first, and
// "now" is the time of them. Its names are stable; others may be added.
//
// A stream of events ends with its request, and when its [http.Server] shuts
// down. It outlives the server's ReadTimeout and WriteTimeout, but not a client
// that takes nothing for ten seconds. All streams of a Handler share one reading
// of the circuits a second.
func Handler(t *breakerhttp.Transport, opts ...Option) http.Handler {
	var c config
	for _, o := range opts {
		o.apply(&c)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", page(c.controls))
	for name, contentType := range parts() {
		mux.Handle("GET /"+name, content(embedded(name), contentType))
	}
	mux.HandleFunc("GET /circuits.json", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, read(t)) })
	s := &streams{feed: feed{t: t}}
	mux.Handle("GET /events", s)
	if c.controls {
		mux.Handle("POST /force-open", control(t, t.ForceOpen))
		mux.Handle("POST /force-closed", control(t, t.ForceClosed))
		mux.Handle("POST /reset", control(t, t.Reset))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		s.watch(r)
		if r.URL.Path == "" {
			redirectToSlash(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// redirectToSlash adds the slash that relative URLs need to a prefix that
// [http.StripPrefix] has stripped all of. The Location is relative too: a proxy
// may have stripped more.
func redirectToSlash(w http.ResponseWriter, r *http.Request) {
	last := "."
	if u, err := url.ParseRequestURI(r.RequestURI); err == nil && u.Path != "" {
		last = path.Base(u.Path)
	}
	w.Header().Set("Location", "./"+url.PathEscape(last)+"/")
	w.WriteHeader(http.StatusPermanentRedirect)
}

// page is the page, which says whether there are controls.
func page(controls bool) http.Handler {
	p := embedded("page.html")
	if controls {
		p = bytes.Replace(p, []byte(`data-controls="no"`), []byte(`data-controls="yes"`), 1)
	}
	return content(p, "text/html; charset=utf-8")
}

// parts returns what the page loads by name, and the content type of each. They
// do not depend on what this machine thinks that a type is.
func parts() map[string]string {
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	files, err := assets.ReadDir("assets")
	if err != nil {
		panic(err) // the binary was built without them
	}
	found := map[string]string{}
	for _, f := range files {
		if contentType, ok := types[path.Ext(f.Name())]; ok {
			found[f.Name()] = contentType
		}
	}
	return found
}

func embedded(name string) []byte {
	b, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(err) // the binary was built without it
	}
	return b
}

func content(b []byte, contentType string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(b) // the client's loss
	})
}

// maxForm bounds what a control reads: a key, percent-encoded.
const maxForm = 64 << 10

// control does something to the circuit that the form names.
func control(t *breakerhttp.Transport, act func(key string)) http.Handler {
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		key := r.PostFormValue("key")
		if key == "" {
			http.Error(w, "the form value key is missing", http.StatusBadRequest)
			return
		}
		act(key)
		snapshot, ok := t.Snapshot(key)
		if !ok {
			http.Error(w, "there is no such circuit", http.StatusNotFound)
			return
		}
		writeJSON(w, snapshot)
	}))
}
