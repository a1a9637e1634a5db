package dashboard_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/dashboard"
)

// TestPolicyText: circuits.json says in words what the policy in force does.
func TestPolicyText(t *testing.T) {
	never := func(breakerhttp.Counts) bool { return false }
	for _, tt := range []struct {
		policy breakerhttp.Policy
		want   string
	}{
		{breakerhttp.Policy{}, "opens after 5 failures in a row; open 60 s"},
		{breakerhttp.Policy{ConsecutiveFailures: 1, OpenFor: 5 * time.Minute}, "opens after 1 failure; open 5 min"},
		{
			breakerhttp.Policy{ConsecutiveFailures: -1, FailureRatio: 0.5, OpenFor: 1500 * time.Millisecond},
			"opens when 50% of at least 20 requests in 10 s fail; open 1.5 s",
		},
		{
			breakerhttp.Policy{FailureRatio: 0.125, SlowRatio: 1, SlowAfter: 2 * time.Second, MinRequests: 1, Window: 90 * time.Minute},
			"opens after 5 failures in a row, or when 12.5% of at least 1 request in 90 min fail, " +
				"or when 100% of at least 1 request in 90 min take longer than 2 s; open 60 s",
		},
		{breakerhttp.Policy{ConsecutiveFailures: -1, TripWhen: never}, "opens when TripWhen says so; open 60 s"},
		{
			breakerhttp.Policy{OpenFor: 5 * time.Second, OpenGrowth: 1.5, MaxOpenFor: 3 * time.Hour, Jitter: 0.1},
			"opens after 5 failures in a row; open 5 s, 1.5 times as long after each failed probe, up to 3 h, plus up to 10%",
		},
		{
			breakerhttp.Policy{Probes: 2, ProbeSuccesses: 3, ProbeTimeout: 250 * time.Millisecond, Ramp: 30 * time.Second},
			"opens after 5 failures in a row; open 60 s; 2 probes at a time; closes after 3 successful probes; " +
				"a probe fails after 250 ms; then admits a growing share for 30 s",
		},
		{breakerhttp.Policy{MaxInFlight: 64}, "opens after 5 failures in a row; open 60 s; at most 64 in flight"},
		{
			breakerhttp.Policy{Adaptive: true},
			"opens after 5 failures in a row, or when the host falls silent; " +
				"open for a quarter of the time that the trouble has lasted, at most 60 s; then admits 16 requests at a time, and more as they succeed",
		},
		{
			breakerhttp.Policy{Adaptive: true, Silence: 300 * time.Millisecond, MaxOpenFor: 5 * time.Second},
			"opens after 5 failures in a row, or when the host is silent for 300 ms; " +
				"open for a quarter of the time that the trouble has lasted, at most 5 s; then admits 16 requests at a time, and more as they succeed",
		},
		{
			breakerhttp.Policy{Adaptive: true, Silence: -1, FailureRatio: 0.5},
			"opens after 5 failures in a row, or when 50% of at least 20 requests in 10 s fail; " +
				"open for a quarter of the time that the trouble has lasted, at most 60 s; then admits 16 requests at a time, and more as they succeed",
		},
	} {
		tr := newTransport(t, respond(200), breakerhttp.WithPolicy(tt.policy))
		request(t, tr, 1, "http://a.test")
		var got struct {
			Circuits []struct {
				PolicyText string `json:"policy_text"`
			}
		}
		if err := json.Unmarshal(do(dashboard.Handler(tr), "GET", "/circuits.json", nil).Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got := got.Circuits[0].PolicyText; got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}
