package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/breakerhttp/breakerhttp"
)

// spare is the time that an invocation keeps for what comes after the host's
// answer: to publish a circuit's change, and to answer itself.
const spare = 500 * time.Millisecond

// A function is what one environment keeps from invocation to invocation.
type function struct {
	client *http.Client
	shop   string
}

// newFunction returns a function that asks the shop at a URL for prices. A nil base
// means http.DefaultTransport, and no instance a random one.
func newFunction(shop string, base http.RoundTripper, store breakerhttp.Store, instance string, policy breakerhttp.Policy) (*function, error) {
	if u, err := url.Parse(shop); err != nil || u.Host == "" {
		return nil, fmt.Errorf("SHOP_URL is %q, want a URL", shop)
	}
	// No Watch: it would stand still whenever the environment does.
	t, err := breakerhttp.New(base,
		breakerhttp.WithName("prices"),
		breakerhttp.WithPolicy(policy),
		breakerhttp.WithStore(store, breakerhttp.Sharing{
			Namespace: "prices",
			Instance:  instance,
			OnError:   func(err error) { fmt.Fprintln(os.Stderr, err) }, // goes to CloudWatch
		}))
	if err != nil {
		return nil, err
	}
	return &function{client: &http.Client{Transport: t, Timeout: 5 * time.Second}, shop: shop}, nil
}

// handle answers the request of a function URL. A refusal becomes 503 with
// Retry-After, so that callers of the function can wait instead of paying for
// invocations that cannot succeed.
func (f *function) handle(ctx context.Context, event events.LambdaFunctionURLRequest) (events.LambdaFunctionURLResponse, error) {
	// At its deadline Lambda ends the process, and what it has learnt is lost. An
	// earlier deadline makes a host that hangs a failure, counted and published.
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-spare))
		defer cancel()
	}
	price, err := f.price(ctx, event.QueryStringParameters["item"])
	var open *breakerhttp.OpenError
	switch {
	case errors.As(err, &open):
		after := strconv.Itoa(int((max(open.RetryAfter, 1) + time.Second - 1) / time.Second))
		return events.LambdaFunctionURLResponse{
			StatusCode: http.StatusServiceUnavailable,
			Headers:    map[string]string{"Retry-After": after},
			Body:       open.Error(),
		}, nil
	case err != nil:
		return events.LambdaFunctionURLResponse{StatusCode: http.StatusBadGateway, Body: err.Error()}, nil
	}
	return events.LambdaFunctionURLResponse{StatusCode: http.StatusOK, Body: price}, nil
}

// price reads the whole answer: what is left of a response when the environment
// is frozen may be gone when it runs again.
func (f *function) price(ctx context.Context, item string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.shop+"/prices/"+url.PathEscape(item), nil)
	if err != nil {
		return "", err
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the shop says %s", resp.Status)
	}
	return string(body), nil
}
