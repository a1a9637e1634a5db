package main

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
)

func TestScrape(t *testing.T) {
	p := plan{
		hosts: 60, dead: 20, rounds: 5, workers: 30, patience: time.Second, pace: time.Millisecond,
		maxCircuits: 40, maxSeries: 10,
	}
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
	got := p.scrape(&http.Client{Transport: tr}, w.hosts)
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
	bounded, transitions, err := countSeries(reader)
	if err != nil {
		t.Fatal(err)
	}
	// Per circuit three states and four outcomes; the same for all others; and two for the Transport.
	if most := (p.maxSeries+1)*7 + 2; bounded > most {
		t.Errorf("got %d series, want at most %d", bounded, most)
	}
	if most := (p.hosts + 1) * 4; transitions > most {
		t.Errorf("got %d series of transitions, want at most four a host: %d", transitions, most)
	}
}

func TestRun(t *testing.T) {
	var out strings.Builder
	err := run(&out, plan{
		hosts: 40, dead: 10, rounds: 3, workers: 20, patience: time.Second, pace: time.Millisecond,
		maxCircuits: 30, maxSeries: 5,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`time +\S+ +\S+`, `pages fetched +90 +90`, `failed after 1s +30 +20`, `refused at once +0 +10`,
		`circuits +30`, `metric series +\d+`, `series of transitions +\d+`, `memory`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}
