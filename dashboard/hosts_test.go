package dashboard_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/breakerhttp/breakerhttp/dashboard"
)

func TestWithHosts(t *testing.T) {
	tr := newTransport(t, respond(200))
	local := []string{"localhost", "localhost:8081", "LOCALHOST.", "127.0.0.1", "127.0.0.1:8081", "127.9.9.9", "[::1]", "[::1]:8081", "[::ffff:127.0.0.1]:80"}
	foreign := []string{"evil.example", "evil.example:8081", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.7", "[2001:db8::1]:8081", "", "localhost:x", "[::1"}
	for _, tt := range []struct {
		name              string
		opts              []dashboard.Option
		answered, refused []string
	}{
		{"default", nil, append(local, foreign...), nil},
		{"default with controls", []dashboard.Option{dashboard.WithControls()}, local, foreign},
		{
			"a name",
			[]dashboard.Option{dashboard.WithHosts("Admin.example.com")},
			[]string{"admin.example.com", "ADMIN.example.com:8081", "admin.example.com."},
			append(foreign, "localhost", "admin.example.com.evil.example"),
		},
		{
			"addresses",
			[]dashboard.Option{dashboard.WithControls(), dashboard.WithHosts("10.0.0.7:8081", "2001:db8:0::1"), dashboard.WithHosts("[2001:DB8::2]")},
			[]string{"10.0.0.7", "10.0.0.7:80", "[2001:db8::1]:8081", "[2001:db8::2]"},
			[]string{"10.0.0.8", "localhost", "127.0.0.1", "[2001:db8::3]"},
		},
		{"both", []dashboard.Option{dashboard.WithControls(), dashboard.WithHosts("localhost", "admin.internal")}, []string{"localhost:8081", "admin.internal"}, []string{"127.0.0.1"}},
		{"none named", []dashboard.Option{dashboard.WithControls(), dashboard.WithHosts()}, local, foreign},
	} {
		h := dashboard.Handler(tr, tt.opts...)
		for _, target := range []string{"/", "/circuits.json", "/dashboard.js"} {
			for _, host := range tt.answered {
				if w := do(h, "GET", target, nil, "Host", host); w.Code != http.StatusOK {
					t.Errorf("%s: %s of %q: got %d, want 200", tt.name, target, host, w.Code)
				}
			}
			for _, host := range tt.refused {
				w := do(h, "GET", target, nil, "Host", host)
				if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), fmt.Sprintf("%q: dashboard.WithHosts", host)) {
					t.Errorf("%s: %s of %q: got %d %s, want 403 and what to do", tt.name, target, host, w.Code, w.Body)
				}
			}
		}
	}
}

// TestRebinding: a site that has pointed its own name at this server is same-origin to the browser,
// and still changes nothing.
func TestRebinding(t *testing.T) {
	tr := newTransport(t, respond(200))
	request(t, tr, 1, "http://a.test")
	h := dashboard.Handler(tr, dashboard.WithControls())
	w := do(h, "POST", "/force-open", key("http://a.test"), "Host", "evil.example:8081", "Origin", "http://evil.example:8081", "Sec-Fetch-Site", "same-origin")
	if s, _ := tr.Snapshot("http://a.test"); w.Code != http.StatusForbidden || s.Forced {
		t.Errorf("got %d, forced %t, want 403 and nothing done", w.Code, s.Forced)
	}
}

func TestWithHostsPanics(t *testing.T) {
	for _, host := range []string{"", "https://admin.example.com", "admin.example.com/circuits", "a b", ":8081"} {
		func() {
			defer func() {
				if got, want := fmt.Sprint(recover()), fmt.Sprintf("dashboard: WithHosts: %q is not", host); !strings.HasPrefix(got, want) {
					t.Errorf("%q: got panic %q, want %q", host, got, want)
				}
			}()
			dashboard.WithHosts(host)
		}()
	}
}
