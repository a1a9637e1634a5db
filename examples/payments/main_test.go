//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

const payments = 4

// TestMain is also the process that TestKilled kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("PAYMENTS_DIR"); dir != "" {
		dieAt(os.Getenv("PAYMENTS_DIE_AT"))
		if err := work(dir, os.Getenv("PAYMENTS_PROVIDER")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// dieAt kills this process at a step, as if by a power cut.
func dieAt(at string) {
	n := 0
	step = func(name string) {
		n++
		if fmt.Sprint(n) == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}

// work makes the payments that have not been made, and sends all that is kept.
// An order is made until it was acknowledged, as a caller would.
func work(dir, provider string) error {
	c, err := newCashier(settings{
		provider: provider, token: token, webhook: provider + "/alert", dir: dir,
		timeout: 10 * time.Second, openFor: 50 * time.Millisecond, log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	for i := range payments {
		if _, err := c.pay(context.Background(), payment{Key: fmt.Sprintf("order-%d", i), Amount: 100 + i}); err != nil {
			return err
		}
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); c.probe(context.Background()) {
		if left, err := c.sendAll(context.Background()); left == 0 || err != nil {
			return err
		}
	}
	return fmt.Errorf("payments are left")
}

// TestKilled kills the process at every step, lets another go on, and looks at
// the provider's books.
func TestKilled(t *testing.T) {
	for _, forgets := range []bool{false, true} {
		for die := 1; ; die++ {
			if died := killAt(t, die, forgets); !died {
				if die < 3*payments {
					t.Fatalf("there were only %d steps to die at", die-1)
				}
				break
			}
		}
	}
}

func killAt(t *testing.T, die int, forgets bool) (died bool) {
	t.Helper()
	p := newProvider()
	defer p.Close()
	dir := t.TempDir()
	start := func(dieAt string) error {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "PAYMENTS_DIR="+dir, "PAYMENTS_PROVIDER="+p.URL, "PAYMENTS_DIE_AT="+dieAt)
		cmd.Stderr = os.Stderr
		return cmd.Run()
	}
	if forgets {
		p.forgets.Store(true)
		time.AfterFunc(30*time.Millisecond, func() { p.forgets.Store(false) })
	}
	died = start(fmt.Sprint(die)) != nil
	p.forgets.Store(false)
	if err := start(""); err != nil {
		t.Fatalf("died at step %d: the next process: %v", die, err)
	}
	n, sum := p.books()
	if n != payments || sum != 406 || p.twice != 0 || p.bad != 0 {
		t.Errorf("died at step %d: %d payments of %d in all are booked, %d twice, %d bad; want 4 of 406", die, n, sum, p.twice, p.bad)
	}
	return died
}

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(&out, t.TempDir(), 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`order-02  {"status":"paid","retry":false}`,
		`order-12  {"status":"pending","retry":true}`,
		"kept on disk: 10, requests that failed: ",
		"alerts: 1",
		"kept on disk: 0, booked: 12 payments, 78.00 in all",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got:\n%s\nwant %q in it", out.String(), want)
		}
	}
}

// TestNoPaymentIsAProbe: while the provider is down, only its status is asked.
func TestNoPaymentIsAProbe(t *testing.T) {
	p := newProvider()
	defer p.Close()
	p.down.Store(true)
	c, err := newCashier(settings{
		provider: p.URL, token: token, webhook: p.URL + "/alert", dir: t.TempDir(),
		timeout: time.Second, openFor: 10 * time.Millisecond, log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for i := range 10 {
		if r, err := c.pay(ctx, payment{Key: fmt.Sprint(i), Amount: 1}); err != nil || r.Status != "pending" || !r.Retry {
			t.Fatalf("got %+v, %v; want pending", r, err)
		}
	}
	for range 5 {
		c.probe(ctx)
		_, _ = c.sendAll(ctx)
	}
	if posts := p.posts.Load(); posts != 5 {
		t.Errorf("got %d payments sent while the provider was down, want the 5 that opened the circuit", posts)
	}
	if p.statuses.Load() < 3 || p.alerts.Load() != 1 {
		t.Errorf("got %d looks at the status and %d alerts, want some and 1", p.statuses.Load(), p.alerts.Load())
	}
}
