package browsertest

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/dashboard"
)

// A story is what happens to a host, minute by minute.
type story struct {
	host     string
	interval time.Duration // between requests, on average
	faults   []fault
	quiet    time.Duration // no requests from then on
}

type fault struct {
	from, until time.Duration
	answer      func(*http.Request) (*http.Response, error)
}

// The night begins at 02:51 and is looked at a little after three.
const (
	nightfall = 2*time.Hour + 51*time.Minute
	looked    = 2 * time.Minute // later, the page is opened
	night     = 12*time.Minute + 17*time.Second
)

var stories = []story{
	{host: "payments.example.com", interval: 300 * time.Millisecond, faults: []fault{{11*time.Minute + 20*time.Second, night, refuse}}},
	{host: "search.internal.example:9200", interval: 400 * time.Millisecond, faults: []fault{{8 * time.Minute, night, hang}}},
	{host: "mail.example.net", interval: time.Second, faults: []fault{{10 * time.Minute, night, busy(150)}}},
	{host: "inventory.internal.example", interval: 500 * time.Millisecond, faults: []fault{
		{3 * time.Minute, 4 * time.Minute, status(502)}, {6*time.Minute + 30*time.Second, 7 * time.Minute, status(502)},
	}},
	{host: "geo.example.org", interval: 2 * time.Second, quiet: 7 * time.Minute, faults: []fault{{5 * time.Minute, night, status(500)}}},
	{host: "ledger.internal.example", interval: 700 * time.Millisecond, faults: []fault{{11*time.Minute + 55*time.Second, night, status(504)}}},
	{host: "reports.internal.example", interval: 900 * time.Millisecond, faults: []fault{{11*time.Minute + 40*time.Second, night, slow}}},
	{host: "stock.example.com", interval: 400 * time.Millisecond, faults: []fault{{11 * time.Minute, night, everyThird()}}},
	{host: "legacy-crm.internal.example", interval: 3 * time.Second},
	{host: "flags.internal.example", interval: 250 * time.Millisecond},
	{host: "recommendations-staging.eu-central-1.internal.example:8443", interval: 900 * time.Millisecond},
	{host: "avatars.example.org", interval: 600 * time.Millisecond},
	{host: "[2001:db8::17]:8080", interval: 2 * time.Second},
	{host: "auth.internal.example", interval: 150 * time.Millisecond},
	{host: "billing.internal.example", interval: 800 * time.Millisecond},
	{host: "cdn.example.net", interval: 350 * time.Millisecond},
	{host: "sms.example.com", interval: 5 * time.Second},
	{host: "tax.example.com", interval: 4 * time.Second},
}

func status(code int) func(*http.Request) (*http.Response, error) {
	return func(req *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: code, Status: fmt.Sprint(code, " ", http.StatusText(code)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{}, Body: io.NopCloser(strings.NewReader("")), Request: req,
		}, nil
	}
}

func busy(seconds int) func(*http.Request) (*http.Response, error) {
	return func(req *http.Request) (*http.Response, error) {
		resp, err := status(http.StatusServiceUnavailable)(req)
		resp.Header.Set("Retry-After", fmt.Sprint(seconds))
		return resp, err
	}
}

func refuse(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

func hang(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

func slow(req *http.Request) (*http.Response, error) {
	time.Sleep(1500 * time.Millisecond)
	return status(200)(req)
}

// unlucky is one request in sixty, the same ones each time.
func unlucky(host string, at time.Duration) bool {
	h := fnv.New32a()
	fmt.Fprint(h, host, at)
	return h.Sum32()%60 == 0
}

// everyThird fails every third request.
func everyThird() func(*http.Request) (*http.Response, error) {
	var n atomic.Int64
	return func(req *http.Request) (*http.Response, error) {
		if n.Add(1)%3 == 0 {
			return status(502)(req)
		}
		return status(200)(req)
	}
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// recordedNight is what recordNight returned first, for the tests that only look at it.
var recordedNight []byte

// replayNight serves the page of the night as it is remembered.
func replayNight(t *testing.T) (url string) {
	t.Helper()
	if recordedNight == nil {
		recordedNight = recordNight(t)
	}
	return replay(t, recordedNight)
}

// recordNight lives through the night, in no time, with a real Transport and a
// real Handler, and returns the events that the page gets.
func recordNight(t *testing.T, opts ...breakerhttp.Option) (events []byte) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(nightfall)
		start := time.Now()
		base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
			at := time.Since(start)
			for _, s := range stories {
				for _, f := range s.faults {
					if s.host == req.URL.Host && f.from <= at && at < f.until {
						return f.answer(req)
					}
				}
			}
			time.Sleep(20 * time.Millisecond)
			if unlucky(req.URL.Host, at) {
				return status(500)(req)
			}
			return status(200)(req)
		})
		transport, err := breakerhttp.New(base, append(opts, breakerhttp.WithName("shop"), breakerhttp.WithPolicy(breakerhttp.Policy{
			SlowRatio: 0.5, SlowAfter: time.Second, MinRequests: 10, OpenFor: 40 * time.Second, OpenGrowth: 1.5, MaxOpenFor: 3 * time.Minute,
		}))...)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		defer wg.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), night)
		defer cancel()
		for i, s := range stories {
			random := rand.New(rand.NewPCG(7, uint64(i)))
			wg.Go(func() { s.live(ctx, start, transport, random) })
		}
		time.Sleep(looked)
		recorder := httptest.NewRecorder()
		wg.Go(func() {
			dashboard.Handler(transport).ServeHTTP(recorder, httptest.NewRequestWithContext(ctx, http.MethodGet, "/events", nil))
		})
		time.Sleep(3 * time.Minute)
		transport.ForceOpen("https://legacy-crm.internal.example")
		time.Sleep(time.Minute)
		transport.ForceClosed("https://flags.internal.example")
		wg.Wait()
		events = recorder.Body.Bytes()
	})
	return regexp.MustCompile(`"process":{"host":"[^"]*","pid":\d+`).ReplaceAll(events, []byte(`"process":{"host":"web-7f9c","pid":4711`))
}

// live makes the requests to a host.
func (s story) live(ctx context.Context, start time.Time, transport http.RoundTripper, random *rand.Rand) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for ctx.Err() == nil && (s.quiet == 0 || time.Since(start) < s.quiet) {
		time.Sleep(s.interval/2 + time.Duration(random.Int64N(int64(s.interval))))
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+s.host, nil)
			if resp, err := transport.RoundTrip(req); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
}
