// Quickstart shows the states of a circuit. A host goes down, its circuit opens
// and refuses requests, and a probe closes it once the host has recovered.
package main

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

func main() {
	var down atomic.Bool
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer host.Close()

	const openFor = 2 * time.Second // the default is a minute
	circuits, err := breakerhttp.New(nil, breakerhttp.WithName("quickstart"),
		breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: openFor}))
	if err != nil {
		log.Fatal(err)
	}
	client := &http.Client{Transport: circuits, Timeout: 10 * time.Second}

	get := func() {
		circuit, _ := circuits.Snapshot(host.URL)
		resp, err := client.Get(host.URL)
		switch {
		case errors.Is(err, breakerhttp.ErrOpen):
			fmt.Printf("%9s: refused, nothing was sent\n", circuit.State)
		case err != nil:
			fmt.Printf("%9s: failed: %v\n", circuit.State, err)
		default:
			defer resp.Body.Close()
			fmt.Printf("%9s: the host answers %s\n", circuit.State, resp.Status)
		}
	}
	fmt.Println("The state of the host's circuit before each request, and what comes of the request:")
	get()
	fmt.Println("The host goes down. Five failures in a row open its circuit.")
	down.Store(true)
	for range 6 {
		get()
	}
	fmt.Println("The host recovers. After", openFor, "the circuit is half-open: the next request is a probe.")
	down.Store(false)
	time.Sleep(openFor)
	get()
	fmt.Println("The probe succeeded. The circuit is closed again.")
	get()
}
