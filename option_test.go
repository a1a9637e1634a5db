package breakerhttp_test

import (
	"context"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

func TestPolicyValidate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		policy breakerhttp.Policy
		want   []string // parts of the error, none: valid
	}{
		{name: "zero"},
		{name: "failure ratio", policy: breakerhttp.Policy{FailureRatio: 1.5}, want: []string{"breakerhttp: Policy.FailureRatio is 1.5, want 0 to 1"}},
		{name: "NaN", policy: breakerhttp.Policy{FailureRatio: math.NaN()}, want: []string{"Policy.FailureRatio is NaN"}},
		{name: "all wrong", policy: breakerhttp.Policy{
			FailureRatio: -1, SlowRatio: 2, SlowAfter: -1, MinRequests: -1, Window: -1, OpenFor: -1, OpenGrowth: 0.5, MaxOpenFor: -1,
			Jitter: 1.1, Probes: -1, ProbeSuccesses: -1, ProbeTimeout: -1, Ramp: -1,
		}, want: []string{
			"Policy.FailureRatio is -1", "Policy.SlowRatio is 2", "Policy.SlowAfter is -1ns", "Policy.MinRequests is -1", "Policy.Window is -1ns",
			"Policy.OpenFor is -1ns", "Policy.OpenGrowth is 0.5, want 0, or 1 or more", "Policy.MaxOpenFor is -1ns", "Policy.Jitter is 1.1",
			"Policy.Probes is -1", "Policy.ProbeSuccesses is -1", "Policy.ProbeTimeout is -1ns", "Policy.Ramp is -1ns",
		}},
		{name: "no rule", policy: breakerhttp.Policy{ConsecutiveFailures: -1}, want: []string{"Policy.ConsecutiveFailures is -1"}},
		{name: "another rule", policy: breakerhttp.Policy{ConsecutiveFailures: -1, FailureRatio: 0.5}},
		{name: "a rule of one's own", policy: breakerhttp.Policy{ConsecutiveFailures: -1, TripWhen: func(breakerhttp.Counts) bool { return true }}},
		{name: "slow ratio alone", policy: breakerhttp.Policy{SlowRatio: 0.5}, want: []string{"Policy.SlowAfter is 0s"}},
		{name: "slow rule", policy: breakerhttp.Policy{SlowRatio: 0.5, SlowAfter: 1}},
		{name: "infinite growth", policy: breakerhttp.Policy{OpenGrowth: math.Inf(1)}, want: []string{"Policy.OpenGrowth is +Inf"}},
		{name: "no growth", policy: breakerhttp.Policy{OpenGrowth: 1}},
		{name: "bound below the default", policy: breakerhttp.Policy{MaxOpenFor: 30 * time.Second}, want: []string{"Policy.MaxOpenFor is 30s, want at least OpenFor, which is 1m0s"}},
		{name: "open for longer than the default bound", policy: breakerhttp.Policy{OpenFor: time.Hour}},
		{name: "open for ever", policy: breakerhttp.Policy{OpenFor: math.MaxInt64, Jitter: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantError(t, tt.policy.Validate(), tt.want)
			_, err := breakerhttp.New(nil, breakerhttp.WithPolicy(tt.policy))
			wantError(t, err, tt.want)
		})
	}
}

// wantError checks that err names all parts, or is nil if there are none.
func wantError(t *testing.T, err error, parts []string) {
	t.Helper()
	if len(parts) == 0 {
		if err != nil {
			t.Errorf("got error %v, want none", err)
		}
		return
	}
	if err == nil {
		t.Fatalf("got no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error:\n%v\nlacks %q", err, part)
		}
	}
	for line := range strings.Lines(err.Error()) {
		if strings.Count(line, "breakerhttp: ") != 1 || !strings.HasPrefix(line, "breakerhttp: ") {
			t.Errorf("error line %q: want the package's name once, in front", line)
		}
	}
}

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
		req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://a.test/", nil)
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
