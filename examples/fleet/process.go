package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// processEnv makes this program one of the fleet's processes: it holds the
// assignment.
const processEnv = "FLEET_PROCESS"

// An assignment tells a process what to do.
type assignment struct {
	Name                         string
	Address                      string // of the host
	Redis, DynamoDB              string // at most one; none: circuits of its own
	Namespace                    string
	OpenFor, ProbeTimeout, Every time.Duration
}

// A process is a running child.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// start runs this program once more, as a process of the fleet.
func start(a assignment) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), processEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return &process{cmd, stdin}, cmd.Start()
}

// stop ends the process and waits for its end.
func (p *process) stop() {
	_ = p.stdin.Close()
	_ = p.cmd.Wait()
}

func isProcess() bool { return os.Getenv(processEnv) != "" }

// runProcess calls the host until standard input ends, which it also does when
// the parent dies.
func runProcess() error {
	var a assignment
	if err := json.Unmarshal([]byte(os.Getenv(processEnv)), &a); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	t, err := a.transport(ctx)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: t}
	for ctx.Err() == nil {
		// Requests that are independent of each other arrive like this.
		pause(ctx, time.Duration(rand.ExpFloat64()*float64(a.Every)))
		call(ctx, client)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// hostURL is the host's name for the processes. A host at a loopback address would
// be another one for each process of a fleet: circuits of such hosts are not shared.
const hostURL = "http://shop.example"

func call(ctx context.Context, client *http.Client) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, hostURL, nil)
	if err != nil {
		panic(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return // refused, or the host is down: the host counts
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
}

// transport returns what the process calls its host through. Hints of changed
// records, where the store has them, come until ctx is done.
func (a assignment) transport(ctx context.Context) (*breakerhttp.Transport, error) {
	network := http.DefaultTransport.(*http.Transport).Clone()
	network.Proxy = nil
	network.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, a.Address) // in place of DNS
	}
	base := &signed{name: a.Name, network: network}
	opts := []breakerhttp.Option{
		breakerhttp.WithName("fleet"),
		breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: a.OpenFor, Jitter: 0.5, ProbeTimeout: a.ProbeTimeout}),
	}
	store := a.store()
	if store != nil {
		opts = append(opts, breakerhttp.WithStore(store, breakerhttp.Sharing{
			Namespace: a.Namespace,
			Instance:  a.Name,
			// A whole fleet on one machine is slower than one on many.
			ReadTimeout:  5 * time.Second,
			WriteTimeout: 5 * time.Second,
			OnError:      func(err error) { fmt.Fprintf(os.Stderr, "process %s: %v\n", a.Name, err) },
		}))
	}
	t, err := breakerhttp.New(base, opts...)
	if err != nil {
		return nil, err
	}
	base.circuits = t
	if _, ok := store.(breakerhttp.Watcher); ok {
		go func() { _ = t.Watch(ctx) }()
	}
	return t, nil
}

// A signed RoundTripper tells the host who calls, and whether it is a probe.
type signed struct {
	name     string
	network  http.RoundTripper
	circuits *breakerhttp.Transport
}

func (s *signed) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set(processHeader, s.name)
	if got, ok := s.circuits.Snapshot(breakerhttp.HostKey(req)); ok && got.State == breakerhttp.StateHalfOpen {
		req.Header.Set(probeHeader, "1")
	}
	return s.network.RoundTrip(req)
}
