package dashboard_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/dashboard"
	"github.com/breakerhttp/breakerhttp/internal/keytext"
)

var hostileKeys = []string{
	`</script><script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, "a\r\n\r\ndata: b\n\nevent: all",
	"\u202egnp.exe", "\x00", "__proto__", "\u2028", `\u003cb>`, strings.Repeat("long", 1000),
	"\xff", "\xfe", `\xff`, `\\xff`, "\ufffd", "half \xe2\x82", `C:\dir`,
}

// byHeader makes any text a key.
func byHeader(req *http.Request) string {
	key, _ := url.QueryUnescape(req.Header.Get("Key"))
	return key
}

// requestKey makes a request of a key.
func requestKey(t *testing.T, tr *breakerhttp.Transport, key string) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://a.test", nil)
	req.Header.Set("Key", url.QueryEscape(key))
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

// TestHostileKeys: whatever a key is, it comes out of JSON as it went in, and
// could be pasted into HTML without harm.
func TestHostileKeys(t *testing.T) {
	tr := newTransport(t, respond(200), breakerhttp.WithKey(byHeader))
	for _, key := range hostileKeys {
		tr.ForceOpen(key)
	}
	w := do(dashboard.Handler(tr), "GET", "/circuits.json", nil)
	if raw := w.Body.String(); strings.ContainsAny(raw, "<>&") || !utf8.ValidString(raw) {
		t.Errorf("got %q, want valid UTF-8 with <, > and & escaped", raw)
	}
	var got struct {
		Circuits    []struct{ Key string }
		Transitions []struct{ Key string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, c := range append(got.Circuits, got.Transitions...) {
		seen[c.Key]++
	}
	for _, key := range hostileKeys {
		if seen[keytext.Encode(key)] != 2 {
			t.Errorf("key %.40q: got %d times, want as a circuit and in a transition", key, seen[key])
		}
	}
}

// TestNoSecrets: nothing of a request but its origin, and nothing that an
// upstream says, is shown.
func TestNoSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leak := roundTripFunc(func(req *http.Request) (*http.Response, error) {
			if req.Body != nil {
				_ = req.Body.Close()
			}
			return nil, &url.Error{Op: "Get", URL: req.URL.String(), Err: errors.New("s3cret of the upstream")}
		})
		tr := newTransport(t, leak)
		for range 6 {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://user:s3cret@a.test/s3cret?token=s3cret#s3cret", strings.NewReader("s3cret"))
			req.Header.Set("Authorization", "Bearer s3cret")
			_, _ = tr.RoundTrip(req)
		}
		h := dashboard.Handler(tr, dashboard.WithControls())
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		events := httptest.NewRecorder()
		h.ServeHTTP(events, httptest.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/events", nil))
		for name, shown := range map[string]string{
			"page":   do(h, "GET", "/", nil).Body.String(),
			"JSON":   do(h, "GET", "/circuits.json", nil).Body.String(),
			"events": events.Body.String(),
			"answer": do(h, "POST", "/force-open", key("http://user:s3cret@a.test")).Body.String(),
		} {
			if strings.Contains(shown, "s3cret") {
				t.Errorf("the %s shows a secret: %s", name, shown)
			}
			if name != "page" && !strings.Contains(shown, "http://a.test") {
				t.Errorf("the %s does not show the circuit: %s", name, shown)
			}
		}
	})
}
