// Payments sends payments to a provider, and keeps on disk what cannot be sent.
// Nothing is lost and nothing is paid twice, whenever the process dies.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"
)

func main() {
	openFor := flag.Duration("open-for", 2*time.Second, "how long the circuit stays open; outside of a demonstration it would be a minute")
	flag.Parse()
	dir, err := os.MkdirTemp("", "payments")
	if err == nil {
		defer os.RemoveAll(dir)
		err = run(os.Stdout, dir, *openFor)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "payments:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, dir string, openFor time.Duration) error {
	p := newProvider()
	defer p.Close()
	c, err := newCashier(settings{
		provider: p.URL, token: token, webhook: p.URL + "/alert", dir: dir,
		timeout: 10 * time.Second, openFor: openFor, log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.run(ctx) }()
	defer cancel()
	pay := func(from, to int) error {
		for i := from; i <= to; i++ {
			r, err := c.pay(ctx, payment{Key: fmt.Sprintf("order-%02d", i), Amount: 100 * i})
			if err != nil {
				return err
			}
			b, err := json.Marshal(r)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "  order-%02d  %s\n", i, b)
		}
		return nil
	}

	fmt.Fprintln(out, "The provider is healthy.")
	if err := pay(1, 2); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nIt is down. Payments are kept on disk. Five failures open the circuit. Then nothing is sent.")
	p.down.Store(true)
	if err := pay(3, 12); err != nil {
		return err
	}
	kept, err := c.queue.all()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  kept on disk: %d, requests that failed: %d, alerts: %d\n", len(kept), p.posts.Load()+p.statuses.Load(), p.alerts.Load())

	fmt.Fprintln(out, "\nIt has recovered. A request for its status closes the circuit. Then all are sent.")
	p.down.Store(false)
	for deadline := time.Now().Add(openFor + 10*time.Second); ; time.Sleep(10 * time.Millisecond) {
		if kept, err = c.queue.all(); err != nil || len(kept) == 0 || time.Now().After(deadline) {
			break
		}
	}
	n, sum := p.books()
	fmt.Fprintf(out, "  kept on disk: %d, booked: %d payments, %d.%02d in all\n", len(kept), n, sum/100, sum%100)
	cancel()
	return <-done
}
