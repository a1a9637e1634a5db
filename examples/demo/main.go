// Demo shows circuit breakers at work. It starts five servers on loopback, which
// fail in different ways, requests their pages all the time through an http.Client
// with circuit breakers and through one without, and shows what comes of the
// requests: live in a terminal and, with -serve, on a page for a browser.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/breakerhttp/breakerhttp/dashboard"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	err := run(ctx, loopback, os.Args[1:], os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

type options struct {
	plain, serve, compare bool
	svg                   string
}

func parse(args []string, out io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	f.SetOutput(io.Discard) // run returns the error
	f.BoolVar(&o.plain, "plain", false, "write lines of text, also to a terminal")
	f.BoolVar(&o.serve, "serve", false, "show the circuits on a page for a browser too, on loopback;\nplay again and again, until an interrupt")
	f.BoolVar(&o.compare, "compare", false, "show a hang and an overload, with the zero Policy and with an Adaptive one")
	f.StringVar(&o.svg, "svg", "", "draw the picture at the end into this `file`")
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(out, "Usage: go run ./examples/demo [flags]")
		f.SetOutput(out)
		f.PrintDefaults()
	case err == nil && f.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return o, err
}

// run is the program, on a network.
func run(ctx context.Context, n network, args []string, out io.Writer) (err error) {
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	var svg *os.File
	if o.svg != "" {
		if svg, err = os.Create(o.svg); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, svg.Close()) }()
	}
	ctx, interrupt := context.WithCancel(ctx)
	defer interrupt()
	sc := faults()
	if o.compare {
		sc = comparison()
	}
	s, err := newShow(n, sc)
	if err != nil {
		return err
	}
	defer s.close()
	if o.serve {
		stop, err := s.serve(n)
		if err != nil {
			return err
		}
		defer stop()
	}

	var played error
	done := make(chan struct{})
	go func() {
		defer close(done)
		played = s.play(ctx, o.serve)
	}()
	if o.plain || !isTerminal(out) {
		s.plain(out, done)
	} else {
		err = s.live(out, interrupt, done)
		interrupt() // also if the terminal is gone
	}
	<-done
	if svg != nil {
		err = errors.Join(err, s.draw(svg))
	}
	return errors.Join(err, played)
}

// serve shows the circuits on a page, with controls: nothing is at stake here.
func (s *show) serve(n network) (stop func(), err error) {
	listener, err := n.listen()
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: dashboard.Handler(s.clients[0].breaker, dashboard.WithControls()), ReadHeaderTimeout: time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	s.page = "http://" + listener.Addr().String() + "/"
	s.tell(event{text: "The circuits are live at " + s.page})
	return func() {
		_ = server.Close()
		serving.Wait()
	}, nil
}
