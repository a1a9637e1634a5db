package breakerhttp_test

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/breakerhttp/breakerhttp"
)

// FuzzPolicy: a policy that Validate accepts is one that New takes, and no
// history makes it panic, lose a slot or stay open for longer than it says.
func FuzzPolicy(f *testing.F) {
	f.Add(0, 0.0, 0.0, int64(0), 0, int64(0), int64(0), 0.0, int64(0), 0.0, 0, 0, int64(0), int64(0), []byte("fffffo.....o"))
	f.Add(-1, 0.5, 0.5, int64(time.Second), 3, int64(time.Minute), int64(time.Second), 2.0, int64(time.Hour), 1.0, 3, 2, int64(time.Second), int64(time.Minute),
		[]byte("fofofshf.p.i.h.oolrR0"))
	f.Add(1, 1.0, 0.0, int64(math.MaxInt64), 1, int64(1), int64(math.MaxInt64), math.MaxFloat64, int64(math.MaxInt64), 1.0, math.MaxInt, math.MaxInt,
		int64(math.MaxInt64), int64(math.MaxInt64), []byte("fR0f.f.l.OR"))
	f.Fuzz(func(t *testing.T, consecutive int, failures, slow float64, slowAfter int64, least int, window, openFor int64, growth float64,
		maxOpenFor int64, jitter float64, probes, successes int, probeTimeout, ramp int64, history []byte,
	) {
		p := breakerhttp.Policy{
			ConsecutiveFailures: consecutive, FailureRatio: failures, SlowRatio: slow, SlowAfter: time.Duration(slowAfter), MinRequests: least,
			Window: time.Duration(window), OpenFor: time.Duration(openFor), OpenGrowth: growth, MaxOpenFor: time.Duration(maxOpenFor), Jitter: jitter,
			Probes: probes, ProbeSuccesses: successes, ProbeTimeout: time.Duration(probeTimeout), Ramp: time.Duration(ramp),
		}
		valid := p.Validate()
		synctest.Test(t, func(t *testing.T) {
			h := &script{}
			tr, err := breakerhttp.New(h, breakerhttp.WithPolicy(p))
			if (err == nil) != (valid == nil) {
				t.Fatalf("Validate says %v, New %v", valid, err)
			}
			if err != nil {
				return
			}
			h.play(t, tr, history[:min(len(history), 200)])
			for _, tn := range tr.Transitions() {
				if bound := longestOpen(p); tn.OpenFor < 0 || tn.OpenFor > bound {
					t.Errorf("open for %v, want at most %v", tn.OpenFor, bound)
				}
			}
			if s, ok := tr.Snapshot(host); ok && s.InFlight != 0 {
				t.Errorf("%d in flight, want 0", s.InFlight)
			}
		})
	})
}

// longestOpen is MaxOpenFor × (1 + Jitter), saturating.
func longestOpen(p breakerhttp.Policy) time.Duration {
	most := p.MaxOpenFor
	if most == 0 {
		most = max(5*time.Minute, p.OpenFor)
	}
	if f := float64(most) * (1 + p.Jitter); f < math.MaxInt64 {
		return time.Duration(f) + time.Microsecond // of rounding
	}
	return math.MaxInt64
}

// script is an upstream that does what the letter at hand says.
type script struct{ letter byte }

func (h *script) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, _ := respond(200)(req)
	switch h.letter {
	case 'f':
		resp.StatusCode = 500
	case 'R', '0':
		resp.StatusCode = 503
		resp.Header.Set("Retry-After", map[byte]string{'R': "99999999999999999999", '0': "0"}[h.letter])
	case 'h':
		time.Sleep(time.Hour)
	case 's':
		time.Sleep(2 * time.Second)
	case 'p':
		panic("upstream")
	case 'i':
		return nil, breakerhttp.ErrOpen // ignored
	case 'l':
		resp.Body = failingBody{}
	case 'e':
		return nil, errors.New("broken")
	}
	return resp, nil
}

func (h *script) play(t *testing.T, tr *breakerhttp.Transport, letters []byte) {
	for _, h.letter = range letters {
		switch h.letter {
		case '.':
			time.Sleep(time.Minute)
		case 'O':
			tr.ForceOpen(host)
		case 'C':
			tr.ForceClosed(host)
		case 'X':
			tr.Reset(host)
		default:
			func() {
				defer func() {
					if v := recover(); v != nil && v != "upstream" {
						panic(v)
					}
				}()
				_, _ = get(tr, host)
			}()
		}
	}
}

type failingBody struct{}

func (failingBody) Read([]byte) (int, error) { return 0, errors.New("broken off") }

func (failingBody) Close() error { return nil }

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

func TestPolicyJSON(t *testing.T) {
	for _, test := range []struct {
		name   string
		policy breakerhttp.Policy
		want   string
	}{
		{"zero", breakerhttp.Policy{}, `{}`},
		{"one that a person would write", breakerhttp.Policy{FailureRatio: 0.5, OpenFor: 90 * time.Second}, `{"failure_ratio":0.5,"open_for":"1m30s"}`},
		{"adaptive", breakerhttp.Policy{Adaptive: true, Silence: -1}, `{"adaptive":true,"silence":"-1ns"}`},
		{
			"every field except Adaptive and Silence",
			breakerhttp.Policy{
				ConsecutiveFailures: 1, FailureRatio: 0.1, SlowRatio: 0.2, SlowAfter: 1, MinRequests: 2, Window: 2, OpenFor: 3, OpenGrowth: 4,
				MaxOpenFor: 5, Jitter: 0.3, Probes: 6, ProbeSuccesses: 7, ProbeTimeout: 8, Ramp: 9, MaxInFlight: 10,
			},
			`{"consecutive_failures":1,"failure_ratio":0.1,"slow_ratio":0.2,"slow_after":"1ns","min_requests":2,"window":"2ns","open_for":"3ns",` +
				`"open_growth":4,"max_open_for":"5ns","jitter":0.3,"probes":6,"probe_successes":7,"probe_timeout":"8ns","ramp":"9ns","max_in_flight":10}`,
		},
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
		if strings.Contains(string(text), `"":`) {
			t.Fatalf("a field has no name: %s", text)
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
		{"no field has the name -", `{"-":null}`, []string{`no field "-"`}},
		{"names in other letters", `{"Probes":2}`, []string{`no field "Probes"`}},
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

// An adaptiveHost is behind an Adaptive circuit, and answers as the test says.
type adaptiveHost struct {
	*breakerhttp.Transport
	answer func(*http.Request) (*http.Response, error)
}

func newAdaptiveHost(t *testing.T) *adaptiveHost {
	h := &adaptiveHost{answer: respond(http.StatusOK)}
	h.Transport = newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) { return h.answer(req) }),
		breakerhttp.WithPolicy(breakerhttp.Policy{Adaptive: true}), breakerhttp.WithClassifier(breakerhttp.LimitedStatus(429)))
	return h
}

// recovers lets the circuit open and close again.
func (h *adaptiveHost) recovers(t *testing.T, probe func(*http.Request) (*http.Response, error)) {
	t.Helper()
	h.answer = respond(http.StatusServiceUnavailable)
	for range 12 {
		_, _ = get(h, host)
	}
	wantState(t, h.Transport, host, breakerhttp.StateOpen)
	time.Sleep(time.Second)
	h.answer = probe
	_, _ = get(h, host)
	if s := snapshot(t, h.Transport, host); s.State != breakerhttp.StateClosed || s.Limit != 16 {
		t.Fatalf("after a probe: got %v with limit %d, want closed with limit 16", s.State, s.Limit)
	}
}

func TestAdaptive(t *testing.T) {
	for _, tt := range []struct {
		name string
		test func(t *testing.T, h *adaptiveHost)
	}{
		{"after a Reset, what was asked before is not waited for", func(t *testing.T, h *adaptiveHost) {
			for range 50 {
				_, _ = get(h, host)
			}
			hang := make(chan struct{})
			defer close(hang)
			h.answer = func(*http.Request) (*http.Response, error) { <-hang; return nil, errRefused }
			crowd := func() {
				for range 20 {
					go func() { _, _ = get(h, host) }()
				}
				synctest.Wait()
			}
			crowd()
			h.Reset(host)
			time.Sleep(time.Minute)
			crowd()
			wantState(t, h.Transport, host, breakerhttp.StateClosed)
		}},
		{"the body of a probe fails in the closed state that it led to", func(t *testing.T, h *adaptiveHost) {
			h.recovers(t, func(req *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Body: io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF)), ContentLength: -1, Request: req}, nil
			})
			if n := snapshot(t, h.Transport, host).Counts.ConsecutiveFailures; n != 1 {
				t.Errorf("got %d failures in a row, want 1", n)
			}
		}},
		{"there is no limit while it is open", func(t *testing.T, h *adaptiveHost) {
			h.recovers(t, respond(http.StatusOK))
			h.answer = func(req *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {"100"}}, Body: http.NoBody, Request: req}, nil
			}
			_, _ = get(h, host)
			if s := snapshot(t, h.Transport, host); s.State != breakerhttp.StateOpen || s.Limit != 0 {
				t.Errorf("after 429: got %v with limit %d, want open with none", s.State, s.Limit)
			}
		}},
		{"a run that does not grow begins no trouble", func(t *testing.T, h *adaptiveHost) {
			proceed := make(chan struct{})
			h.answer = func(*http.Request) (*http.Response, error) { <-proceed; return nil, io.ErrUnexpectedEOF }
			for range 2 { // their connections break together, a moment apart
				go func() { _, _ = get(h, host) }()
			}
			synctest.Wait()
			proceed <- struct{}{}
			time.Sleep(140 * time.Millisecond)
			proceed <- struct{}{}
			synctest.Wait()
			h.answer = respond(http.StatusServiceUnavailable)
			time.Sleep(10 * time.Millisecond)
			for range 4 {
				_, _ = get(h, host)
			}
			wantState(t, h.Transport, host, breakerhttp.StateOpen)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Second)
				tt.test(t, newAdaptiveHost(t))
			})
		})
	}
}
