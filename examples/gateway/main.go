// Gateway is a reverse proxy with a circuit breaker for every upstream host, and
// a live page of the circuits, with controls, on an admin port.
//
// How the proxy and the breaker go together is in gateway.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}

const usage = `Usage: go run ./examples/gateway [flags]

Proxies /NAME/... to the upstream of that name. While an upstream's circuit is
open, it answers for it: 503 Service Unavailable, with Retry-After. Without
-route it starts upstreams of its own that fail in different ways, and requests
their pages all the time.

`

// options are the flags.
type options struct {
	listen, admin string
	length        time.Duration
	policies      string
	routes        routes
}

func parse(args []string, out io.Writer) (options, error) {
	o := options{routes: routes{}}
	f := flag.NewFlagSet("gateway", flag.ContinueOnError)
	f.SetOutput(io.Discard) // run returns the error
	f.StringVar(&o.listen, "listen", "127.0.0.1:0", "`address` of the gateway; port 0 is any free one")
	f.StringVar(&o.admin, "admin", "127.0.0.1:0", "`address` of the page, on loopback")
	f.DurationVar(&o.length, "for", 0, "end after this time; 0 means at an interrupt")
	f.StringVar(&o.policies, "policies", "", "`file` of policies, such as examples/gateway/policies.json; it is read again\nwhen it changes, and at a SIGHUP")
	f.Var(o.routes, "route", "an upstream, as `NAME=URL`; may be given many times")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		f.SetOutput(out)
		_, _ = io.WriteString(out, usage)
		f.PrintDefaults()
		return o, err
	case err != nil:
		return o, err
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.length < 0:
		return o, fmt.Errorf("-for is %v, want 0 or more", o.length)
	}
	return o, nil
}

// run is the program. It ends without error when ctx does.
func run(ctx context.Context, args []string, out io.Writer) (err error) {
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	if o.length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.length)
		defer cancel()
	}
	base := newBase()
	defer base.CloseIdleConnections()
	demo := len(o.routes) == 0
	if demo {
		servers, err := startUpstreams()
		if err != nil {
			return err
		}
		defer servers.stop()
		o.routes, base.DialContext = servers.routes(), servers.dial
	}
	log := slog.New(slog.NewTextHandler(out, nil))
	breaker, err := newBreaker(base, log)
	if err != nil {
		return err
	}
	stop, err := o.setPolicies(ctx, breaker, log)
	if err != nil {
		return err
	}
	defer stop()
	gateway, err := listen(o.listen, newProxy(o.routes, breaker, log))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gateway.shutdown()) }()
	admin, err := listenOnLoopback(o.admin, newAdmin(breaker))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, admin.shutdown()) }()

	fmt.Fprintf(out, "gateway  %s\ncircuits %s/circuits/\n\n", gateway.url, admin.url)
	o.routes.suggest(out, gateway.url, admin.url)
	if demo {
		tally := load(ctx, gateway.url, o.routes)
		fmt.Fprintln(out)
		tally.print(out, breaker, o.routes)
		return nil
	}
	<-ctx.Done()
	return nil
}

// setPolicies sets the policies of the flag's file, and follows that until stop.
func (o options) setPolicies(ctx context.Context, breaker *breakerhttp.Transport, log *slog.Logger) (stop func(), err error) {
	if o.policies == "" {
		return func() {}, source{"policies.json", builtIn}.set(breaker)
	}
	f := &policyFile{path: o.policies, breaker: breaker, log: log}
	if err := f.load(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	following.Go(func() {
		if err := f.follow(ctx); err != nil {
			log.Error("policies are not followed", "error", err)
		}
	})
	return func() {
		cancel()
		following.Wait()
	}, nil
}

// A server serves until shutdown.
type server struct {
	*http.Server
	url    string
	served chan error
}

func listen(address string, h http.Handler) (*server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return serve(listener, h), nil
}

// listenOnLoopback refuses any other address: anybody who reaches the server can
// open and close circuits.
func listenOnLoopback(address string, h http.Handler) (*server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	if a, ok := listener.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		_ = listener.Close()
		return nil, fmt.Errorf("-admin is %s, want an address on loopback, such as 127.0.0.1:8081", address)
	}
	return serve(listener, h), nil
}

func serve(l net.Listener, h http.Handler) *server {
	s := &server{
		Server: &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second},
		url:    "http://" + l.Addr().String(),
		served: make(chan error, 1),
	}
	go func() { s.served <- s.Serve(l) }()
	return s
}

// shutdown lets requests end, and cuts off those that take longer than 5 s.
func (s *server) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := s.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.Close()
	}
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
