package breakerhttp_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/breakerhttp/breakerhttp"
)

func TestNewNamesAllThatIsWrong(t *testing.T) {
	_, err := breakerhttp.New(nil,
		nil,
		breakerhttp.WithPolicy(breakerhttp.Policy{Jitter: 2}),
		breakerhttp.WithHostPolicy("a.test", breakerhttp.Policy{Probes: -1}),
		breakerhttp.WithHostPolicy("A.test", breakerhttp.Policy{}),
		breakerhttp.WithHostPolicy("", breakerhttp.Policy{}),
		breakerhttp.WithHostPolicy("*.", breakerhttp.Policy{}),
		breakerhttp.WithKey(nil),
		breakerhttp.WithClassifier(nil),
		breakerhttp.WithFallback(nil),
		breakerhttp.WithProbeFilter(nil),
		breakerhttp.WithTransitionHook(nil),
		breakerhttp.WithMeterProvider(nil),
		breakerhttp.WithMaxCircuits(0),
		breakerhttp.WithMaxMetricKeys(-1),
	)
	wantError(t, err, []string{
		"option 0 is nil",
		"Policy.Jitter is 2",
		`WithHostPolicy("a.test"): Policy.Probes is -1`,
		`WithHostPolicy("A.test"): another policy has the same pattern`,
		`pattern ""`,
		`pattern "*."`,
		"WithKey is nil", "WithClassifier is nil", "WithFallback is nil", "WithProbeFilter is nil",
		"WithTransitionHook is nil", "WithMeterProvider is nil",
		"WithMaxCircuits is 0, want 1 or more",
		"WithMaxMetricKeys is -1, want 0 or more",
	})
}

// TestHostPolicy: the most specific pattern counts. The number of failures that
// opens tells which policy a host got.
func TestHostPolicy(t *testing.T) {
	after := func(n int) breakerhttp.Policy { return breakerhttp.Policy{ConsecutiveFailures: n} }
	tr := newTransport(t, respond(500),
		breakerhttp.WithPolicy(after(1)),
		breakerhttp.WithHostPolicy("https://api.x.test:8443", after(2)),
		breakerhttp.WithHostPolicy("api.x.test:443", after(3)),
		breakerhttp.WithHostPolicy("api.x.test", after(4)),
		breakerhttp.WithHostPolicy("*.x.test", after(6)),
		breakerhttp.WithHostPolicy("*.deep.x.test", after(7)),
	)
	for url, want := range map[string]int{
		"https://API.x.test:8443/": 2,
		"https://api.x.test/":      3,
		"http://api.x.test:443/":   3,
		"http://api.x.test/":       4,
		"http://other.x.test/":     6,
		"http://a.b.x.test/":       6,
		"http://a.deep.x.test/":    7,
		"http://deep.x.test/":      6,
		"http://x.test/":           1,
		"http://y.test/":           1,
	} {
		sent := 0
		for ; sent < 10; sent++ {
			if _, err := get(tr, url); err != nil {
				break
			}
		}
		if sent != want {
			t.Errorf("%s opened after %d failures, want %d", url, sent, want)
		}
	}
}

func TestKeyFunc(t *testing.T) {
	tr := newTransport(t, respond(500),
		breakerhttp.WithKey(func(req *http.Request) string { return req.Header.Get("Tenant") }),
		breakerhttp.WithHostPolicy("gold/1", breakerhttp.Policy{ConsecutiveFailures: 2}),
	)
	send := func(tenant string) error {
		req := newRequest(t, context.Background(), "http://a.test/")
		req.Header.Set("Tenant", tenant)
		_, err := tr.RoundTrip(req)
		return err
	}
	for range 2 {
		if err := send("gold/1"); err != nil {
			t.Fatal(err)
		}
	}
	wantRefused(t, send("gold/1"))
	wantState(t, tr, "gold/1", breakerhttp.StateOpen)
	for range 20 { // no key: unguarded
		if err := send(""); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for range tr.Snapshots() {
		n++
	}
	if n != 1 {
		t.Errorf("got %d circuits, want 1", n)
	}
}
