package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/store/storetest"
)

// demo plays invocations of a function in three environments.
func demo(out io.Writer, openFor time.Duration) error {
	up := &shop{}
	srv := httptest.NewServer(up)
	defer srv.Close()
	// A host at a loopback address would be another one for each process of a fleet.
	// Circuits of such hosts are not shared, so the shop gets a name.
	network := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, srv.Listener.Addr().String())
	}}
	defer network.CloseIdleConnections()
	store := storetest.NewMemory() // in place of DynamoDB
	var environments []*function
	for i := range 3 {
		instance := fmt.Sprint("environment ", i+1) // all are in one process here, and would have one vote
		f, err := newFunction("http://shop.example", network, store, instance, breakerhttp.Policy{OpenFor: openFor})
		if err != nil {
			return err
		}
		environments = append(environments, f)
	}
	invoke := func(environment, times int) error {
		for range times {
			before := up.hits.Load()
			got, err := environments[environment].handle(context.Background(), events.LambdaFunctionURLRequest{
				QueryStringParameters: map[string]string{"item": "tea"},
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "  environment %d  %d  shop called: %-5t  %s\n", environment+1, got.StatusCode, up.hits.Load() > before, got.Body)
		}
		return nil
	}
	for _, act := range []struct {
		title              string
		down               bool
		wait               time.Duration
		environment, times int
	}{
		{title: "The shop is healthy.", environment: 0, times: 1},
		{title: "It goes down. Environment 1 learns that from five failures.", down: true, environment: 0, times: 6},
		{title: "One alone may have a fault of its own. When environment 2 agrees, all know.", down: true, environment: 1, times: 6},
		{title: "Environment 3 is new, and starts with what the others have learnt.", down: true, environment: 2, times: 2},
		{title: fmt.Sprintf("The shop has recovered. After %v one environment probes.", openFor), wait: openFor, environment: 1, times: 1},
		{title: "Environment 1 was frozen meanwhile. It reads the record at its next invocation.", environment: 0, times: 1},
	} {
		fmt.Fprintln(out, act.title)
		up.down.Store(act.down)
		time.Sleep(act.wait)
		if err := invoke(act.environment, act.times); err != nil {
			return err
		}
	}
	return nil
}

// shop stands in for one on the internet.
type shop struct {
	down atomic.Bool
	hits atomic.Int64
}

func (s *shop) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s.hits.Add(1)
	if s.down.Load() {
		http.Error(w, "closed for stocktaking", http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintf(w, "%s costs 4.20", req.URL.Path[len("/prices/"):])
}
