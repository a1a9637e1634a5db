package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/dashboard"
)

// servePage shows the circuits on a page, with controls: nothing is at stake here.
func servePage(n network, breaker *breakerhttp.Transport) (url string, stop func(), err error) {
	listener, err := n.listen()
	if err != nil {
		return "", nil, fmt.Errorf("the page cannot be served: %w", err)
	}
	server := &http.Server{Handler: dashboard.Handler(breaker, dashboard.WithControls()), ReadHeaderTimeout: time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	return "http://" + listener.Addr().String() + "/", func() {
		_ = server.Close()
		serving.Wait()
	}, nil
}

// linger leaves the page there until an interrupt.
func linger(ctx context.Context, out io.Writer, url string) {
	if ctx.Err() == nil {
		_, _ = fmt.Fprintf(out, "\nThe page stays until an interrupt: %s\n", url)
	}
	<-ctx.Done()
}
