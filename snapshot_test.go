package breakerhttp_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp"
	"github.com/google/go-cmp/cmp"
)

func TestJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, respond(500), breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: 1500 * time.Millisecond}))
		for range 5 {
			_, _ = get(tr, host)
		}
		for _, tt := range []struct {
			v    any
			want string
		}{
			{tr.Transitions()[0], `{"key":"http://a.test","from":"closed","to":"open","at":"2000-01-01T00:00:00Z","reason":"consecutive_failures",` +
				`"detail":"5 failures in a row, last: 500 Internal Server Error",` +
				`"counts":{"requests":5,"failures":5,"slow":0,"consecutive_failures":5},"dry_run":false,"seq":1,"open_for":1.5}`},
			{snapshot(t, tr, host), `{"key":"http://a.test","state":"open","forced":false,"since":"2000-01-01T00:00:00Z","until":"2000-01-01T00:00:01.5Z",` +
				`"reason":"5 failures in a row, last: 500 Internal Server Error","counts":{"requests":0,"failures":0,"slow":0,"consecutive_failures":0},` +
				`"totals":{"success":0,"failure":5,"ignored":0,"refused":0,"limited":0},"in_flight":0,"limit":0,"dry_run":false,"policy":{"consecutive_failures":5,"min_requests":20,"window":"10s","open_for":"1.5s",` +
				`"open_growth":1,"max_open_for":"5m0s","probes":1,"probe_successes":1,"probe_timeout":"30s"}}`},
		} {
			got, err := json.Marshal(tt.v)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		}
	})
}

// TestInFlightStays: a circuit whose request is in flight is not thrown out.
func TestInFlightStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "slow.test" {
				time.Sleep(time.Minute)
			}
			return respond(200)(req)
		}), breakerhttp.WithMaxCircuits(2))
		done := make(chan error)
		go func() {
			_, err := get(tr, "http://slow.test")
			done <- err
		}()
		synctest.Wait()
		for i := range 10 {
			_, _ = get(tr, fmt.Sprintf("http://ok%d.test", i))
		}
		if s := snapshot(t, tr, "http://slow.test"); s.InFlight != 1 {
			t.Errorf("got %d in flight, want 1", s.InFlight)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if s := snapshot(t, tr, "http://slow.test"); s.InFlight != 0 || s.Totals.Success != 1 {
			t.Errorf("got %+v, want one success", s)
		}
	})
}

// TestJSONRoundTrip: what is marshalled can be unmarshalled again.
func TestJSONRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, respond(500), breakerhttp.WithDryRun(),
			breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: 1234567890 * time.Nanosecond}))
		for range 6 {
			_, _ = get(tr, host)
		}
		wantTransition := tr.Transitions()[0]
		text, err := json.Marshal(wantTransition)
		if err != nil {
			t.Fatal(err)
		}
		var transition breakerhttp.Transition
		if err := json.Unmarshal(text, &transition); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(wantTransition, transition); diff != "" {
			t.Errorf("transition (-want +got):\n%s", diff)
		}
		wantSnapshot := snapshot(t, tr, host)
		if text, err = json.Marshal(wantSnapshot); err != nil {
			t.Fatal(err)
		}
		var got breakerhttp.Snapshot
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(wantSnapshot, got); diff != "" {
			t.Errorf("snapshot (-want +got):\n%s", diff)
		}
	})
	var s breakerhttp.State
	if err := s.UnmarshalText([]byte("ajar")); err == nil {
		t.Error("a state that is none is read without an error")
	}
}
