// Scrape fetches pages from many hosts, some of which are dead, and prints what
// that takes without circuit breakers and with them.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"text/tabwriter"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// A plan says how much there is to do, and how fast.
type plan struct {
	hosts, dead, rounds, workers int
	patience, pace               time.Duration
	maxCircuits, maxSeries       int
}

func main() {
	var p plan
	flag.IntVar(&p.hosts, "hosts", 1000, "number of hosts")
	flag.IntVar(&p.dead, "dead", 300, "how many of them do not answer")
	flag.IntVar(&p.rounds, "rounds", 6, "how many pages to fetch from each")
	flag.IntVar(&p.workers, "workers", 100, "requests at a time")
	flag.DurationVar(&p.patience, "patience", time.Second, "how long to wait for a page")
	flag.DurationVar(&p.pace, "pace", time.Millisecond, "least time from one request to the next")
	flag.IntVar(&p.maxCircuits, "max-circuits", 800, "circuits kept at once")
	flag.IntVar(&p.maxSeries, "max-series", 100, "circuits with metrics of their own")
	flag.Parse()
	if err := run(os.Stdout, p); err != nil {
		fmt.Fprintln(os.Stderr, "scrape:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, p plan) error {
	w, err := newWeb(p)
	if err != nil {
		return err
	}
	defer w.close()
	fmt.Fprintf(out, "%d pages from each of %d hosts; %d of these never answer.\n\n", p.rounds, p.hosts, p.dead)

	bare := w.transport()
	began := time.Now()
	without := p.scrape(&http.Client{Transport: bare}, w.hosts)
	tookWithout := time.Since(began)
	bare.CloseIdleConnections()

	reader := metric.NewManualReader()
	base := w.transport()
	before := heap()
	t, err := guarded(base, metric.NewMeterProvider(metric.WithReader(reader)), p.maxCircuits, p.maxSeries)
	if err != nil {
		return err
	}
	began = time.Now()
	with := p.scrape(&http.Client{Transport: t}, w.hosts)
	tookWith := time.Since(began)
	base.CloseIdleConnections()
	memory := int64(heap()) - int64(before)

	circuits := 0
	for range t.Snapshots() {
		circuits++
	}
	bounded, transitions, err := countSeries(reader)
	if err != nil {
		return err
	}
	runtime.KeepAlive(t) // it has metrics as long as it lives

	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\twithout\twith circuits\t")
	fmt.Fprintf(table, "time\t%v\t%v\t\n", tookWithout.Round(10*time.Millisecond), tookWith.Round(10*time.Millisecond))
	fmt.Fprintf(table, "pages fetched\t%d\t%d\t\n", without.fetched.Load(), with.fetched.Load())
	fmt.Fprintf(table, "failed after %v\t%d\t%d\t\n", p.patience, without.failed.Load(), with.failed.Load())
	fmt.Fprintf(table, "refused at once\t%d\t%d\t\n", without.refused.Load(), with.refused.Load())
	fmt.Fprintf(table, "circuits\t\t%d\t\n", circuits)
	fmt.Fprintf(table, "metric series\t\t%d\t\n", bounded)
	fmt.Fprintf(table, "series of transitions\t\t%d\t\n", transitions)
	fmt.Fprintf(table, "memory\t\t%d KiB\t\n", memory/1024)
	return table.Flush()
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what the first has finalised
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// countSeries counts the sets of attributes of metrics. Those of an evicted circuit
// end, except the ones of its transitions: OpenTelemetry keeps what has been added to
// a counter. Their number grows with that of the hosts.
func countSeries(reader *metric.ManualReader) (bounded, transitions int, err error) {
	var data metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &data); err != nil {
		return 0, 0, err
	}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			n := 0
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				n = len(d.DataPoints)
			case metricdata.Gauge[int64]:
				n = len(d.DataPoints)
			}
			if m.Name == "circuit_breaker.transitions" {
				transitions += n
			} else {
				bounded += n
			}
		}
	}
	return bounded, transitions, nil
}
