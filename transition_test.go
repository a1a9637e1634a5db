package breakerhttp_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

func TestLogTransitions(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	tr := newTransport(t, respond(500), breakerhttp.WithTransitionHook(breakerhttp.LogTransitions(logger)))
	for range 5 {
		_, _ = get(tr, host)
	}
	tr.Reset(host)
	want := `level=WARN msg="circuit open" name=default key=http://a.test from=closed to=open reason=consecutive_failures ` +
		`detail="5 failures in a row, last: 500 Internal Server Error" open_for=1m0s
level=INFO msg="circuit closed" name=default key=http://a.test from=open to=closed reason=reset detail=reset
`
	if got := log.String(); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

// TestLogTransitionsRounds: the log has open times in milliseconds, and the name of the Transport.
func TestLogTransitionsRounds(t *testing.T) {
	var log bytes.Buffer
	tr := newTransport(t, respond(500), breakerhttp.WithName("billing"),
		breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: 8212183194, MaxOpenFor: time.Minute}),
		breakerhttp.WithTransitionHook(breakerhttp.LogTransitions(slog.New(slog.NewTextHandler(&log, nil)))))
	for range 5 {
		_, _ = get(tr, host)
	}
	for _, want := range []string{" open_for=8.212s\n", " name=billing "} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log says %q, want %q in it", log.String(), want)
		}
	}
}

// TestTransitionJSONOfOpenFor: an open time is the same once it is read back, also where a policy keeps
// circuits open for ever.
func TestTransitionJSONOfOpenFor(t *testing.T) {
	for _, openFor := range []time.Duration{0, 1, 1234567890, math.MaxInt64} {
		text, err := json.Marshal(breakerhttp.Transition{To: breakerhttp.StateOpen, OpenFor: openFor})
		if err != nil {
			t.Fatal(err)
		}
		var got breakerhttp.Transition
		if err := json.Unmarshal(text, &got); err != nil || got.OpenFor != openFor {
			t.Errorf("%s: got %v, %v, want %v", text, got.OpenFor, err, openFor)
		}
	}
}
