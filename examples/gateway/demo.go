package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// The upstreams of the demo, and how each of them answers, some time after the
// start.
var demoUpstreams = map[string]func(w http.ResponseWriter, r *http.Request, at time.Duration){
	"catalog": func(w http.ResponseWriter, _ *http.Request, _ time.Duration) { hello(w, "catalog") },
	"orders": func(w http.ResponseWriter, _ *http.Request, at time.Duration) { // overloaded now and then
		if at%(25*time.Second) < 8*time.Second {
			w.Header().Set("Retry-After", "8")
			http.Error(w, "overloaded", http.StatusServiceUnavailable)
			return
		}
		hello(w, "orders")
	},
	"search": func(w http.ResponseWriter, r *http.Request, at time.Duration) { // hangs now and then
		if at%(40*time.Second) > 15*time.Second && at%(40*time.Second) < 25*time.Second {
			<-r.Context().Done()
			return
		}
		hello(w, "search")
	},
	"mail": func(http.ResponseWriter, *http.Request, time.Duration) { // breaks off all connections
		panic(http.ErrAbortHandler)
	},
}

func hello(w io.Writer, name string) { _, _ = fmt.Fprintf(w, "hello from %s\n", name) }

// suggest prints what to try.
func (r routes) suggest(out io.Writer, gateway, admin string) {
	fmt.Fprintln(out, "Try:")
	names := slices.Sorted(maps.Keys(r))
	for _, name := range names {
		fmt.Fprintf(out, "  curl -i %s/%s/\n", gateway, name)
	}
	key := r[names[0]].String()
	fmt.Fprintf(out, "  curl %s/circuits/circuits.json\n", admin)
	fmt.Fprintf(out, "  curl -d key=%s %s/circuits/force-open\n", key, admin)
	fmt.Fprintf(out, "  curl -d key=%s %s/circuits/reset\n\n", key, admin)
}

// upstreams are servers by name. Their hosts are called NAME.example.
type upstreams map[string]*server

func startUpstreams() (upstreams, error) {
	start := time.Now()
	us := upstreams{}
	for name, answer := range demoUpstreams {
		u, err := listen("127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer(w, r, time.Since(start))
		}))
		if err != nil {
			us.stop()
			return nil, err
		}
		us[name] = u
	}
	return us, nil
}

func (us upstreams) routes() routes {
	rs := routes{}
	for name := range us {
		rs[name] = &url.URL{Scheme: "http", Host: name + ".example"}
	}
	return rs
}

// dial is in place of DNS.
func (us upstreams) dial(ctx context.Context, network, address string) (net.Conn, error) {
	name, _, _ := strings.Cut(address, ".example:")
	u, ok := us[name]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: address, IsNotFound: true}
	}
	return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(u.url, "http://"))
}

// stop ends the servers at once: some hang.
func (us upstreams) stop() {
	for _, u := range us {
		_ = u.Close()
		if err := <-u.served; !errors.Is(err, http.ErrServerClosed) {
			slog.Error("demonstration upstream", "error", err)
		}
	}
}

// A tally counts the answers of a gateway, by route and status.
type tally map[string]map[int]int

// load requests a page of each route ten times a second, until ctx ends.
func load(ctx context.Context, gateway string, rs routes) tally {
	transport := &http.Transport{DialContext: new(net.Dialer).DialContext, MaxIdleConnsPerHost: 100}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var mu sync.Mutex
	t := tally{}
	var wg sync.WaitGroup
	defer wg.Wait()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		for name := range rs {
			wg.Go(func() {
				status, err := get(ctx, client, gateway+"/"+name+"/")
				if err != nil {
					return // ctx has ended
				}
				mu.Lock()
				defer mu.Unlock()
				if t[name] == nil {
					t[name] = map[int]int{}
				}
				t[name][status]++
			})
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return t
		}
	}
}

func get(ctx context.Context, client *http.Client, url string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// print shows what the clients got, and what has become of the circuits.
func (t tally) print(out io.Writer, breaker *breakerhttp.Transport, rs routes) {
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "route\t200\t502\t503\t504\tcircuit")
	for _, name := range slices.Sorted(maps.Keys(rs)) {
		n := t[name]
		fmt.Fprintf(table, "/%s/\t%d\t%d\t%d\t%d\t%s\n", name, n[200], n[502], n[503], n[504], state(breaker, rs[name].String()))
	}
	_ = table.Flush()
}

// state is what a circuit is at the end.
func state(t *breakerhttp.Transport, key string) string {
	s, ok := t.Snapshot(key)
	switch {
	case !ok:
		return "none"
	case s.Reason == "":
		return s.State.String()
	}
	return s.State.String() + ", last opened: " + s.Reason
}
