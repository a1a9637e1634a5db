package main

import (
	"strings"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

func TestSetPolicies(t *testing.T) {
	breaker, err := newBreaker(nil, discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := (source{"policies.json", builtIn}).set(breaker); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]breakerhttp.Policy{
		"http://mail.example":   {FailureRatio: 0.5, OpenFor: 5 * time.Second, OpenGrowth: 2, Jitter: 0.1},
		"http://search.example": {Adaptive: true},
	} {
		breaker.ForceClosed(key)
		snap, _ := breaker.Snapshot(key)
		if got := snap.Policy; got.FailureRatio != want.FailureRatio || got.Adaptive != want.Adaptive {
			t.Errorf("%s: got %+v, want %+v and defaults", key, got, want)
		}
	}
}

// TestPoliciesErrors: an error has the line and what is wrong there, and changes
// nothing.
func TestPoliciesErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"no JSON":             {"{\n  \"all\": {\n    \"jitter\": 0.1,\n  }\n}", []string{"p.json:4: ", "invalid character"}},
		"unfinished":          {"{\n  \"all\": {", []string{"p.json:2: ", "unexpected end"}},
		"more than one value": {"{}\n{}", []string{"p.json:2: "}},
		"no object":           {"[]", []string{"p.json:1: "}},
		"unknown name":        {"{\n  \"all\": {},\n  \"host\": {}\n}", []string{`p.json:3: unknown name "host", want all and hosts`}},
		"unknown field":       {"{\n  \"all\": {\n    \"jitter\": 0.1,\n    \"open_fro\": \"5s\"\n  }\n}", []string{"p.json:4: ", `"open_fro"`}},
		"wrong type":          {"{\n  \"all\": {\n    \"open_for\": 5\n  }\n}", []string{"p.json:3: ", "open_for is 5", "duration"}},
		"out of range":        {"{\n  \"all\": {\n    \"open_for\": \"5s\",\n    \"jitter\": 2\n  }\n}", []string{"p.json:4: ", "Jitter is 2"}},
		"needs another field": {"{\"all\": {\n\"slow_ratio\": 0.5,\n\"slow_after\": \"1s\",\n\"prob\": 1\n}}", []string{"p.json:4: ", `"prob"`}},
		"wrong as a whole":    {"{\n  \"all\":\n {\n    \"adaptive\": true,\n    \"jitter\": 0.5\n  }\n}", []string{"p.json:3: ", "Jitter is 0.5"}},
		"of a host":           {"{\n  \"hosts\": {\n    \"a.example\": {},\n    \"b.example\": {\n      \"probes\": -1\n}}}", []string{"p.json:5: b.example: ", "Probes is -1"}},
		"no host":             {"{\n  \"hosts\": {\n    \"a.example/path\": {}}}", []string{"p.json:3: a.example/path: "}},
		"no hosts":            {"{\n  \"hosts\": []}", []string{"p.json:2: hosts is no JSON object"}},
		"the same host twice": {`{"hosts": {"a.example": {}, "A.example": {}}}`, []string{"p.json: ", "the same pattern"}},
		"all of them": {
			"{\n  \"all\": {\"probes\": -1},\n  \"hosts\": {\n    \"b.example\": {\"probes\": -2}}}",
			[]string{"p.json:2: ", "Probes is -1", "p.json:4: b.example: ", "Probes is -2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			breaker, err := newBreaker(nil, discard)
			if err != nil {
				t.Fatal(err)
			}
			err = source{"p.json", []byte(tt.text)}.set(breaker)
			if err == nil {
				t.Fatal("got no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got error %q, want %q in it", err, want)
				}
			}
			breaker.ForceClosed("http://b.example")
			if snap, _ := breaker.Snapshot("http://b.example"); snap.Policy.Probes != 1 {
				t.Errorf("got %d probes after the error, want the default", snap.Policy.Probes)
			}
		})
	}
}
