package breakerhttp_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/breakerhttp/breakerhttp"
)

func TestPolicyJSON(t *testing.T) {
	for _, test := range []struct {
		name   string
		policy breakerhttp.Policy
		want   string
	}{
		{"zero", breakerhttp.Policy{}, `{}`},
		{"one that a person would write", breakerhttp.Policy{FailureRatio: 0.5, OpenFor: 90 * time.Second}, `{"failure_ratio":0.5,"open_for":"1m30s"}`},
		{"adaptive", breakerhttp.Policy{Adaptive: true, Silence: -1}, `{"adaptive":true,"silence":"-1ns"}`},
		{"with no rule but its func", breakerhttp.Policy{ConsecutiveFailures: -1, TripWhen: func(breakerhttp.Counts) bool { return true }}, `{"consecutive_failures":-1}`},
		{"without its func", breakerhttp.Policy{TripWhen: func(breakerhttp.Counts) bool { return true }}, `{}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := json.Marshal(test.policy)
			if err != nil || string(got) != test.want {
				t.Fatalf("got %s, %v, want %s", got, err, test.want)
			}
			var back breakerhttp.Policy
			if err := json.Unmarshal(got, &back); err != nil {
				t.Fatal(err)
			}
			test.policy.TripWhen = nil
			if !reflect.DeepEqual(back, test.policy) {
				t.Errorf("got back %+v, want %+v", back, test.policy)
			}
		})
	}
}

// TestPolicyJSONHasEveryField sets each field in turn, so that none is forgotten.
func TestPolicyJSONHasEveryField(t *testing.T) {
	typ := reflect.TypeFor[breakerhttp.Policy]()
	rapid.Check(t, func(t *rapid.T) {
		var want breakerhttp.Policy
		for i := range typ.NumField() {
			switch f := reflect.ValueOf(&want).Elem().Field(i).Addr().Interface().(type) {
			case *int:
				*f = rapid.IntRange(0, 1000).Draw(t, typ.Field(i).Name)
			case *float64:
				*f = rapid.Float64Range(0, 1).Draw(t, typ.Field(i).Name)
			case *time.Duration:
				*f = time.Duration(rapid.Int64Range(0, 1<<62).Draw(t, typ.Field(i).Name))
			}
		}
		want.OpenGrowth = 1 + want.OpenGrowth
		want.SlowAfter++
		want.Silence = 0
		want.MaxOpenFor = max(want.MaxOpenFor, want.OpenFor, time.Hour)
		if rapid.Bool().Draw(t, "adaptive") {
			want = breakerhttp.Policy{Adaptive: true, Silence: want.SlowAfter - 5, MaxOpenFor: want.MaxOpenFor, MaxInFlight: want.MaxInFlight}
		}
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got breakerhttp.Policy
		if err := json.Unmarshal(text, &got); err != nil {
			t.Skip(err) // out of range
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

func TestPolicyJSONErrors(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"unknown names", `{"open_fro":"1s","ratio":1,"probes":2}`, []string{`"open_fro", "ratio"`}},
		{"types", `{"open_for":60,"probes":"2","failure_ratio":"x","adaptive":1}`, []string{"open_for is 60", `probes is "2"`, `failure_ratio is "x"`, "adaptive is 1"}},
		{"out of range", `{"failure_ratio":2,"jitter":3}`, []string{"FailureRatio is 2", "Jitter is 3"}},
		{"no duration", `{"window":"ten seconds"}`, []string{`window is "ten seconds"`}},
		{
			"all of these at once", `{"open_fro":"1s","jitter":3,"probes":"2"}`,
			[]string{`"open_fro"`, "Jitter is 3", `probes is "2"`},
		},
		{"no object", `[]`, []string{"no JSON object"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := breakerhttp.Policy{Probes: 7}
			wantError(t, json.Unmarshal([]byte(test.text), &p), test.want)
			if p.Probes != 7 {
				t.Errorf("the policy has changed: %+v", p)
			}
		})
	}
}

// TestPolicyJSONNull: null leaves a policy as it is, as for every type of encoding/json. A field that
// is null has its default.
func TestPolicyJSONNull(t *testing.T) {
	p := breakerhttp.Policy{ConsecutiveFailures: 3}
	if err := json.Unmarshal([]byte("null"), &p); err != nil || p.ConsecutiveFailures != 3 {
		t.Errorf("got %+v, %v, want it unchanged", p, err)
	}
	if err := p.UnmarshalJSON([]byte(" null\n")); err != nil || p.ConsecutiveFailures != 3 {
		t.Errorf("by its method: got %+v, %v, want it unchanged", p, err)
	}
	text := `{"consecutive_failures":null,"failure_ratio":null,"open_for":null,"adaptive":null,"probes":2}`
	if err := json.Unmarshal([]byte(text), &p); err != nil || p.ConsecutiveFailures != 0 || p.Probes != 2 {
		t.Errorf("fields: got %+v, %v, want 2 probes and defaults", p, err)
	}
}
