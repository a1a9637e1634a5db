package dashboard_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/dashboard"
)

func TestMain(m *testing.M) {
	time.Local = time.UTC // the texts of times do not depend on the machine
	goleak.VerifyTestMain(m)
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func respond(status int) roundTripFunc {
	return func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: http.Header{}, Body: http.NoBody, Request: req}, nil
	}
}

func newTransport(t *testing.T, base http.RoundTripper, opts ...breakerhttp.Option) *breakerhttp.Transport {
	t.Helper()
	tr, err := breakerhttp.New(base, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// request makes n requests through a Transport.
func request(t *testing.T, tr *breakerhttp.Transport, n int, url string) {
	t.Helper()
	for range n {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := tr.RoundTrip(req); err == nil {
			_ = resp.Body.Close()
		}
	}
}

// admin is the Host that requests name, unless a test says otherwise.
const admin = "127.0.0.1:8081"

// do asks a handler without a network.
func do(h http.Handler, method, target string, form url.Values, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	req.Host = admin
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

func TestMethods(t *testing.T) {
	tr := newTransport(t, respond(200))
	plain, controls := dashboard.Handler(tr), dashboard.Handler(tr, dashboard.WithControls())
	for _, tt := range []struct {
		handler        http.Handler
		method, target string
		status         int
		allow          string
	}{
		{plain, "GET", "/", 200, ""},
		{plain, "HEAD", "/", 200, ""},
		{plain, "POST", "/", 405, "GET, HEAD"},
		{plain, "POST", "/circuits.json", 405, "GET, HEAD"},
		{plain, "DELETE", "/events", 405, "GET, HEAD"},
		{plain, "HEAD", "/events", 200, ""},
		{plain, "GET", "/nothing", 404, ""},
		{plain, "GET", "/assets/page.html", 404, ""},
		{plain, "POST", "/force-open", 404, ""},
		{plain, "POST", "/force-closed", 404, ""},
		{plain, "POST", "/reset", 404, ""},
		{controls, "GET", "/force-open", 405, "POST"},
		{controls, "GET", "/force-closed", 405, "POST"},
		{controls, "GET", "/reset?key=http://a.test", 405, "POST"},
		{controls, "PUT", "/reset", 405, "POST"},
	} {
		w := do(tt.handler, tt.method, tt.target, nil)
		if w.Code != tt.status || w.Header().Get("Allow") != tt.allow {
			t.Errorf("%s %s: got %d, Allow %q, want %d, %q", tt.method, tt.target, w.Code, w.Header().Get("Allow"), tt.status, tt.allow)
		}
		for _, h := range []struct{ name, want string }{
			{"Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
				"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"},
			{"X-Content-Type-Options", "nosniff"},
			{"Referrer-Policy", "no-referrer"},
			{"Cross-Origin-Resource-Policy", "same-origin"},
			{"Cache-Control", "no-store"},
		} {
			if got := w.Header().Get(h.name); got != h.want {
				t.Errorf("%s %s: got %s %q, want %q", tt.method, tt.target, h.name, got, h.want)
			}
		}
	}
}

// TestPage follows every reference of the page and of what it loads, below a
// prefix: all lead to the handler itself, to all that is embedded, and nothing in
// the page needs a weaker policy.
func TestPage(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/ops/circuits/", http.StripPrefix("/ops/circuits", dashboard.Handler(newTransport(t, respond(200)))))
	page := do(mux, "GET", "/ops/circuits/", nil)
	if got, want := page.Header().Get("Content-Type"), "text/html; charset=utf-8"; got != want {
		t.Errorf("got Content-Type %q, want %q", got, want)
	}
	html := page.Body.String()
	for _, forbidden := range []string{`<style`, `\sstyle=`, `\son[a-z]+=`, `<script>`, `https?://`, `(src|href)="/`} {
		if found := regexp.MustCompile(forbidden).FindString(html); found != "" {
			t.Errorf("the page contains %q", found)
		}
	}
	reference := regexp.MustCompile(`"(?:\./)?([\w-]+\.(?:css|js|json|svg))"`)
	found := map[string]string{}
	for texts := []string{html}; len(texts) > 0; texts = texts[1:] {
		for _, m := range reference.FindAllStringSubmatch(texts[0], -1) {
			name := m[1]
			if _, ok := found[name]; ok {
				continue
			}
			w := do(mux, "GET", "/ops/circuits/"+name, nil)
			if w.Code != http.StatusOK {
				t.Errorf("%s: got %d, want 200", name, w.Code)
			}
			found[name] = w.Header().Get("Content-Type")
			texts = append(texts, w.Body.String())
		}
	}
	want := map[string]string{"circuits.json": "application/json"}
	files, err := os.ReadDir("assets")
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	for _, f := range files {
		if f.Name() != "page.html" {
			want[f.Name()] = types[path.Ext(f.Name())]
		}
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("what the page loads, and types, -want +got:\n%s", diff)
	}
}

func TestPageKnowsOfControls(t *testing.T) {
	tr := newTransport(t, respond(200))
	for _, tt := range []struct {
		want string
		opts []dashboard.Option
	}{
		{`data-controls="no"`, nil},
		{`data-controls="yes"`, []dashboard.Option{dashboard.WithControls()}},
	} {
		if html := do(dashboard.Handler(tr, tt.opts...), "GET", "/", nil).Body.String(); !strings.Contains(html, tt.want) {
			t.Errorf("with %d options the page does not contain %s", len(tt.opts), tt.want)
		}
	}
}

// TestPrefix: the page is at the prefix with a slash, whatever of it the mux matches and
// StripPrefix strips. Nothing redirects more than once, or to where the page is not.
func TestPrefix(t *testing.T) {
	for _, tt := range []struct {
		name, pattern, strip, get, want string
	}{
		{"at the root", "/", "", "/", "/"},
		{"stripped without its slash", "/ops/circuits/", "/ops/circuits", "/ops/circuits/", "/ops/circuits/"},
		{"stripped with its slash", "/circuits/", "/circuits/", "/circuits/", "/circuits/"},
		{"the mux redirects", "/circuits/", "/circuits/", "/circuits", "/circuits/"},
		{"a router matches all of it", "/ops/what%3F", "/ops/what?", "/ops/what%3F", "/ops/what%3F/"},
		{"an escaped prefix", "/ops/what%3F/", "/ops/what?", "/ops/what%3F/", "/ops/what%3F/"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mux := http.NewServeMux()
			h := http.StripPrefix(tt.strip, dashboard.Handler(newTransport(t, respond(200))))
			mux.Handle(tt.pattern, h)
			if slashed := strings.TrimSuffix(tt.pattern, "/") + "/"; slashed != tt.pattern {
				mux.Handle(slashed, h)
			}
			server := httptest.NewServer(mux)
			defer server.Close()
			client := server.Client()
			client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
				if len(via) > 1 {
					return http.ErrUseLastResponse
				}
				return nil
			}
			for name, content := range map[string]string{"": "<title>Circuits", "circuits.json": `"circuits":[]`, "dashboard.js": "import"} {
				path := tt.get
				if name != "" {
					path = tt.want + name
				}
				resp, err := client.Get(server.URL + path)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if got := resp.Request.URL.EscapedPath(); resp.StatusCode != 200 || got != tt.want+name || !strings.Contains(string(body), content) {
					t.Errorf("%s: got to %s, %s, want %s with %s", path, got, resp.Status, tt.want+name, content)
				}
			}
		})
	}
}

// TestUncleanPath: a path that http.ServeMux would clean is not found. The redirect would lead out
// of the prefix, which the inner mux does not know.
func TestUncleanPath(t *testing.T) {
	h := http.StripPrefix("/ops", dashboard.Handler(newTransport(t, respond(200))))
	for _, target := range []string{"/ops//", "/ops//circuits.json", "/ops/./circuits.json", "/ops/circuits.json/", "/ops/a/../circuits.json"} {
		if w := do(h, "GET", target, nil); w.Code != http.StatusNotFound {
			t.Errorf("%s: got %d, Location %q, want 404", target, w.Code, w.Header().Get("Location"))
		}
	}
}

func TestCircuitsJSONWithoutCircuits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host, err := os.Hostname()
		if err != nil {
			t.Fatal(err)
		}
		h := dashboard.Handler(newTransport(t, respond(200), breakerhttp.WithName("shop")))
		want := fmt.Sprintf(`{"now":"2000-01-01T00:00:07Z","transport":"shop","process":{"host":%q,"pid":%d,"since":"2000-01-01T00:00:00Z"},`+
			`"circuits":[],"transitions":[]}`+"\n", host, os.Getpid())
		time.Sleep(7 * time.Second)
		w := do(h, "GET", "/circuits.json", nil)
		if got := w.Body.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := w.Header().Get("Content-Type"); got != "application/json" {
			t.Errorf("got Content-Type %q, want application/json", got)
		}
	})
}

// TestCircuitsJSON checks the example of the documentation, and that it names
// everything.
func TestCircuitsJSON(t *testing.T) {
	doc, err := os.ReadFile("../docs/circuits-json.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```json\n(.*?)```").FindSubmatch(doc)[1]
	for _, name := range regexp.MustCompile(`"([a-z_]+)":`).FindAllSubmatch(example, -1) {
		if !bytes.Contains(doc, []byte("`"+string(name[1])+"`")) {
			t.Errorf("the documentation does not explain %s", name[1])
		}
	}
	synctest.Test(t, func(t *testing.T) {
		status := 200
		tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) { return respond(status)(req) }))
		request(t, tr, 2, "https://api.example.com")
		status = 503
		request(t, tr, 6, "https://payments.example.com:8443")
		request(t, tr, 1, "https://api.example.com")
		time.Sleep(1500 * time.Millisecond)
		want := decode(t, string(example))
		got := decode(t, do(dashboard.Handler(tr), "GET", "/circuits.json", nil).Body.String())
		got["process"] = want["process"] // is not that of the documentation
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-documented +got:\n%s", diff)
		}
	})
}

func decode(t *testing.T, s string) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%v: %s", err, s)
	}
	return v
}
