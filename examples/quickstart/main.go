// Quickstart shows circuit breakers at work. It starts five servers on loopback,
// which fail in different ways on a schedule, requests their pages all the time,
// and shows what becomes of the requests, live in a terminal and, with -serve, on
// a page for a browser.
//
// Its client, with retries, breakers and OpenTelemetry, is in client.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	err := run(ctx, loopback, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run is the program, on a network.
func run(ctx context.Context, n network, args []string, out io.Writer) error {
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	s := newScenario(o.length, o.seed)
	servers, err := startUpstreams(n, s)
	if err != nil {
		return err
	}
	defer servers.stop()
	tel := newTelemetry()
	defer tel.shutdown()
	feed := &feed{start: time.Now()}

	client, breaker, err := newClient(newWire(servers), s, tel, breakerhttp.WithTransitionHook(func(_ context.Context, t transition) {
		feed.add(event{Type: transitionEvent, Host: strings.TrimPrefix(t.Key, "http://"), Transition: &t})
	}))
	if err != nil {
		return err
	}
	c := &cast{
		scenario: s, upstreams: servers, feed: feed,
		client: client, tracer: tel.tracers.Tracer("quickstart"),
		twin: newTwin(newWire(servers), s),
	}
	b := newBoard(s, func(host string) breakerhttp.Snapshot {
		snap, _ := breaker.Snapshot("http://" + host)
		return snap
	})
	feed.add(event{Type: storyEvent, Text: opening})
	if o.serve {
		url, stop, err := servePage(n, breaker)
		if err != nil {
			return err
		}
		defer stop()
		b.page = url
		feed.add(event{Type: storyEvent, Text: "The circuits are live at " + url})
	}
	v := newView(o, out, b, feed)

	done := make(chan struct{})
	go func() {
		defer close(done)
		c.play(ctx)
	}()
	present(feed, b, v, done)
	sum, err := newSummary(b, feed.elapsed(), tel)
	v.end(sum) // in any case: it gives the terminal back
	if o.serve && err == nil {
		if o.json {
			out = io.Discard
		}
		linger(ctx, out, b.page)
	}
	return err
}
