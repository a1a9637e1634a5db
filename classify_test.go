package breakerhttp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/breakerhttp/breakerhttp"
)

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
		req := newRequest(t, ctx, url)
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

// TestAttempt: what a classifier is told.
func TestAttempt(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		err    error
	}{
		{"response", 404, nil},
		{"error", 0, errOwn},
		{"both, against the contract of RoundTripper", 200, errOwn},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := roundTripFunc(func(req *http.Request) (resp *http.Response, _ error) {
					time.Sleep(3 * time.Second)
					if tt.status != 0 {
						resp, _ = respond(tt.status)(req)
					}
					return resp, tt.err
				})
				var got breakerhttp.Attempt
				tr := newTransport(t, base, breakerhttp.WithClassifier(func(a breakerhttp.Attempt) breakerhttp.Outcome {
					got = a
					return breakerhttp.Ignored
				}))
				req := post(t, "http://a.test", strings.NewReader("x"), 1)
				resp, err := tr.RoundTrip(req)
				if err != tt.err || (resp != nil) != (tt.status != 0) { //nolint:errorlint // as it is
					t.Errorf("RoundTrip: got %v, %v; want what base returned", resp, err)
				}
				if got.Request != req {
					t.Errorf("got Request %p, want the caller's own, %p", got.Request, req)
				}
				if got.Err != tt.err { //nolint:errorlint // as it is
					t.Errorf("got Err %v, want %v", got.Err, tt.err)
				}
				if want := resp; tt.err == nil && got.Response != want || tt.err != nil && got.Response != nil {
					t.Errorf("got Response %v with Err %v, want exactly one", got.Response, got.Err)
				}
				if want := 3 * time.Second; got.Duration != want {
					t.Errorf("got Duration %v, want %v", got.Duration, want)
				}
			})
		})
	}
}

// TestClassifier: the outcome is the classifier's, and the error.type fits.
func TestClassifier(t *testing.T) {
	refusal := &breakerhttp.OpenError{}
	always := func(o breakerhttp.Outcome) breakerhttp.Classifier {
		return func(breakerhttp.Attempt) breakerhttp.Outcome { return o }
	}
	failure := always(breakerhttp.Failure)
	for _, tt := range []struct {
		name       string
		classifier breakerhttp.Classifier
		status     int // or, if it is 0
		err        error
		want       tally
	}{
		{"a status that fails too", breakerhttp.FailureStatus(429, 404), 404, nil, tally{"failure 404": 1}},
		{"a status that does not", breakerhttp.FailureStatus(429, 404), 403, nil, tally{"success": 1}},
		{"a status that fails anyway", breakerhttp.FailureStatus(429), 500, nil, tally{"failure 500": 1}},
		{"a limited status", breakerhttp.LimitedStatus(429, 529), 529, nil, tally{"limited": 1}},
		{"a status that is not limited", breakerhttp.LimitedStatus(429, 529), 503, nil, tally{"failure 503": 1}},
		{"an error, by limited status", breakerhttp.LimitedStatus(429, 529), 0, errRefused, tally{"failure connect": 1}},
		{"an error, by status", breakerhttp.FailureStatus(429), 0, errRefused, tally{"failure connect": 1}},
		{"a success is a failure", failure, 200, nil, tally{"failure 200": 1}},
		{"an error is a failure", failure, 0, errRefused, tally{"failure connect": 1}},
		{"an inner refusal is a failure", failure, 0, refusal, tally{"failure circuit_open": 1}},
		{"a failure is a success", always(breakerhttp.Success), 503, nil, tally{"success": 1}},
		{"an error is a success", always(breakerhttp.Success), 0, errRefused, tally{"success": 1}},
		{"a failure is ignored", always(breakerhttp.Ignored), 503, nil, tally{"ignored": 1}},
		{"no such outcome", always(breakerhttp.Limited + 1), 503, nil, tally{"ignored": 1}},
		{"no such outcome of an error", always(255), 0, errRefused, tally{"ignored": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
				if tt.status == 0 {
					return nil, tt.err
				}
				return respond(tt.status)(req)
			})
			got := judged(t, base, newRequest(t, t.Context(), "http://a.test"), breakerhttp.WithClassifier(tt.classifier))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("what is ignored by default is a failure", func(t *testing.T) {
		base, url := at(answering(200))(t)
		req := newRequest(t, t.Context(), url)
		req.Method = "G ET"
		got := judged(t, base, req, breakerhttp.WithClassifier(failure))
		if diff := cmp.Diff(tally{"failure _OTHER": 1}, got); diff != "" {
			t.Errorf("counted (-want +got):\n%s", diff)
		}
	})
}

// TestDefaultClassifier: an Attempt made by hand need not have a Request.
func TestDefaultClassifier(t *testing.T) {
	resp := func(code int) *http.Response { return &http.Response{StatusCode: code} }
	limited := breakerhttp.LimitedStatus(429)
	for _, tt := range []struct {
		name string
		got  breakerhttp.Outcome
		want breakerhttp.Outcome
	}{
		{"EOF", breakerhttp.DefaultClassifier(breakerhttp.Attempt{Err: io.EOF}), breakerhttp.Failure},
		{"EOF of an empty request", breakerhttp.DefaultClassifier(breakerhttp.Attempt{Request: new(http.Request), Err: io.EOF}), breakerhttp.Failure},
		{"refusal", breakerhttp.DefaultClassifier(breakerhttp.Attempt{Err: breakerhttp.ErrOpen}), breakerhttp.Ignored},
		{"nothing", breakerhttp.DefaultClassifier(breakerhttp.Attempt{}), breakerhttp.Failure},
		{"503", breakerhttp.DefaultClassifier(breakerhttp.Attempt{Response: resp(503)}), breakerhttp.Failure},
		{"429", breakerhttp.DefaultClassifier(breakerhttp.Attempt{Response: resp(429)}), breakerhttp.Success},
		{"429, limited", limited(breakerhttp.Attempt{Response: resp(429)}), breakerhttp.Limited},
		{"429 and an error, limited", limited(breakerhttp.Attempt{Response: resp(429), Err: io.EOF}), breakerhttp.Failure},
		{"503, limited", limited(breakerhttp.Attempt{Response: resp(503)}), breakerhttp.Failure},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got outcome %d, want %d", tt.name, tt.got, tt.want)
		}
	}
}

// A meteredAPI answers ten requests a minute, and 429 with Retry-After to all others.
type meteredAPI struct {
	mu       sync.Mutex
	began    time.Time
	inFlight int
	most     int         // in flight at once
	answered map[int]int // by minute
	over     map[int]int // over quota, by minute
}

func newMeteredAPI() *meteredAPI {
	return &meteredAPI{began: time.Now(), answered: map[int]int{}, over: map[int]int{}}
}

func (a *meteredAPI) RoundTrip(req *http.Request) (*http.Response, error) {
	resp := a.begin()
	time.Sleep(20 * time.Millisecond)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inFlight--
	resp.Request = req
	return resp, nil
}

func (a *meteredAPI) begin() *http.Response {
	const quota = 10
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inFlight++
	a.most = max(a.most, a.inFlight)
	since := time.Since(a.began)
	minute := int(since / time.Minute)
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}
	if a.answered[minute] < quota {
		a.answered[minute]++
		return resp
	}
	a.over[minute]++
	left := time.Duration(minute+1)*time.Minute - since
	resp.StatusCode = http.StatusTooManyRequests
	resp.Header.Set("Retry-After", fmt.Sprint(int(math.Ceil(left.Seconds()))))
	return resp
}

// TestQuota: of a hundred callers, those over quota are in each minute at most as many
// as were in flight at once. All of the quota is used, and nothing is a failure.
func TestQuota(t *testing.T) {
	const callers, minutes = 100, 10
	for _, tt := range []struct {
		name   string
		policy breakerhttp.Policy
		apart  time.Duration // between the callers
		most   int           // in flight at once
	}{
		{"all at once", breakerhttp.Policy{}, 0, callers},
		{"one after the other", breakerhttp.Policy{}, 10 * time.Millisecond, 10},
		{"all at once, Adaptive", breakerhttp.Policy{Adaptive: true}, 0, callers},
		{"one after the other, Adaptive", breakerhttp.Policy{Adaptive: true}, 10 * time.Millisecond, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := newMeteredAPI()
				reasons := map[breakerhttp.Reason]int{}
				tr := newTransport(t, api, breakerhttp.WithPolicy(tt.policy),
					breakerhttp.WithClassifier(breakerhttp.LimitedStatus(http.StatusTooManyRequests)),
					breakerhttp.WithTransitionHook(func(_ context.Context, tr breakerhttp.Transition) { reasons[tr.Reason]++ }))
				var wg sync.WaitGroup
				for i := range callers {
					wg.Go(func() {
						time.Sleep(time.Duration(i) * tt.apart)
						for time.Since(api.began) < minutes*time.Minute {
							_, _ = get(tr, "http://metered.test")
							time.Sleep(time.Second)
						}
					})
				}
				wg.Wait()
				if api.most > tt.most {
					t.Errorf("%d requests were in flight at once, want at most %d", api.most, tt.most)
				}
				over := uint64(0)
				for minute := range minutes {
					if api.answered[minute] != 10 || api.over[minute] > api.most {
						t.Errorf("minute %d: %d answered and %d over quota, want 10 and at most %d", minute, api.answered[minute], api.over[minute], api.most)
					}
					over += uint64(api.over[minute])
				}
				if got := snapshot(t, tr, "http://metered.test").Totals; got.Failure != 0 || got.Limited < over {
					t.Errorf("got totals %+v, want no failure and %d limited", got, over)
				}
				want := map[breakerhttp.Reason]int{breakerhttp.ReasonLimited: minutes, breakerhttp.ReasonOpenElapsed: minutes}
				if diff := cmp.Diff(want, reasons); diff != "" {
					t.Errorf("transitions (-want +got):\n%s", diff)
				}
			})
		})
	}
}
