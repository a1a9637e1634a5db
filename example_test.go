package breakerhttp_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// A host that keeps failing is refused at once after the fifth failure.
func Example() {
	dead := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "down", http.StatusServiceUnavailable)
	}))
	defer dead.Close()

	t, err := breakerhttp.New(nil)
	if err != nil {
		panic(err)
	}
	client := &http.Client{Transport: t}
	for range 6 {
		resp, err := client.Get(dead.URL)
		var open *breakerhttp.OpenError
		switch {
		case errors.As(err, &open):
			fmt.Println("refused:", open.Reason)
		case err != nil:
			fmt.Println(err)
		default:
			fmt.Println(resp.Status)
			resp.Body.Close()
		}
	}
	// Output:
	// 503 Service Unavailable
	// 503 Service Unavailable
	// 503 Service Unavailable
	// 503 Service Unavailable
	// 503 Service Unavailable
	// refused: 5 failures in a row, last: 503 Service Unavailable
}

// Open at half of at least ten requests failing within thirty seconds, or at half
// of them slow; come back in steps.
func ExampleWithPolicy() {
	_, err := breakerhttp.New(nil, breakerhttp.WithPolicy(breakerhttp.Policy{
		ConsecutiveFailures: -1, // off
		FailureRatio:        0.5,
		SlowRatio:           0.5,
		SlowAfter:           2 * time.Second,
		MinRequests:         10,
		Window:              30 * time.Second,

		OpenFor:    5 * time.Second,
		OpenGrowth: 2, // 5s, 10s, 20s, ...
		MaxOpenFor: 2 * time.Minute,
		Jitter:     0.1,

		Ramp: 10 * time.Second,
	}))
	fmt.Println(err)
	// Output: <nil>
}

// An invalid option is an error that says what was wanted.
func ExampleNew_invalid() {
	_, err := breakerhttp.New(nil,
		breakerhttp.WithPolicy(breakerhttp.Policy{FailureRatio: 1.5}),
		breakerhttp.WithMaxCircuits(0))
	fmt.Println(err)
	// Output:
	// breakerhttp: WithMaxCircuits is 0, want 1 or more
	// breakerhttp: Policy.FailureRatio is 1.5, want 0 to 1
}

// One API gives up after three failures, everything else after five.
func ExampleWithHostPolicy() {
	t, err := breakerhttp.New(nil,
		breakerhttp.WithHostPolicy("api.paypal.com", breakerhttp.Policy{ConsecutiveFailures: 3}),
		breakerhttp.WithHostPolicy("*.internal.example", breakerhttp.Policy{OpenFor: 5 * time.Second}))
	fmt.Println(t != nil, err)
	// Output: true <nil>
}

// A Fallback answers in place of a host that is refused.
func ExampleWithFallback() {
	t, err := breakerhttp.New(nil, breakerhttp.WithFallback(breakerhttp.ServiceUnavailable))
	if err != nil {
		panic(err)
	}
	t.ForceOpen("https://api.example.com")
	resp, err := (&http.Client{Transport: t}).Get("https://api.example.com/")
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	// Output: 503 Service Unavailable
}

// Too many requests is a failure of this upstream, too.
func ExampleFailureStatus() {
	t, err := breakerhttp.New(nil, breakerhttp.WithClassifier(breakerhttp.FailureStatus(http.StatusTooManyRequests)))
	fmt.Println(t != nil, err)
	// Output: true <nil>
}

// A classifier of one's own hands on what it does not know better.
func ExampleDefaultClassifier() {
	notFoundOnLogin := func(a breakerhttp.Attempt) breakerhttp.Outcome {
		if a.Response != nil && a.Response.StatusCode == http.StatusNotFound && a.Request.URL.Path == "/login" {
			return breakerhttp.Failure // it must be there
		}
		return breakerhttp.DefaultClassifier(a)
	}
	t, err := breakerhttp.New(nil, breakerhttp.WithClassifier(notFoundOnLogin))
	fmt.Println(t != nil, err)
	// Output: true <nil>
}

func ExampleLogTransitions() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	t, err := breakerhttp.New(nil, breakerhttp.WithTransitionHook(breakerhttp.LogTransitions(logger)))
	if err != nil {
		panic(err)
	}
	t.ForceOpen("https://api.example.com")
	// Output:
	// level=WARN msg="circuit open" name=default key=https://api.example.com from=closed to=open reason=forced detail="forced open"
}

// WaitReady is for those who would rather wait for the next probe than fail.
func ExampleTransport_WaitReady() {
	t, err := breakerhttp.New(nil)
	if err != nil {
		panic(err)
	}
	t.ForceOpen("https://api.example.com")

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.example.com/", nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(t.WaitReady(req))
	// Output: context deadline exceeded
}

// Snapshots tell what every circuit is now.
func ExampleTransport_Snapshots() {
	t, err := breakerhttp.New(nil)
	if err != nil {
		panic(err)
	}
	t.ForceOpen("https://api.example.com")
	for s := range t.Snapshots() {
		fmt.Println(s.Key, s.State, s.Reason)
	}
	// Output: https://api.example.com open forced open
}
