package dashboard_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/dashboard"
	"github.com/breakerhttp/breakerhttp/internal/keytext"
)

func key(k string) url.Values { return url.Values{"key": {k}} }

func TestControls(t *testing.T) {
	tr := newTransport(t, respond(200))
	request(t, tr, 1, "http://a.test")
	h := dashboard.Handler(tr, dashboard.WithControls())
	for _, tt := range []struct {
		target string
		form   url.Values
		status int
		state  string // of the answer
		forced bool
	}{
		{"/reset", key("http://a.test"), 200, "closed", false},
		{"/force-open", key("http://b.test"), 404, "", false},
		{"/force-closed", key("http://b.test"), 404, "", false},
		{"/reset", key("http://b.test"), 404, "", false},
		{"/force-open", key("HTTP://A.test:80"), 200, "open", true}, // as HostKey writes it
		{"/force-closed", key("a.test"), 200, "closed", true},       // the only one of that host
		{"/reset", key("http://a.test"), 200, "closed", false},
		{"/force-open", key(""), 400, "", false},
		{"/force-open", url.Values{"keys": {"http://a.test"}}, 400, "", false},
		{"/force-open?key=http://a.test", url.Values{}, 400, "", false},
		{"/force-open", key(strings.Repeat("a", 1<<20)), 400, "", false},
	} {
		w := do(h, "POST", tt.target, tt.form)
		if w.Code != tt.status {
			t.Errorf("%s %.40v: got %d %s, want %d", tt.target, tt.form, w.Code, w.Body, tt.status)
		}
		if tt.status != http.StatusOK {
			continue
		}
		var got struct {
			Key, State string
			Forced     bool
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.Key != "http://a.test" || got.State != tt.state || got.Forced != tt.forced {
			t.Errorf("%s: got %+v, want %s, forced %t", tt.target, got, tt.state, tt.forced)
		}
		s, _ := tr.Snapshot("http://a.test")
		if s.State.String() != tt.state || s.Forced != tt.forced {
			t.Errorf("%s: the circuit is %v, forced %t, want %s, %t", tt.target, s.State, s.Forced, tt.state, tt.forced)
		}
	}
	if n := len(snapshots(tr)); n != 1 {
		t.Errorf("got %d circuits, want the one that was there", n)
	}
}

func snapshots(tr *breakerhttp.Transport) (all []breakerhttp.Snapshot) {
	for s := range tr.Snapshots() {
		all = append(all, s)
	}
	return all
}

// TestControlsOfOtherOrigins: a browser that has been lured elsewhere changes
// nothing.
func TestControlsOfOtherOrigins(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header []string
		status int
	}{
		{"same origin", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"same origin, old browser", []string{"Origin", "http://" + admin}, 200},
		{"no browser", nil, 200},
		{"other site", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"other host of the site", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"other site, old browser", []string{"Origin", "https://evil.example"}, 403},
		{"no origin", []string{"Origin", "null"}, 403},
	} {
		for _, target := range []string{"/force-open", "/force-closed", "/reset"} {
			tr := newTransport(t, respond(500))
			request(t, tr, 5, "http://a.test")
			before, _ := tr.Snapshot("http://a.test")
			w := do(dashboard.Handler(tr, dashboard.WithControls()), "POST", target, key("http://a.test"), tt.header...)
			after, _ := tr.Snapshot("http://a.test")
			if w.Code != tt.status {
				t.Errorf("%s, %s: got %d, want %d", tt.name, target, w.Code, tt.status)
			}
			if changed := after.Forced || after.State != before.State; changed != (tt.status == http.StatusOK) {
				t.Errorf("%s, %s: got %v, forced %t after status %d", tt.name, target, after.State, after.Forced, w.Code)
			}
		}
	}
}

// TestControlsBehindProxy: a proxy that names another Host makes the page itself look like another
// origin, unless it is trusted.
func TestControlsBehindProxy(t *testing.T) {
	tr := newTransport(t, respond(200))
	request(t, tr, 1, "http://a.test")
	trusting := dashboard.Handler(tr, dashboard.WithControls(), dashboard.WithTrustedOrigins("https://admin.example.com"))
	for _, tt := range []struct {
		name    string
		handler http.Handler
		origin  string
		status  int
	}{
		{"nobody is trusted", dashboard.Handler(tr, dashboard.WithControls()), "https://admin.example.com", 403},
		{"trusted", trusting, "https://admin.example.com", 200},
		{"another scheme", trusting, "http://admin.example.com", 403},
		{"another site", trusting, "https://evil.example", 403},
	} {
		if w := do(tt.handler, "POST", "/reset", key("http://a.test"), "Origin", tt.origin); w.Code != tt.status {
			t.Errorf("%s: got %d, want %d", tt.name, w.Code, tt.status)
		}
	}
}

func TestWithTrustedOriginsPanics(t *testing.T) {
	defer func() {
		if got, want := fmt.Sprint(recover()), "dashboard: WithTrustedOrigins: "; !strings.HasPrefix(got, want) || !strings.Contains(got, "admin.example.com") {
			t.Errorf("got panic %q, want one that begins %q and names the origin", got, want)
		}
	}()
	dashboard.Handler(newTransport(t, respond(200)), dashboard.WithTrustedOrigins("admin.example.com"))
}

// TestControlsWithoutCircuit: a name that is nearly right is answered with those that there are.
func TestControlsWithoutCircuit(t *testing.T) {
	tr := newTransport(t, respond(200))
	for _, url := range []string{
		"http://billing.svc", "https://billing.svc:8443", "https://payments.example.com", "https://search.example.com",
		"https://mail.example.net", "https://geo.example.org", "http://10.0.0.1:9200",
	} {
		request(t, tr, 1, url)
	}
	h := dashboard.Handler(tr, dashboard.WithControls())
	for _, tt := range []struct{ key, want string }{
		{"https://billing.svc", `there is no circuit "https://billing.svc"; the nearest: ["http://billing.svc" "https://billing.svc:8443" `},
		{"billing", `there is no circuit "billing"; the nearest: ["http://billing.svc" "https://billing.svc:8443" `},
		{"https://payment.example.com", `there is no circuit "https://payment.example.com"; the nearest: ["https://payments.example.com" `},
		{"10.0.0.1", `there is no circuit "10.0.0.1"; the nearest: ["http://10.0.0.1:9200" `},
		{"x", `there is no circuit "x"; the nearest: ["`},
		{"\xff\n", `there is no circuit "\xff\n"; the nearest: ["`},
	} {
		for _, target := range []string{"/force-open", "/force-closed", "/reset"} {
			w := do(h, "POST", target, key(tt.key))
			if got := w.Body.String(); w.Code != http.StatusNotFound || !strings.HasPrefix(got, tt.want) {
				t.Errorf("%s %q: got %d %s, want 404 %s", target, tt.key, w.Code, got, tt.want)
			}
		}
	}
	for _, s := range snapshots(tr) {
		if s.Forced {
			t.Errorf("%s is forced", s.Key)
		}
	}
	if n := len(snapshots(tr)); n != 7 {
		t.Errorf("got %d circuits, want the 7 that requests have made", n)
	}

	empty := dashboard.Handler(newTransport(t, respond(200)), dashboard.WithControls())
	if got, want := do(empty, "POST", "/reset", key("a")).Body.String(), `there is no circuit "a", nor any other`+"\n"; got != want {
		t.Errorf("without circuits: got %q, want %q", got, want)
	}
}

// TestControlsOfHostileKeys: a key that is not what it looks like names no other circuit than
// itself, written as circuits.json writes it.
func TestControlsOfHostileKeys(t *testing.T) {
	tr := newTransport(t, respond(200), breakerhttp.WithKey(byHeader))
	for _, k := range hostileKeys {
		requestKey(t, tr, k)
	}
	h := dashboard.Handler(tr, dashboard.WithControls())
	var shown struct{ Circuits []struct{ Key string } }
	if err := json.Unmarshal(do(h, "GET", "/circuits.json", nil).Body.Bytes(), &shown); err != nil {
		t.Fatal(err)
	}
	if len(shown.Circuits) != len(hostileKeys) {
		t.Fatalf("got %d circuits in JSON, want %d", len(shown.Circuits), len(hostileKeys))
	}
	forced := func() (keys []string) {
		for _, s := range snapshots(tr) {
			if s.Forced {
				keys = append(keys, s.Key)
			}
		}
		return keys
	}
	for _, c := range shown.Circuits {
		if w := do(h, "POST", "/force-open", key(c.Key)); w.Code != http.StatusOK {
			t.Errorf("key %.40q: got %d %s", c.Key, w.Code, w.Body)
		}
		if got := forced(); len(got) != 1 || keytext.Encode(got[0]) != c.Key {
			t.Errorf("key %.40q: got %.40q forced, want it alone", c.Key, got)
		}
		do(h, "POST", "/reset", key(c.Key))
	}
	for _, k := range hostileKeys { // of which no two share a circuit
		tr.ForceOpen(k)
	}
	if got := len(forced()); got != len(hostileKeys) {
		t.Errorf("got %d circuits forced, want %d", got, len(hostileKeys))
	}
}
