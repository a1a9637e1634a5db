package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/store/storetest"
)

func TestDemo(t *testing.T) {
	var out bytes.Buffer
	if err := demo(&out, 2*time.Second); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]int{
		"502  shop called: true":  10, // five failures in each of two environments
		"503  shop called: false": 4,
		"other processes":         2, // all that environment 3 sees
		"200  shop called: true":  3,
	} {
		if got := strings.Count(out.String(), what); got != want {
			t.Errorf("got %q %d times, want %d:\n%s", what, got, want, out.String())
		}
	}
}

// A host that hangs must not take the invocation, and what it has learnt, with it.
func TestHandleIsDoneBeforeDeadline(t *testing.T) {
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() }))
	defer hanging.Close()
	f, err := newFunction(hanging.URL, nil, storetest.NewMemory(), "", breakerhttp.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	invoke := func() events.LambdaFunctionURLResponse {
		ctx, cancel := context.WithTimeout(t.Context(), spare+50*time.Millisecond)
		defer cancel()
		got, err := f.handle(ctx, events.LambdaFunctionURLRequest{})
		if err != nil || ctx.Err() != nil {
			t.Errorf("got %v, at the end of the invocation %v; want neither", err, ctx.Err())
		}
		return got
	}
	for range 5 {
		if got := invoke(); got.StatusCode != http.StatusBadGateway {
			t.Errorf("hanging: got %+v, want 502", got)
		}
	}
	if got := invoke(); got.StatusCode != http.StatusServiceUnavailable || got.Headers["Retry-After"] != "60" {
		t.Errorf("open: got %+v, want 503 with Retry-After 60", got)
	}
}

func TestNewFunctionNamesWhatIsMissing(t *testing.T) {
	for _, shop := range []string{"", "shop", "http://%"} {
		if _, err := newFunction(shop, nil, storetest.NewMemory(), "", breakerhttp.Policy{}); err == nil || !strings.Contains(err.Error(), "SHOP_URL") {
			t.Errorf("newFunction(%q): got error %v, want one about SHOP_URL", shop, err)
		}
	}
}
