package main

import (
	"math/rand/v2"
	"net/http"
	"time"
)

// A scenario is something that happens to a host and its callers.
type scenario struct {
	name      string // for -scenario
	title     string
	measures  []measure
	long      bool // it takes too long for each test run
	noSilence bool // Adaptive has Silence: -1
	draw      func(r *rand.Rand) *plan
}

// A measure is a figure that a scenario yields, and one row of the table.
type measure struct {
	title string
	unit  unit
	bound bound // of what Adaptive may or must reach
}

// A plan is a scenario once its random times have been drawn.
type plan struct {
	length   time.Duration // requests are asked for until then
	from, to time.Duration // of the trouble
	rate     func(at time.Duration) float64
	peak     float64       // the most that rate is; 0 means a constant 500
	deadline time.Duration // of each attempt; 0 means 10s
	retries  int           // at once, until a success or a refusal
	hosts    int           // of one client, chosen at random; 0 means 1
	clients  int           // of one host, each with a breaker of its own, chosen at random; 0 means 1

	// fate decides what becomes of a request, at the moment in which it reaches
	// a host. It is asked about one request at a time.
	fate func(a arrival) fate

	judge func(l *ledger) []float64 // a figure for each measure
}

// An arrival is a request as it reaches a host.
type arrival struct {
	at     time.Duration // since the scenario began
	n      int           // of the request, among all that were asked for
	others int           // in flight at the host
}

// A fate says how and when the host answers a request. The zero fate is a success
// at once.
type fate struct {
	after  time.Duration
	status int // 0 means 200
	err    error
}

const (
	usualRate     = 500.0
	usualLatency  = 20 * time.Millisecond
	usualDeadline = 10 * time.Second
)

// never is later than any deadline.
const never = 1000 * time.Hour

var (
	healthy = fate{after: usualLatency}
	failed  = fate{after: usualLatency, status: http.StatusServiceUnavailable}
	hung    = fate{after: never}
)

// during returns the fate f while the trouble lasts, and a healthy one otherwise.
func during(from, to time.Duration, f fate) func(arrival) fate {
	return func(a arrival) fate {
		if within(a.at, from, to) {
			return f
		}
		return healthy
	}
}

// within reports whether from <= at < to.
func within(at, from, to time.Duration) bool { return from <= at && at < to }

// upTo returns a random time below d.
func upTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }

// steps returns a rate that changes at given times.
func steps(first float64, then ...step) func(time.Duration) float64 {
	return func(at time.Duration) float64 {
		rate := first
		for _, s := range then {
			if at >= s.at {
				rate = s.rate
			}
		}
		return rate
	}
}

type step struct {
	at   time.Duration
	rate float64
}
