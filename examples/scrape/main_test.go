package main

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/sdk/metric"
)

func TestScrape(t *testing.T) {
	p := plan{hosts: 60, dead: 20, rounds: 5, workers: 30, maxCircuits: 40, maxSeries: 10}
	w, err := newWeb(p)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	reader := metric.NewManualReader()
	mp := metric.NewMeterProvider(metric.WithReader(reader))
	defer func() { _ = mp.Shutdown(context.Background()) }()
	tr, err := guarded(w.transport(), mp, p.maxCircuits, p.maxSeries)
	if err != nil {
		t.Fatal(err)
	}
	got := scrape(&http.Client{Transport: tr}, w.hosts, p.rounds, p.workers)
	// Each dead host costs two requests, then none.
	if fetched, failed, refused := got.fetched.Load(), got.failed.Load(), got.refused.Load(); fetched != 200 || failed != 40 || refused != 60 {
		t.Errorf("got %d fetched, %d failed, %d refused; want 200, 40, 60", fetched, failed, refused)
	}
	circuits := 0
	for range tr.Snapshots() {
		circuits++
	}
	if circuits > p.maxCircuits {
		t.Errorf("got %d circuits, want at most %d", circuits, p.maxCircuits)
	}
	series, err := countSeries(reader)
	if err != nil {
		t.Fatal(err)
	}
	// Per circuit three states, four steps, four outcomes; the same for all others; and one.
	if most := (p.maxSeries+1)*11 + 1; series > most {
		t.Errorf("got %d series, want at most %d", series, most)
	}
}

func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(&out, plan{hosts: 40, dead: 10, rounds: 3, workers: 20, maxCircuits: 30, maxSeries: 5}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"time", "waited for in vain", "metric series", "memory"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}
