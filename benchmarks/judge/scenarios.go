package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// scenarios are listed in the order of the table.
var scenarios = []*scenario{
	hang("hang", "hangs for half a minute", 150, steady),
	hang("hang-lognormal", "hangs for half a minute; latency lognormal", 165, lognormal),
	longHang(),
	overload("shed", 200*time.Millisecond, 1.2),
	overload("shed", 200*time.Millisecond, 2),
	overload("shed", 200*time.Millisecond, 5),
	overload("queue", 5*time.Second, 1.2),
	overload("queue", 5*time.Second, 2),
	overload("queue", 5*time.Second, 5),
	dead("dead-1m", "dead for a minute", time.Minute),
	dead("dead-10m", "dead for ten minutes", 10*time.Minute),
	blip(),
	failing(10),
	failing(20),
	failing(50),
	shards(),
}

func steady(*rand.Rand) time.Duration { return usualLatency }

// lognormal has its median at the usual latency, and σ = 1.
func lognormal(r *rand.Rand) time.Duration {
	return time.Duration(float64(usualLatency) * math.Exp(r.NormFloat64()))
}

// hang: the host answers nothing for half a minute.
func hang(name, title string, stuck float64, latency func(*rand.Rand) time.Duration) *scenario {
	return &scenario{
		name: name, title: title,
		measures: []measure{
			{"stuck at once", count, atMost(stuck)},
			{"first refusal", seconds, atMost(1)},
			{"refused in the minute after", percent, atMost(0.03)},
		},
		draw: func(r *rand.Rand) *plan {
			from, to := 30*time.Second, time.Minute+upTo(r, 4*time.Second)
			return &plan{
				length: to + time.Minute,
				fate: func(a arrival) fate {
					if within(a.at, from, to) {
						return hung
					}
					return fate{after: latency(r)}
				},
				judge: func(l *ledger) []float64 {
					return []float64{l.stuck(from, to), l.firstRefusal(from), l.refused(to, to+time.Minute)}
				},
			}
		},
	}
}

func longHang() *scenario {
	return &scenario{
		name: "hang-10m", title: "hangs for ten minutes",
		measures: []measure{{"sent", count, atMost(300)}},
		draw: func(r *rand.Rand) *plan {
			from := 30 * time.Second
			to := from + 10*time.Minute
			return &plan{
				length: to,
				fate: func(a arrival) fate {
					if a.at >= from {
						return hung
					}
					return healthy
				},
				judge: func(l *ledger) []float64 { return []float64{l.hits(from, to)} },
			}
		},
	}
}

// capacity is what a host with a queue answers a second.
const capacity = 250.0

// queue is the fate of what reaches a host that answers one request after the
// other, and those whose callers have gone as well. It answers 503 at once while
// the queue is longer than a time.
func queue(longest time.Duration) func(arrival) fate {
	var free time.Duration // when the last in the queue will have been answered
	return func(a arrival) fate {
		if free-a.at > longest {
			return fate{status: failed.status}
		}
		free = max(free, a.at) + time.Duration(float64(time.Second)/capacity)
		return fate{after: free - a.at}
	}
}

// overload: more requests than the host can answer, for 100 s.
func overload(kind string, longest time.Duration, times float64) *scenario {
	how := "queues"
	if kind == "shed" {
		how = "sheds"
	}
	return &scenario{
		name: fmt.Sprintf("overload-%s-%v", kind, times), title: fmt.Sprintf("overload %v×, host %s", times, how),
		measures: []measure{{"capacity used well", percent, atLeast(0.95)}},
		draw: func(*rand.Rand) *plan {
			from, to := 30*time.Second, 120*time.Second
			return &plan{
				length:   to,
				rate:     steps(200, step{20 * time.Second, times * capacity}),
				peak:     times * capacity,
				deadline: time.Second,
				fate:     queue(longest),
				judge: func(l *ledger) []float64 {
					return []float64{l.answered(from, to) / (capacity * (to - from).Seconds())}
				},
			}
		},
	}
}

// dead: the host answers 503 for long.
func dead(name, title string, long time.Duration) *scenario {
	return &scenario{
		name: name, title: title,
		measures: []measure{
			{"sent", count, timesAsMuchAs(3, nameDoubling)},
			{"refused in the minute after", percent, noBound},
		},
		draw: func(r *rand.Rand) *plan {
			from := 5 * time.Second
			to := from + long + upTo(r, long/5)
			return &plan{
				length: to + time.Minute,
				fate: func(a arrival) fate {
					if within(a.at, from, to) {
						return failed
					}
					return healthy
				},
				judge: func(l *ledger) []float64 {
					return []float64{l.hits(from, to), l.refused(to, to+time.Minute)}
				},
			}
		},
	}
}

// blip: the host answers 503 for the blink of an eye.
func blip() *scenario {
	return &scenario{
		name: "blip", title: "fails for 200 ms",
		measures: []measure{{"refused in the minute after", percent, atMost(0.02)}},
		draw: func(*rand.Rand) *plan {
			from := 30 * time.Second
			to := from + 200*time.Millisecond
			return &plan{
				length:   to + time.Minute,
				deadline: 2 * time.Second,
				fate: func(a arrival) fate {
					if within(a.at, from, to) {
						return failed
					}
					return healthy
				},
				judge: func(l *ledger) []float64 { return []float64{l.refused(to, to+time.Minute)} },
			}
		},
	}
}

// failing: some of the requests fail, whatever the load.
func failing(part int) *scenario {
	return &scenario{
		name: fmt.Sprintf("failing-%d", part), title: fmt.Sprintf("fails %d %% of requests for two minutes", part),
		measures: []measure{{"refused", percent, atMost(0.02)}},
		draw: func(r *rand.Rand) *plan {
			from, to := 30*time.Second, 150*time.Second
			return &plan{
				length: to,
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

// shards: bursts of 50 requests to each of ten shards in turn, one of which is
// dead for two minutes.
func shards() *scenario {
	toDead := func(n int) bool { return n/50%10 == 0 }
	return &scenario{
		name: "shards", title: "one shard of ten dead for two minutes",
		measures: []measure{{"refused of the others", percent, atMost(0.05)}},
		draw: func(*rand.Rand) *plan {
			from, to := 30*time.Second, 150*time.Second
			return &plan{
				length: to,
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
