package breakerhttp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/breakerhttp/breakerhttp"
)

// TestAttack lets callers choose hosts, ports and methods, and upstreams status,
// Retry-After and Date, at will. Circuits and series stay within their bounds, no
// open circuit is lost, none is open for longer than MaxOpenFor, and a host
// that others use stays served.
func TestAttack(t *testing.T) {
	const maxCircuits, maxKeys = 100, 20
	reader, mp := newMeter()
	upstream := roundTripFunc(func(req *http.Request) (*http.Response, error) {
		if req.URL.Host == "well.test" {
			return respond(200)(req)
		}
		if req.URL.Host == "victim.test" {
			return respond(500)(req)
		}
		resp, _ := respond(200 + rand.IntN(800))(req)
		resp.Header["Retry-After"] = [][]string{{"99999999999999999999"}, {"-1"}, {"1", "2"}, {"Fri, 31 Dec 9999 23:59:59 GMT"}, {"\x00"}}[rand.IntN(5)]
		resp.Header["Date"] = [][]string{{"Thu, 01 Jan 1970 00:00:00 GMT"}, {"x"}, {}}[rand.IntN(3)]
		return resp, nil
	})
	tr := newTransport(t, upstream, breakerhttp.WithMeterProvider(mp), breakerhttp.WithMaxCircuits(maxCircuits),
		breakerhttp.WithMaxMetricKeys(maxKeys), breakerhttp.WithPolicy(breakerhttp.Policy{MaxOpenFor: 2 * time.Minute, Jitter: 0.5}))
	for range 5 {
		_, _ = get(tr, "http://victim.test")
	}
	wantState(t, tr, "http://victim.test", breakerhttp.StateOpen)

	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				_, _ = get(tr, fmt.Sprintf("%s://%s%d.test:%d/", []string{"http", "HTTPS", "https"}[rand.IntN(3)],
					[]string{"a", "A", "é"}[rand.IntN(3)], rand.IntN(50_000), rand.IntN(65_536)))
				if status, err := get(tr, "http://well.test"); status != 200 || err != nil {
					t.Errorf("the host that is well: got %d, %v", status, err)
				}
			}
		})
	}
	wg.Wait()

	if n := circuits(tr); n > maxCircuits {
		t.Errorf("got %d circuits, want at most %d", n, maxCircuits)
	}
	if _, err := get(tr, "http://victim.test"); !errors.Is(err, breakerhttp.ErrOpen) {
		t.Errorf("the open circuit is gone: got %v", err)
	}
	for _, tn := range tr.Transitions() {
		if tn.OpenFor > 3*time.Minute {
			t.Errorf("%s is open for %v, want at most MaxOpenFor and half of it", tn.Key, tn.OpenFor)
		}
	}
	// Of each: 3 states, 4 or 5 steps, 3 outcomes and 16 error types; and the untracked.
	if n, most := len(collectPoints(t, reader)), (maxKeys+1)*(3+5+3+16)+1; n > most {
		t.Errorf("got %d series, want at most %d", n, most)
	}
}

// TestNoSecrets sends what must not be told in every place where callers put it,
// to upstreams that fail in ways that repeat it.
func TestNoSecrets(t *testing.T) {
	const secret = "hunter2"
	var logged bytes.Buffer
	reader, mp := newMeter()
	spans := tracetest.NewSpanRecorder()
	tracer := trace.NewTracerProvider(trace.WithSpanProcessor(spans)).Tracer("")
	upstream := roundTripFunc(func(req *http.Request) (*http.Response, error) {
		if req.URL.Path == "/status" {
			resp, _ := respond(500)(req)
			resp.Status = "500 " + secret
			return resp, nil
		}
		return nil, fmt.Errorf("malformed response %q to %s", secret, req.URL)
	})
	tr := newTransport(t, upstream, breakerhttp.WithMeterProvider(mp),
		breakerhttp.WithTransitionHook(breakerhttp.LogTransitions(slog.New(slog.NewTextHandler(&logged, nil)))))
	var told []string
	for i := range 20 {
		ctx, span := tracer.Start(context.Background(), "call")
		url := fmt.Sprintf("http://user:%s@h%d.test/%s?token=%s#%s", secret, i%2, []string{"status", "error"}[i%2], secret, secret)
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		req.Header.Set("Authorization", "Bearer "+secret)
		if _, err := do(tr, req); errors.Is(err, breakerhttp.ErrOpen) {
			told = append(told, err.Error(), fmt.Sprintf("%+v", err))
		}
		span.End()
	}
	if len(told) == 0 {
		t.Fatal("nothing was refused")
	}
	for s := range tr.Snapshots() {
		b, _ := json.Marshal(s)
		told = append(told, string(b))
	}
	b, _ := json.Marshal(tr.Transitions())
	told = append(told, string(b), logged.String(), fmt.Sprint(collectPoints(t, reader)))
	for _, span := range spans.Ended() {
		told = append(told, fmt.Sprint(span.Events(), span.Attributes()))
	}
	for _, s := range told {
		if strings.Contains(s, secret) {
			t.Errorf("a secret is told: %s", s)
		}
	}
}
