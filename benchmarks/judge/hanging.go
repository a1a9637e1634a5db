package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// steady is the usual latency of a healthy host.
func steady(*rand.Rand) time.Duration { return usualLatency }

// lognormal is a latency whose median is the usual one, and whose σ is 1.
func lognormal(r *rand.Rand) time.Duration {
	return time.Duration(float64(usualLatency) * math.Exp(r.NormFloat64()))
}

// hang: the host answers nothing for half a minute.
func hang(name, title string, stuck float64, latency func(*rand.Rand) time.Duration) *scenario {
	return &scenario{
		name: name, title: title,
		measures: []measure{
			{"stuck at once", count, atMost(stuck)},
			{"first refusal after", seconds, atMost(1)},
			{"refused in the minute after", percent, atMost(0.03)},
		},
		draw: func(r *rand.Rand) *plan {
			from, to := 30*time.Second, time.Minute+upTo(r, 4*time.Second)
			return &plan{
				length: to + time.Minute,
				from:   from, to: to,
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

// longHang: the host answers nothing for ten minutes.
func longHang() *scenario {
	return &scenario{
		long: true, name: "hang-10m", title: "hangs for ten minutes",
		measures: []measure{{"sent", count, atMost(300)}},
		draw: func(*rand.Rand) *plan {
			from, to := 30*time.Second, 30*time.Second+10*time.Minute
			return &plan{
				length: to,
				from:   from, to: to,
				fate:  during(from, to, hung),
				judge: func(l *ledger) []float64 { return []float64{l.hits(from, to)} },
			}
		},
	}
}

// tenth: one request of ten is never answered.
func tenth() *scenario {
	return &scenario{
		name: "tenth-hangs", title: "never answers 10 % of requests, for a minute",
		measures: []measure{
			{"stuck at once", count, noBound},
			{"refused", percent, noBound},
		},
		draw: func(r *rand.Rand) *plan {
			from, to := 30*time.Second, 90*time.Second
			return &plan{
				length: to,
				from:   from, to: to,
				fate: func(a arrival) fate {
					if a.at >= from && r.IntN(10) == 0 {
						return hung
					}
					return healthy
				},
				judge: func(l *ledger) []float64 { return []float64{l.stuck(from, to), l.refused(from, to)} },
			}
		},
	}
}

// pauses: the host stops for half a second every half minute, as if to collect
// its garbage.
func pauses() *scenario {
	return &scenario{
		long: true, name: "pauses", title: "stops for 0.5 s every 30 s, for five minutes",
		measures: []measure{{"refused", percent, atMost(0.002)}},
		draw: func(*rand.Rand) *plan {
			const every, pause = 30 * time.Second, 500 * time.Millisecond
			length := 5 * time.Minute
			return &plan{
				length: length,
				fate: func(a arrival) fate {
					f := healthy
					if began := (a.at + f.after) / every * every; began > 0 && a.at+f.after < began+pause {
						f.after += min(pause, began+pause-a.at)
					}
					return f
				},
				judge: func(l *ledger) []float64 { return []float64{l.refused(0, length)} },
			}
		},
	}
}

// coldStart: the host is slow at first.
func coldStart() *scenario {
	return &scenario{
		name: "cold-start", title: "the first 50 requests take 1 s",
		measures: []measure{{"refused", percent, atMost(0)}},
		draw: func(*rand.Rand) *plan {
			length, sent := 30*time.Second, 0
			return &plan{
				length: length,
				fate: func(arrival) fate {
					if sent++; sent <= 50 {
						return fate{after: time.Second}
					}
					return healthy
				},
				judge: func(l *ledger) []float64 { return []float64{l.refused(0, length)} },
			}
		},
	}
}

// longPoll: every half minute 200 requests come within a second, and are answered
// half a minute later. A warm host has had the usual traffic before.
func longPoll(name, title string, warm time.Duration, b bound) *scenario {
	const poll = 30 * time.Second
	rate := func(at time.Duration) float64 {
		switch {
		case at < warm:
			return usualRate
		case (at-warm)%poll < time.Second:
			return 200
		}
		return 0
	}
	return &scenario{
		name: name, title: title,
		measures: []measure{{"refused", percent, b}},
		draw: func(*rand.Rand) *plan {
			length := warm + 5*poll
			return &plan{
				length:   length,
				rate:     rate,
				peak:     usualRate,
				deadline: 2 * time.Minute,
				fate:     during(warm, length, fate{after: poll}),
				judge:    func(l *ledger) []float64 { return []float64{l.refused(warm, length)} },
			}
		},
	}
}
