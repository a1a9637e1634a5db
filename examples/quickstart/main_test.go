package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A record is a line of -json.
type record struct {
	Type       string
	At         float64
	Host       string
	Text       string
	Outcome    string
	Sent       int
	Seconds    float64
	Transition struct {
		From, To, Reason string
		OpenFor          float64 `json:"open_for"`
	}
	Hosts   []hostSummary
	Metrics []sample
	Trace   []step
}

// TestLoopback runs on real connections. How busy this machine is decides what
// becomes of the requests, so that is not checked.
func TestLoopback(t *testing.T) {
	t.Parallel()
	records := runJSON(t, loopback, 3*time.Second)
	checkOrder(t, records)
	requests := map[string]int{}
	for _, r := range records {
		if r.Type == requestEvent {
			requests[r.Host]++
		}
	}
	end := records[len(records)-1]
	for _, h := range end.Hosts {
		if n := requests[h.Host]; n == 0 || n != h.With.Requests || n != h.Without.Requests {
			t.Errorf("%s: got %d requests, %d in the summary and %d by the twin, want some and as many",
				h.Host, n, h.With.Requests, h.Without.Requests)
		}
	}
	if len(end.Metrics) == 0 || len(end.Trace) == 0 {
		t.Errorf("got %d metrics and a trace of %d steps, want some", len(end.Metrics), len(end.Trace))
	}
}

// runJSON returns what run writes. It takes as long as it says.
func runJSON(t *testing.T, n network, length time.Duration, args ...string) []record {
	t.Helper()
	var out bytes.Buffer
	began := time.Now()
	if err := run(t.Context(), n, append(args, "-json", "-for", length.String()), &out); err != nil {
		t.Fatal(err)
	}
	// In a bubble it is exact but for the last requests.
	if took := time.Since(began); took < length || took > 2*length+10*time.Second {
		t.Errorf("took %v, want about %v", took, length)
	}
	return decode(t, &out)
}

func decode(t *testing.T, out *bytes.Buffer) []record {
	t.Helper()
	var records []record
	for d := json.NewDecoder(out); d.More(); {
		var r record
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	return records
}

func checkOrder(t *testing.T, records []record) {
	t.Helper()
	for i, r := range records {
		want := []string{requestEvent, upstreamEvent, transitionEvent}
		switch i {
		case 0:
			want = []string{storyEvent}
		case len(records) - 1:
			want = []string{"summary"}
		default:
			if before := records[i-1].At; r.At < before {
				t.Errorf("record %d is of %v, after %v", i, r.At, before)
			}
		}
		if !slices.Contains(want, r.Type) {
			t.Errorf("record %d has type %q, want one of %q", i, r.Type, want)
		}
	}
}

func TestPlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		if err := run(t.Context(), newPipes(), nil, &out); err != nil {
			t.Fatal(err)
		}
		got := out.String()
		for _, want := range []string{
			"orders   its server is overloaded", "last: 503 Service Unavailable -> OPEN for 2s", "-> HALF-OPEN", "-> CLOSED",
			"request refused at once, not sent", "circuit_breaker.requests", "event circuit_breaker.state_change",
			"The circuit breakers have kept ",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("there is no %q in the output", want)
			}
		}
		if strings.Contains(got, "\x1b") {
			t.Error("there are escape sequences in the output")
		}
		for l := range strings.Lines(got) {
			if n := utf8.RuneCountInString(l); n > 101 {
				t.Errorf("line has %d columns: %s", n, l)
			}
		}
		if t.Failed() {
			t.Log(got)
		}
	})
}

// An interruptor cancels when it reads a transition.
type interruptor struct {
	bytes.Buffer
	cancel func()
}

func (i *interruptor) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(`"type":"transition"`)) {
		i.cancel()
	}
	return i.Buffer.Write(p)
}

func TestInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		out := &interruptor{cancel: cancel}
		began := time.Now()
		if err := run(ctx, newPipes(), []string{"-json"}, out); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > defaultLength/4 {
			t.Errorf("took %v after an interrupt at the first transition", took)
		}
		records := decode(t, &out.Buffer)
		if last := records[len(records)-1]; last.Type != "summary" || len(last.Metrics) == 0 {
			t.Errorf("the last record is %+v, want a summary with metrics", last)
		}
	})
}

func TestFlags(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-for", "2s"}, "-for is 2s, want 3s to 1h"},
		{[]string{"-for", "soon"}, "invalid value"},
		{[]string{"-seed", "-1"}, "invalid value"},
		{[]string{"now"}, `unexpected argument "now"`},
	} {
		var out bytes.Buffer
		err := run(t.Context(), loopback, test.args, &out)
		if err == nil || !strings.Contains(err.Error(), test.want) || out.Len() > 0 {
			t.Errorf("%q: got error %v and output %q, want error %q", test.args, err, &out, test.want)
		}
	}
	var out bytes.Buffer
	if err := run(t.Context(), loopback, []string{"-h"}, &out); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: got error %v", err)
	}
	for _, want := range []string{"-for", "-seed", "-json", "-plain", "-serve", "summary"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("-h does not explain %s", want)
		}
	}
}
