// Planets is a web API that fetches what it serves from another API, with a
// circuit breaker between the two.
//
// It starts both on loopback, calls the first while the second is healthy, down and
// healthy again, and prints what callers see.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

func main() {
	openFor := flag.Duration("open-for", 3*time.Second, "how long the circuit stays open; outside of a demonstration it would be a minute")
	flag.Parse()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(os.Stdout, log, *openFor); err != nil {
		fmt.Fprintln(os.Stderr, "planets:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, log *slog.Logger, openFor time.Duration) error {
	up := &upstream{}
	planets := httptest.NewServer(up)
	defer planets.Close()
	handler, err := newAPI(planets.URL, openFor, log)
	if err != nil {
		return err
	}
	api := httptest.NewServer(handler)
	defer api.Close()

	fmt.Fprintln(out, "The planets' API is healthy.")
	if err := call(out, api, up, 1); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nIt goes down. Five requests fail. From then on, requests are refused.")
	up.down.Store(true)
	if err := call(out, api, up, 7); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nIt has recovered. After %v, one request is sent as a probe.\n", openFor)
	up.down.Store(false)
	time.Sleep(openFor)
	return call(out, api, up, 2)
}

// call sends n requests to the api and prints the answers.
func call(out io.Writer, api *httptest.Server, up *upstream, n int) error {
	for range n {
		before := up.hits.Load()
		resp, err := api.Client().Get(api.URL)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  %d  upstream called: %-5t  Retry-After: %-2s  %s\n",
			resp.StatusCode, up.hits.Load() > before, cmp.Or(resp.Header.Get("Retry-After"), "-"), strings.TrimSpace(string(body)))
	}
	return nil
}

// upstream stands in for an API on the internet.
type upstream struct {
	down atomic.Bool
	hits atomic.Int64
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	u.hits.Add(1)
	if u.down.Load() {
		http.Error(w, "out of orbit", http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, `{"name":"Tatooine","climate":"arid","moons":3}`)
}
