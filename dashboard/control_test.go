package dashboard_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/dashboard"
)

func key(k string) url.Values { return url.Values{"key": {k}} }

func TestControls(t *testing.T) {
	tr := newTransport(t, respond(200))
	h := dashboard.Handler(tr, dashboard.WithControls())
	for _, tt := range []struct {
		target string
		form   url.Values
		status int
		state  string // of the answer
		forced bool
	}{
		{"/reset", key("http://a.test"), 404, "", false},
		{"/force-open", key("HTTP://A.test:80"), 200, "open", true}, // as HostKey writes it
		{"/force-closed", key("http://a.test"), 200, "closed", true},
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
		t.Errorf("got %d circuits, want the one that a good form names", n)
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
		{"same origin, old browser", []string{"Origin", "http://example.com"}, 200}, // httptest's Host
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

// TestControlsOfHostileKeys: a key that is not what it looks like names no other
// circuit than itself.
func TestControlsOfHostileKeys(t *testing.T) {
	tr := newTransport(t, respond(200), breakerhttp.WithKey(byHeader))
	h := dashboard.Handler(tr, dashboard.WithControls())
	for _, k := range hostileKeys {
		if w := do(h, "POST", "/force-open", key(k)); w.Code != http.StatusOK {
			t.Errorf("key %.40q: got %d %s", k, w.Code, w.Body)
		}
		if s, ok := tr.Snapshot(k); !ok || !s.Forced {
			t.Errorf("key %.40q: got circuit %t, forced %t, want it forced", k, ok, s.Forced)
		}
	}
	if n := len(snapshots(tr)); n != len(hostileKeys) {
		t.Errorf("got %d circuits, want %d", n, len(hostileKeys))
	}
}
