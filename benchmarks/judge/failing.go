package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"syscall"
	"time"
)

// blip: the host answers 503 for 200 ms.
func blip() *scenario {
	return &scenario{
		name: "blip", title: "fails for 200 ms",
		measures: []measure{{"refused in the minute after", percent, atMost(0.02)}},
		draw: func(*rand.Rand) *plan {
			from, to := 30*time.Second, 30*time.Second+200*time.Millisecond
			return &plan{
				length: to + time.Minute,
				from:   from, to: to,
				deadline: 2 * time.Second,
				fate:     during(from, to, failed),
				judge:    func(l *ledger) []float64 { return []float64{l.refused(to, to+time.Minute)} },
			}
		},
	}
}

// dead: the host answers 503 for a minute or longer.
func dead(name, title string, long time.Duration) *scenario {
	return &scenario{
		name: name, title: title, long: long > 5*time.Minute,
		measures: []measure{
			{"sent", count, timesAsMuchAs(3, doubling)},
			{"refused in the minute after", percent, noBound},
		},
		draw: func(r *rand.Rand) *plan {
			from := 5 * time.Second
			to := from + long + upTo(r, long/5)
			return &plan{
				length: to + time.Minute,
				from:   from, to: to,
				fate: during(from, to, failed),
				judge: func(l *ledger) []float64 {
					return []float64{l.hits(from, to), l.refused(to, to+time.Minute)}
				},
			}
		},
	}
}

// failing: some of the requests fail, whatever the load.
func failing(part int) *scenario {
	return &scenario{
		name: fmt.Sprintf("failing-%d", part), title: fmt.Sprintf("fails %d %% of requests, for two minutes", part),
		measures: []measure{{"refused", percent, atMost(0.02)}},
		draw: func(r *rand.Rand) *plan {
			from, to := 30*time.Second, 150*time.Second
			return &plan{
				length: to,
				from:   from, to: to,
				fate: func(a arrival) fate {
					if a.at >= from && r.IntN(100) < part {
						return failed
					}
					return healthy
				},
				judge: func(l *ledger) []float64 { return []float64{l.refused(from, to)} },
			}
		},
	}
}

// shards: 50 requests in a row go to each of ten shards in turn. One shard is dead
// for two minutes.
func shards() *scenario {
	toDead := func(n int) bool { return n/50%10 == 0 }
	return &scenario{
		name: "shards", title: "one shard of ten dead for two minutes",
		measures: []measure{{"refused of the others", percent, atMost(0.05)}},
		draw: func(*rand.Rand) *plan {
			from, to := 30*time.Second, 150*time.Second
			return &plan{
				length: to,
				from:   from, to: to,
				fate: func(a arrival) fate {
					if a.at >= from && toDead(a.n) {
						return failed
					}
					return healthy
				},
				judge: func(l *ledger) []float64 {
					refused := l.share(from, to, func(r *request) bool { return r.refused && !toDead(r.n) })
					others := l.share(from, to, func(r *request) bool { return !toDead(r.n) })
					return []float64{refused / others}
				},
			}
		},
	}
}

// alone: the host answers a request only if it has no other in flight, so that
// probes pass and traffic fails.
func alone() *scenario {
	return &scenario{
		name: "alone", title: "answers only what comes alone, for a minute",
		measures: []measure{{"sent", percent, atMost(0.03)}},
		draw: func(*rand.Rand) *plan {
			from, to := 30*time.Second, 90*time.Second
			return &plan{
				length: to,
				from:   from, to: to,
				fate: func(a arrival) fate {
					if a.at >= from && a.others > 0 {
						return failed
					}
					return healthy
				},
				judge: func(l *ledger) []float64 {
					return []float64{l.hits(from, to) / float64(len(l.among(from, to)))}
				},
			}
		},
	}
}

// ownNetwork: a hundred hosts cannot be reached, all at the same time.
func ownNetwork() *scenario {
	unreachable := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETUNREACH}
	return &scenario{
		name: "own-network", title: "100 hosts, our own network away for 10 s",
		measures: []measure{
			{"sent", count, timesAsMuchAs(3, doubling)},
			{"refused in the 70 s after", percent, atMost(0.02)},
		},
		draw: func(r *rand.Rand) *plan {
			from, to := 30*time.Second, 40*time.Second+upTo(r, 2*time.Second)
			return &plan{
				length: to + 70*time.Second,
				from:   from, to: to,
				hosts: 100,
				fate:  during(from, to, fate{after: usualLatency, err: unreachable}),
				judge: func(l *ledger) []float64 {
					return []float64{l.hits(from, to), l.refused(to, to+70*time.Second)}
				},
			}
		},
	}
}

// quiet: a host that is seldom asked dies after an hour.
func quiet() *scenario {
	const rate = 0.2
	return &scenario{
		name: "quiet", title: "a request every 5 s, dead after an hour",
		measures: []measure{
			{"sent before the first refusal", count, atMost(10)},
			{"refused while healthy", percent, atMost(0)},
		},
		draw: func(*rand.Rand) *plan {
			from, to := time.Hour, time.Hour+10*time.Minute
			return &plan{
				length: to,
				from:   from, to: to,
				rate: steps(rate),
				peak: rate,
				fate: during(from, to, failed),
				judge: func(l *ledger) []float64 {
					return []float64{l.hitsBeforeRefusal(from), l.refused(0, from)}
				},
			}
		},
	}
}
