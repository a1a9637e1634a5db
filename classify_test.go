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
	"math/big"
	"net"
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
	"github.com/breakerhttp/breakerhttp/internal/pipetest"
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
		{"closed connection of a request without a URL", breakerhttp.DefaultClassifier(breakerhttp.Attempt{Request: &http.Request{Host: "a.test"}, Err: net.ErrClosed}), breakerhttp.Failure},
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

// TestStatusCodesChangedAfterwards: a classifier keeps the codes that it was made of.
func TestStatusCodesChangedAfterwards(t *testing.T) {
	codes := []int{http.StatusTooManyRequests}
	classifier := breakerhttp.FailureStatus(codes...)
	codes[0] = http.StatusTeapot
	for status, want := range map[int]breakerhttp.Outcome{
		http.StatusTooManyRequests: breakerhttp.Failure,
		http.StatusTeapot:          breakerhttp.Success,
	} {
		if got := classifier(breakerhttp.Attempt{Response: &http.Response{StatusCode: status}}); got != want {
			t.Errorf("%d: got %v, want %v", status, got, want)
		}
	}
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

// TestGRPCStatus: the status of a gRPC response is judged, where it is in the
// trailer and where the response has nothing but headers.
func TestGRPCStatus(t *testing.T) {
	const proto = "application/grpc+proto"
	success := tally{"success": 1}
	late := func(name string) tally { return tally{"success": 1, "failure " + name: 1} }
	atOnce := func(name string) tally { return tally{"failure " + name: 1} }
	for _, tt := range []struct {
		name, path, contentType, status string
		want                            tally
	}{
		{"OK", "/trailer", proto, "0", success},
		{"CANCELLED", "/trailer", proto, "1", success},
		{"UNKNOWN", "/trailer", proto, "2", late("UNKNOWN")},
		{"INVALID_ARGUMENT", "/trailer", proto, "3", success},
		{"DEADLINE_EXCEEDED", "/trailer", proto, "4", late("DEADLINE_EXCEEDED")},
		{"NOT_FOUND", "/trailer", proto, "5", success},
		{"RESOURCE_EXHAUSTED", "/trailer", proto, "8", success},
		{"UNIMPLEMENTED", "/trailer", proto, "12", success},
		{"INTERNAL", "/trailer", proto, "13", late("INTERNAL")},
		{"UNAVAILABLE", "/trailer", proto, "14", late("UNAVAILABLE")},
		{"DATA_LOSS", "/trailer", proto, "15", late("DATA_LOSS")},
		{"UNAUTHENTICATED", "/trailer", proto, "16", success},
		{"nonsense", "/trailer", proto, "fourteen", success},
		{"none", "/trailer", proto, "", success},
		{"announced trailer", "/announced", proto, "14", late("UNAVAILABLE")},
		{"empty body, then a trailer", "/empty", proto, "14", late("UNAVAILABLE")},
		{"trailers-only", "/header", proto, "14", atOnce("UNAVAILABLE")},
		{"trailers-only, not the server's fault", "/header", proto, "5", success},
		{"trailers-only, flushed", "/flushed", proto, "14", late("UNAVAILABLE")},
		{"in the header of a response that has more", "/both", proto, "14", success},
		{"gRPC", "/trailer", "application/grpc", "14", late("UNAVAILABLE")},
		{"gRPC-Web", "/header", "application/grpc-web+json", "14", atOnce("UNAVAILABLE")},
		{"in capitals", "/trailer", "Application/GRPC", "14", late("UNAVAILABLE")},
		{"Connect", "/trailer", "application/connect+proto", "14", success},
		{"JSON, trailers-only", "/header", "application/json", "14", success},
		{"no type", "/header", "", "14", success},
	} {
		for _, opt := range []struct {
			name string
			opts []breakerhttp.Option
		}{
			{"default", nil},
			{"classifier", []breakerhttp.Option{breakerhttp.WithClassifier(breakerhttp.DefaultClassifier)}},
		} {
			t.Run(tt.name+"/"+opt.name, func(t *testing.T) {
				eachProtocolOf(t, grpcStatus(tt.contentType, tt.status), func(t *testing.T, srv *pipetest.Server) {
					got := judged(t, srv.Transport, post(t, srv.URL+tt.path, strings.NewReader("x"), 1), opt.opts...)
					if diff := cmp.Diff(tt.want, got); diff != "" {
						t.Errorf("counted (-want +got):\n%s", diff)
					}
				})
			})
		}
	}
}

// grpcStatus answers with a gRPC status in the place that the path says.
func grpcStatus(contentType, status string) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		h, flush := w.Header(), http.NewResponseController(w).Flush
		h["Content-Type"] = []string{contentType}
		where := http.TrailerPrefix + "Grpc-Status"
		defer func() {
			if status != "" {
				h.Set(where, status)
			}
		}()
		switch req.URL.Path {
		case "/announced":
			h.Set("Trailer", "Grpc-Status")
			where = "Grpc-Status"
			fallthrough
		case "/trailer":
			_, _ = io.WriteString(w, "message")
			_ = flush()
		case "/empty":
			_ = flush()
		case "/header":
			where = "Grpc-Status"
		case "/both":
			h.Set("Grpc-Status", status)
			_, _ = io.WriteString(w, "message")
			_ = flush()
			where = "Ignored"
		case "/flushed":
			h.Set("Grpc-Status", status)
			_ = flush()
			where = "Ignored"
		}
	}
}

// TestGRPCUnavailableOpens: a server that answers so opens its circuit, which
// says why.
func TestGRPCUnavailableOpens(t *testing.T) {
	for _, path := range []string{"/trailer", "/header"} {
		eachProtocolOf(t, grpcStatus("application/grpc", "14"), func(t *testing.T, srv *pipetest.Server) {
			tr := newTransport(t, srv.Transport)
			for range 5 {
				if _, err := get(tr, srv.URL+path); err != nil {
					t.Fatal(err)
				}
			}
			_, err := get(tr, srv.URL+path)
			if got, want := wantRefused(t, err).Reason, "5 failures in a row, last: UNAVAILABLE"; got != want {
				t.Errorf("got reason %q, want %q", got, want)
			}
		})
	}
}

const longest = time.Duration(math.MaxInt64)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, time.March, 1, 12, 0, 0, 500e6, time.UTC)
	for _, c := range []struct {
		field string
		want  time.Duration
	}{
		{"120", 2 * time.Minute},
		{" 120\t", 2 * time.Minute},
		{"0", 0},
		{"007", 7 * time.Second},
		{"9223372036", 9223372036 * time.Second},
		{"9223372037", longest},
		{"18446744073709551616", longest}, // 2^64
		{strings.Repeat("9", 5000), longest},
		{strings.Repeat("0", 5000) + "1", time.Second},

		{"Sun, 01 Mar 2026 12:01:00 GMT", 59500 * time.Millisecond},
		{"Sunday, 01-Mar-26 12:01:00 GMT", 59500 * time.Millisecond},
		{"Sun Mar  1 12:01:00 2026", 59500 * time.Millisecond},
		{"Sun, 01 Mar 2026 11:59:00 GMT", 0},
		{"Sunday, 06-Nov-94 08:49:37 GMT", 0}, // 1994
		{"Sun Nov  6 08:49:37 1994", 0},
		{"Fri, 31 Dec 9999 23:59:59 GMT", longest},
		{"Mon, 01 Jan 0001 00:00:00 GMT", 0},

		{"", 0},
		{" ", 0},
		{"-1", 0},
		{"+1", 0},
		{"1.5", 0},
		{"1e3", 0},
		{"0x10", 0},
		{"1_000", 0},
		{"120s", 0},
		{"12 0", 0},
		{"120, 120", 0},
		{"120;a=b", 0},
		{strings.Repeat("9", 30) + "s", 0},
		{"١٢", 0},
		{"soon", 0},
		{"2026-03-01T12:01:00Z", 0},
		{"Sun, 01 Mar 2026 12:01:00 PST", 0},
		{"Sunday, 01-Mar-26 12:01:00 PST", 0},
		{"Sunday, 01-Mar-26 12:01:00 UTC", 0},
		{"Sun, 01 Mar 2026 12:01:00 +0100", 0},
		{"Sun, 30 Feb 2026 12:01:00 GMT", 0},
	} {
		if got := breakerhttp.RetryAfter(http.Header{"Retry-After": {c.field}}, now); got != c.want {
			t.Errorf("Retry-After: %.40q: got %v, want %v", c.field, got, c.want)
		}
	}
}

func TestRetryAfterCountsFromTheDateField(t *testing.T) {
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	const at = "Mon, 02 Mar 2026 00:00:00 GMT" // 12 h from now
	for _, c := range []struct {
		date []string
		want time.Duration
	}{
		{nil, 12 * time.Hour},
		{[]string{"Sun, 01 Mar 2026 23:59:30 GMT"}, 30 * time.Second},
		{[]string{"Sunday, 01-Mar-26 23:59:30 GMT"}, 30 * time.Second},
		{[]string{"Sun Mar  1 23:59:30 2026"}, 30 * time.Second},
		{[]string{" Sun, 01 Mar 2026 23:59:30 GMT "}, 30 * time.Second},
		{[]string{"Mon, 02 Mar 2026 00:00:01 GMT"}, 0},
		{[]string{"Thu, 01 Jan 1970 00:00:00 GMT"}, time.Unix(0, 0).AddDate(56, 2, 1).Sub(time.Unix(0, 0))},
		{[]string{"Mon, 01 Jan 0001 00:00:00 GMT"}, longest},
		{[]string{"yesterday"}, 12 * time.Hour},
		{[]string{""}, 12 * time.Hour},
		{[]string{"60"}, 12 * time.Hour},
		{[]string{"Sun, 01 Mar 2026 23:59:30 GMT", "Sun, 01 Mar 2026 23:59:30 GMT"}, 12 * time.Hour},
	} {
		if got := breakerhttp.RetryAfter(http.Header{"Retry-After": {at}, "Date": c.date}, now); got != c.want {
			t.Errorf("Retry-After: %s with Date %q: got %v, want %v", at, c.date, got, c.want)
		}
		if got := breakerhttp.RetryAfter(http.Header{"Retry-After": {"7"}, "Date": c.date}, now); got != 7*time.Second {
			t.Errorf("Retry-After: 7 with Date %q: got %v, want 7s", c.date, got)
		}
	}
}

func TestRetryAfterOnceOrNotAtAll(t *testing.T) {
	for _, h := range []http.Header{nil, {}, {"Retry-After": nil}, {"Retry-After": {"120", "120"}}, {"Retry-After": {"120", ""}}} {
		if got := breakerhttp.RetryAfter(h, time.Now()); got != 0 {
			t.Errorf("%v: got %v, want 0s", h, got)
		}
	}
}

// RFC 9110, section 5.6.7: more than 50 years ahead is the latest such year past.
func TestRetryAfterWithAYearOfTwoDigits(t *testing.T) {
	day := func(year int) time.Time { return time.Date(year, time.July, 1, 0, 0, 0, 0, time.UTC) }
	for _, c := range []struct {
		now  time.Time
		year string
		want int // 0: past
	}{
		{day(2026), "26", 2026},
		{day(2026), "69", 2069}, // time.Parse says 1969
		{day(2026), "76", 2076}, // 50 years to the second
		{day(2026).Add(-time.Second), "76", 0},
		{day(2026), "77", 0},
		{day(2026), "25", 0},
		{day(2000), "50", 2050},
		{day(2000), "51", 0}, // time.Parse says 2051
		{day(1999), "00", 2000},
		{day(2099), "10", 2110},
		{day(2130), "99", 0},
		{day(2160), "05", 2205},
	} {
		h := http.Header{"Retry-After": {"Wednesday, 01-Jul-" + c.year + " 00:00:00 GMT"}}
		want := max(0, day(c.want).Sub(c.now))
		if got := breakerhttp.RetryAfter(h, c.now); got != want {
			t.Errorf("%s at %v: got %v, want %v", h.Get("Retry-After"), c.now, got, want)
		}
	}

	// 50 years on, the year has begun by GMT but not by the clock of the caller.
	now := time.Date(2027, time.January, 1, 1, 0, 0, 0, time.UTC)
	h := http.Header{"Retry-After": {"Friday, 01-Jan-77 00:00:00 GMT"}}
	want := breakerhttp.RetryAfter(h, now)
	if got := breakerhttp.RetryAfter(h, now.In(time.FixedZone("", -5*3600))); got != want || got == 0 {
		t.Errorf("%s west of Greenwich: got %v, want %v as in it", h.Get("Retry-After"), got, want)
	}
}

func TestRetryAfterOfSecondsAllocatesNothing(t *testing.T) {
	h := http.Header{"Retry-After": {"120"}, "Date": {"Sun, 01 Mar 2026 12:00:00 GMT"}}
	now := time.Now()
	if n := testing.AllocsPerRun(100, func() { breakerhttp.RetryAfter(h, now) }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120", "", int64(1772366400))
	f.Add("99999999999999999999", "x", int64(0))
	f.Add("Sun, 01 Mar 2026 12:01:00 GMT", "Sun, 01 Mar 2026 12:00:00 GMT", int64(0))
	f.Add("Sunday, 01-Mar-76 12:01:00 GMT", "Sunday, 01-Mar-26 12:01:00 GMT", int64(1772366400))
	f.Add("Tuesday, 29-Feb-00 12:01:00 GMT", "Sun Mar  1 12:01:00 2390", int64(-1772366400))
	f.Add("Sun Mar  1 12:01:00 2026", "Mon, 01 Jan 0001 00:00:00 GMT", int64(4e9))
	f.Fuzz(func(t *testing.T, field, date string, unix int64) {
		now := time.Unix(unix%1e11, 0).UTC() // years -1200 to 5138
		h := http.Header{"Retry-After": {field}, "Date": {date}}
		got := breakerhttp.RetryAfter(h, now)
		if want := naiveRetryAfter(field, date, now); got != want || got < 0 {
			t.Errorf("Retry-After %q, Date %q, at %v: got %v, want %v", field, date, now.UTC(), got, want)
		}
	})
}

func naiveRetryAfter(field, date string, now time.Time) time.Duration {
	field = strings.Trim(field, " \t")
	if field != "" && strings.Trim(field, "0123456789") == "" {
		n, _ := new(big.Int).SetString(field, 10)
		n.Mul(n, big.NewInt(int64(time.Second)))
		if !n.IsInt64() {
			return longest
		}
		return time.Duration(n.Int64())
	}
	if d, ok := naiveDate(strings.Trim(date, " \t"), now); ok {
		now = d
	}
	at, ok := naiveDate(field, now)
	if !ok || at.Before(now) {
		return 0
	}
	return at.Sub(now)
}

func naiveDate(s string, now time.Time) (time.Time, bool) {
	t, err := http.ParseTime(s)
	if err != nil {
		return t, false
	}
	if _, err := time.Parse(time.RFC850, s); err != nil {
		return t, true
	}
	if !strings.HasSuffix(s, " GMT") {
		return t, false
	}
	year := now.Year() + 51
	for ((year-t.Year())%100 != 0) || time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC).After(now.AddDate(50, 0, 0)) {
		year--
	}
	return time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC), true
}
