package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// A payment is sent under its key. By the key the provider knows a payment that it
// has seen before.
type payment struct {
	Key    string `json:"key"`
	Amount int    `json:"amount"` // in cents
}

// A receipt is what the caller gets without waiting for a retry.
type receipt struct {
	Status string `json:"status"` // "paid" or "pending"
	Retry  bool   `json:"retry"`  // it will be sent later
}

// A cashier sends payments to a provider. What cannot be sent now is sent later,
// by this process or the next.
type cashier struct {
	provider, token string
	client          *http.Client
	breaker         *breakerhttp.Transport
	queue           *queue
	log             *slog.Logger
	wake            chan struct{} // holds a token when there is something to send
	mu              sync.Mutex
	sending         map[string]bool // by key: not twice at a time
}

type settings struct {
	provider, token, webhook string
	dir                      string
	timeout, openFor         time.Duration
	log                      *slog.Logger
}

func newCashier(s settings) (*cashier, error) {
	q, err := openQueue(s.dir)
	if err != nil {
		return nil, err
	}
	c := &cashier{provider: s.provider, token: s.token, queue: q, log: s.log, wake: make(chan struct{}, 1), sending: map[string]bool{}}
	c.breaker, err = breakerhttp.New(nil,
		breakerhttp.WithName("payments"),
		breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: 5, OpenFor: s.openFor}),
		// No payment is used to find out whether the provider has recovered.
		breakerhttp.WithProbeFilter(func(req *http.Request) bool { return req.Method == http.MethodGet }),
		breakerhttp.WithTransitionHook(func(_ context.Context, tn breakerhttp.Transition) {
			switch {
			case tn.From == breakerhttp.StateClosed && tn.To == breakerhttp.StateOpen:
				c.alert(s.webhook, tn)
			case tn.To == breakerhttp.StateClosed:
				c.wakeUp()
			}
		}),
	)
	if err != nil {
		return nil, err
	}
	c.client = &http.Client{Transport: c.breaker, Timeout: s.timeout}
	c.wakeUp() // for what an earlier process has left
	return c, nil
}

func (c *cashier) wakeUp() {
	select {
	case c.wake <- struct{}{}:
	default: // it is awake
	}
}

// alert tells the admin that the circuit has opened: once, not for each request.
func (c *cashier) alert(webhook string, tn breakerhttp.Transition) {
	b, err := json.Marshal(tn)
	if err != nil {
		c.log.Error("alert", "error", err)
		return
	}
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Post(webhook, "application/json", bytes.NewReader(b))
	if err != nil {
		c.log.Error("alert", "error", err)
		return
	}
	_ = resp.Body.Close()
}

// pay sends a payment, or keeps it. It is kept first: from then on it cannot be
// lost.
func (c *cashier) pay(ctx context.Context, p payment) (receipt, error) {
	if err := c.queue.put(p); err != nil {
		return receipt{}, err
	}
	step("kept")
	if err := c.send(ctx, p); err != nil {
		c.log.Info("payment pending", "key", p.Key, "error", err)
		c.wakeUp()
		return receipt{Status: "pending", Retry: true}, nil
	}
	return receipt{Status: "paid"}, nil
}

var errSending = errors.New("it is being sent")

// send sends a kept payment. If the process dies, or the answer gets lost, it is
// sent again under the same key, and the provider takes it for the same payment.
func (c *cashier) send(ctx context.Context, p payment) error {
	if !c.claim(p.Key) {
		return errSending
	}
	defer c.release(p.Key)
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.provider+"/payments", bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", p.Key)
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the provider says %s", resp.Status)
	}
	step("sent")
	err = c.queue.done(p.Key)
	step("done")
	return err
}

func (c *cashier) claim(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sending[key] {
		return false
	}
	c.sending[key] = true
	return true
}

func (c *cashier) release(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sending, key)
}

// run sends what was kept, whenever the circuit is closed, until ctx is done.
func (c *cashier) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		}
		for {
			left, err := c.sendAll(ctx)
			if err != nil || ctx.Err() != nil {
				return err
			}
			if left == 0 {
				break
			}
			c.probe(ctx)
		}
	}
}

// sendAll sends what was kept, until the provider fails. It returns how many
// payments are left.
func (c *cashier) sendAll(ctx context.Context) (left int, err error) {
	kept, err := c.queue.all()
	if err != nil {
		return 0, err
	}
	for i, p := range kept {
		if err := c.send(ctx, p); err != nil {
			return len(kept) - i, nil
		}
	}
	return 0, nil
}

// probe waits until the circuit takes a request for the provider's status, and
// sends that. If the provider is healthy, it closes the circuit.
func (c *cashier) probe(ctx context.Context) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.provider+"/status", nil)
	if err != nil {
		c.log.Error("probe", "error", err)
		return
	}
	if c.breaker.WaitReady(req) != nil {
		return
	}
	resp, err := c.client.Do(req)
	if err != nil {
		c.pause(ctx)
		return
	}
	_ = resp.Body.Close()
	if resp.StatusCode >= 500 {
		c.pause(ctx)
	}
}

// pause protects a provider that fails, but not often enough to open its circuit.
func (c *cashier) pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(100 * time.Millisecond):
	}
}
