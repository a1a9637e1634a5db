package dashboard_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/dashboard"
	"github.com/breakerhttp/breakerhttp/internal/pipetest"
)

// TestEventsOutliveTimeouts: those of a server are meant for requests that end.
func TestEventsOutliveTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, respond(200))
		h := dashboard.Handler(tr)
		server := pipetest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w) // as http.Server does with ReadTimeout and WriteTimeout
			_ = rc.SetReadDeadline(time.Now().Add(time.Second))
			_ = rc.SetWriteDeadline(time.Now().Add(time.Second))
			h.ServeHTTP(w, r)
		}))
		s := listen(t, client(server), server.URL+"/events")
		s.want("all")
		for range 10 {
			s.want("change")
		}
	})
}

// TestEventsWhileHookBlocks: a reading may call the Transport's hook, which may
// take its time. The stream that makes the reading waits, and no other.
func TestEventsWhileHookBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		called, release := make(chan struct{}), make(chan struct{})
		hang := roundTripFunc(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		tr := newTransport(t, hang,
			breakerhttp.WithPolicy(breakerhttp.Policy{SlowRatio: 1, SlowAfter: 3 * time.Second, MinRequests: 1}),
			breakerhttp.WithTransitionHook(func(context.Context, breakerhttp.Transition) {
				close(called)
				<-release
			}))
		server := pipetest.NewServer(t, dashboard.Handler(tr))
		var beats [2]atomic.Int64
		var streams [2]*stream
		var wg sync.WaitGroup
		for i := range streams {
			streams[i] = listen(t, client(server), server.URL+"/events")
			wg.Go(func() {
				for {
					if _, ok := streams[i].next(); !ok {
						return
					}
					beats[i].Add(1)
				}
			})
		}
		counted := func() []int64 {
			synctest.Wait()
			n := []int64{beats[0].Swap(0), beats[1].Swap(0)}
			slices.Sort(n)
			return n
		}
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://a.test", nil)
			_, _ = tr.RoundTrip(req)
		})
		<-called // a reading has noticed that the request is slow
		counted()
		time.Sleep(16 * time.Second)
		if n := counted(); n[0] != 0 || n[1] < 3 {
			t.Errorf("got %d and %d events while the hook blocked, want none and three heartbeats", n[0], n[1])
		}
		close(release)
		time.Sleep(6 * time.Second)
		if n := counted(); n[0] == 0 {
			t.Errorf("got %d and %d events after the hook, want some", n[0], n[1])
		}
		cancel()
		streams[0].cancel()
		streams[1].cancel()
		wg.Wait()
	})
}

// TestEventsOfSlowLine: a client is given up when it takes nothing, not when it takes its time. The
// first event is 3 MB here, and takes 24 s at 1 Mbit/s.
func TestEventsOfSlowLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, respond(200), breakerhttp.WithKey(byHeader))
		for i := range 1000 {
			tr.ForceOpen(fmt.Sprint(i, strings.Repeat("x", 2300)))
		}
		server := pipetest.NewServer(t, dashboard.Handler(tr))
		slow := client(server)
		slow.Transport = slowly{server.Transport, 1 << 20 / 8}
		start := time.Now()
		s := listen(t, slow, server.URL+"/events")
		all := s.want("all")
		if took := time.Since(start); len(all.Circuits) != 1000 || took < 20*time.Second {
			t.Errorf("got %d circuits after %v, want 1000 after more than 20 s", len(all.Circuits), took)
		}
		s.want("change")
	})
}

// slowly is an [http.RoundTripper] whose responses can be read at a rate in bytes a second.
type slowly struct {
	http.RoundTripper
	rate int
}

func (s slowly) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.RoundTripper.RoundTrip(req)
	if err == nil {
		resp.Body = slowBody{resp.Body, s.rate}
	}
	return resp, err
}

type slowBody struct {
	io.ReadCloser
	rate int
}

func (b slowBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), 4<<10)])
	time.Sleep(time.Duration(n) * time.Second / time.Duration(b.rate))
	return n, err
}

func TestEventsEndWithRequest(t *testing.T) {
	ended := make(chan struct{}, 1)
	h := dashboard.Handler(newTransport(t, respond(200)))
	address, stop := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		ended <- struct{}{}
	}))
	defer stop(context.Background())
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	s := listen(t, &http.Client{Transport: transport}, address+"/events")
	s.want("all")
	s.cancel()
	<-ended
}

// TestEventsEndAtShutdown: Shutdown waits for requests, and ends no context.
func TestEventsEndAtShutdown(t *testing.T) {
	address, stop := serve(t, http.StripPrefix("/ops", dashboard.Handler(newTransport(t, respond(200)))))
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	var streams []*stream
	for range 3 {
		s := listen(t, &http.Client{Transport: transport}, address+"/ops/events")
		s.want("all")
		streams = append(streams, s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := stop(ctx); err != nil {
		t.Errorf("Shutdown: %v, want the streams to have ended", err)
	}
	for _, s := range streams {
		if e, ok := s.next(); ok {
			t.Errorf("got event %q after Shutdown", e.name)
		}
	}
}

// serve serves h on loopback until stop, which is the server's Shutdown.
func serve(t *testing.T, h http.Handler) (url string, stop func(context.Context) error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	return "http://" + l.Addr().String(), func(ctx context.Context) error {
		defer server.Close()
		err := server.Shutdown(ctx)
		if served := <-served; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, fmt.Errorf("Serve: %w", served))
		}
		return err
	}
}

// TestEventsWithoutFlush: where nothing can be streamed, the page learns so, and
// polls.
func TestEventsWithoutFlush(t *testing.T) {
	h := http.TimeoutHandler(dashboard.Handler(newTransport(t, respond(200))), time.Minute, "")
	if w := do(h, "GET", "/events", nil); w.Code != http.StatusNotImplemented {
		t.Errorf("got %d, want %d", w.Code, http.StatusNotImplemented)
	}
}
