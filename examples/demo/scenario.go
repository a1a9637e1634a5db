package main

import (
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// A host has its fault from one time until another.
type host struct {
	name        string
	fault       *fault // nil: always healthy
	from, until time.Duration
}

// A policy is how a client's circuit breakers work.
type policy struct {
	name string
	opts []breakerhttp.Option
}

// A scenario says which hosts fail, when and how, and what calls them.
type scenario struct {
	about    string
	length   time.Duration
	interval time.Duration // between two requests to a host, on average
	random   bool          // requests are independent of each other: they come in bursts too
	timeout  time.Duration // of a request
	hosts    []host
	policies []policy // of the clients; one more client has no circuit breakers
}

// faults is the scenario of five hosts, of which four fail.
func faults() scenario {
	// Five failures in a row open a circuit, as by default. By default it stays
	// open for a minute, too: far too long for this.
	usual := breakerhttp.Policy{
		OpenFor:    2 * time.Second,
		OpenGrowth: 2, // a failed probe doubles it
		MaxOpenFor: 4 * time.Second,

		// A response is judged at its headers. A host that then breaks its
		// bodies off is found out before the second probe.
		ProbeSuccesses: 2,
	}
	// A host that hangs opens its circuit before the first request times out.
	impatient := usual
	impatient.SlowRatio = 0.5
	impatient.SlowAfter = 250 * time.Millisecond
	impatient.MinRequests = 5
	impatient.Window = time.Second

	const second = time.Second
	return scenario{
		about:    "One http.Client asks five servers for their pages. It has a circuit breaker for each.",
		length:   20 * second,
		interval: 150 * time.Millisecond,
		timeout:  second,
		hosts: []host{
			{name: "catalog"},
			{name: "orders", fault: &overloaded, from: 5 * second / 2, until: 15 * second / 2},
			{name: "billing", fault: &dead, from: 4 * second, until: 9 * second},
			{name: "search", fault: &hanging, from: 6 * second, until: 21 * second / 2},
			{name: "reports", fault: &truncating, from: 15 * second / 2, until: 39 * second / 2},
		},
		policies: []policy{{"demo", []breakerhttp.Option{
			breakerhttp.WithPolicy(usual),
			breakerhttp.WithHostPolicy("search", impatient),
		}}},
	}
}

// comparison is the scenario that tells two policies apart.
func comparison() scenario {
	const second = time.Second
	return scenario{
		about: "Three http.Clients ask two servers for their pages: with the zero Policy, with an Adaptive one, " +
			"and without circuit breakers.",
		length:   40 * second,
		interval: 10 * time.Millisecond,
		random:   true,
		timeout:  5 * second,
		hosts: []host{
			{name: "hang", fault: &hanging, from: 4 * second, until: 8 * second},
			{name: "overload", fault: &slowing, from: 4 * second, until: 30 * second},
		},
		policies: []policy{
			{"zero", []breakerhttp.Option{breakerhttp.WithPolicy(breakerhttp.Policy{})}},
			{"adaptive", []breakerhttp.Option{breakerhttp.WithPolicy(breakerhttp.Policy{Adaptive: true})}},
		},
	}
}
