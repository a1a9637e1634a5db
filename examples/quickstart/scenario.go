package main

import (
	"math/rand/v2"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// A host has its fault from one time until another.
type host struct {
	name        string
	fault       *fault              // nil: always well
	from, until time.Duration       // until 0: for good
	policy      *breakerhttp.Policy // nil: that of the scenario
}

// A scenario is what happens to whom.
type scenario struct {
	length time.Duration
	seed   uint64
	hosts  []host

	policy    breakerhttp.Policy
	timeout   time.Duration // of an attempt
	retryWait time.Duration // before the first retry; twice as long before the second
	latency   time.Duration // of a host that is well
	interval  time.Duration // between two requests to a host, on average
}

// The times in newScenario are written for defaultLength.
const defaultLength = 20 * time.Second

// newScenario returns the story, told in length. The seed varies it a little.
func newScenario(length time.Duration, seed uint64) scenario {
	ms := func(n int64) time.Duration {
		return time.Duration(n * int64(length) / int64(defaultLength) * int64(time.Millisecond))
	}
	random := rand.New(rand.NewPCG(seed, 0))
	at := func(n int64) time.Duration { return ms(n + random.Int64N(500)) }

	// Five failures in a row open a circuit, as by default. By default it stays
	// open for a minute, too: far too long for this.
	policy := breakerhttp.Policy{
		OpenFor:    ms(2000),
		OpenGrowth: 2, // a failed probe doubles it
		MaxOpenFor: ms(4000),

		// A response is judged at its headers. A host that then breaks its
		// bodies off is found out before the second probe.
		ProbeSuccesses: 2,
	}
	// A host that hangs opens its circuit before the first request times out.
	impatient := policy
	impatient.SlowRatio = 0.5
	impatient.SlowAfter = max(ms(250), 100*time.Millisecond) // a busy machine is no hanging host
	impatient.MinRequests = 5
	impatient.Window = ms(1000)

	return scenario{
		length: length,
		seed:   seed,
		hosts: []host{
			{name: "catalog"},
			{name: "orders", fault: overloaded, from: at(2500), until: at(7500)},
			{name: "billing", fault: dead, from: at(4000), until: at(9000)},
			{name: "search", fault: hanging, from: at(6000), until: at(10500), policy: &impatient},
			{name: "reports", fault: truncating, from: at(7500)},
		},
		policy:    policy,
		timeout:   max(ms(1000), 500*time.Millisecond),
		retryWait: ms(100),
		latency:   ms(10),
		interval:  ms(150),
	}
}

// options are what the scenario asks of the breaker.
func (s scenario) options() []breakerhttp.Option {
	opts := []breakerhttp.Option{breakerhttp.WithPolicy(s.policy)}
	for _, h := range s.hosts {
		if h.policy != nil {
			opts = append(opts, breakerhttp.WithHostPolicy(h.name, *h.policy))
		}
	}
	return opts
}
