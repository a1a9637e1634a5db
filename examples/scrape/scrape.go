package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/breakerhttp/breakerhttp"
)

// guarded returns base behind circuits that open after two failures. At most
// maxCircuits are kept: a new host takes the place of an idle, healthy one. Circuits
// beyond maxSeries share one set of metrics.
func guarded(base http.RoundTripper, mp metric.MeterProvider, maxCircuits, maxSeries int) (*breakerhttp.Transport, error) {
	return breakerhttp.New(base,
		breakerhttp.WithName("scrape"),
		breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: 2, OpenGrowth: 2}),
		breakerhttp.WithMaxCircuits(maxCircuits),
		breakerhttp.WithMaxMetricKeys(maxSeries),
		breakerhttp.WithMeterProvider(mp),
	)
}

// A tally is what became of the pages.
type tally struct {
	fetched, failed, refused atomic.Int64
}

// scrape fetches a page from each host in each round. It is paced: a machine that
// is too busy to take answers in time would blame the hosts.
func (p plan) scrape(client *http.Client, hosts []string) *tally {
	var t tally
	pace := time.NewTicker(p.pace)
	defer pace.Stop()
	for range p.rounds {
		work := make(chan string)
		var wg sync.WaitGroup
		for range p.workers {
			wg.Go(func() {
				for host := range work {
					t.count(p.fetch(client, "http://"+host+"/"))
				}
			})
		}
		for _, host := range hosts {
			<-pace.C
			work <- host
		}
		close(work)
		wg.Wait()
	}
	return &t
}

func (t *tally) count(err error) {
	switch {
	case err == nil:
		t.fetched.Add(1)
	case errors.Is(err, breakerhttp.ErrOpen):
		t.refused.Add(1)
	default:
		t.failed.Add(1)
	}
}

func (p plan) fetch(client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), p.patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}
