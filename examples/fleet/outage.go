package main

import (
	"crypto/rand"
	"fmt"
	"net/http/httptest"
	"slices"
	"strconv"
	"time"
)

// A result is what one outage cost.
type result struct {
	hits, probes  int
	first, others time.Duration // until a process was answered again, and from then on until all were
}

// outage starts a host and its callers, and takes the host down and back up.
func outage(o options) (result, error) {
	h := &host{}
	srv := httptest.NewServer(h)
	defer srv.Close()
	a := assignment{
		Address:      srv.Listener.Addr().String(),
		Redis:        o.redis,
		DynamoDB:     o.dynamodb,
		Namespace:    "fleet-" + rand.Text(),
		OpenFor:      o.openFor,
		ProbeTimeout: 2 * time.Second,
		Every:        o.every,
	}
	if err := a.prepare(); err != nil {
		return result{}, err
	}
	for i := range o.processes {
		a.Name = strconv.Itoa(i)
		p, err := start(a)
		if err != nil {
			return result{}, err
		}
		defer p.stop()
	}
	began := time.Now()
	if _, err := h.awaitAnswers(began, o.processes); err != nil {
		return result{}, err
	}

	h.setDown(true)
	time.Sleep(o.outage)
	back := h.setDown(false)
	first, err := h.awaitAnswers(back, o.processes)
	if err != nil {
		return result{}, err
	}
	return summary(h, back, first), nil
}

// awaitAnswers waits until the host has answered all processes since a time.
func (h *host) awaitAnswers(since time.Time, processes int) (map[string]time.Time, error) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if first := h.answered(since); len(first) == processes {
			return first, nil
		}
	}
	return nil, fmt.Errorf("the host has answered %d of %d processes within a minute", len(h.answered(since)), processes)
}

func summary(h *host, back time.Time, first map[string]time.Time) result {
	var took []time.Duration
	for _, at := range first {
		took = append(took, at.Sub(back))
	}
	slices.Sort(took)
	return result{
		hits:   len(h.hits(func(got hit) bool { return got.down })),
		probes: len(h.hits(func(got hit) bool { return got.down && got.probe })),
		first:  took[0],
		others: took[len(took)-1] - took[0],
	}
}
