package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// capacity is how many requests a host with a queue answers a second.
const capacity = 250.0

// A manner is what a host does with more than it can answer.
type manner struct {
	name    string
	longest time.Duration // of its queue
}

var (
	sheds  = manner{"sheds", 200 * time.Millisecond}
	queues = manner{"queues", 5 * time.Second}
)

// queue is a host that answers one request after the other, including those whose
// callers have left. It answers 503 at once while the queue is longer than a
// time.
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
func overload(m manner, times float64) *scenario {
	return &scenario{
		name: fmt.Sprintf("overload-%s-%v", m.name, times), title: fmt.Sprintf("overload %v×, host %s", times, m.name),
		measures: []measure{{"capacity used well", percent, atLeast(0.95)}},
		draw: func(*rand.Rand) *plan {
			const settled = 30 * time.Second
			from, to := 20*time.Second, 120*time.Second
			return &plan{
				length: to,
				from:   from, to: to,
				rate:     steps(200, step{from, times * capacity}),
				peak:     times * capacity,
				deadline: time.Second,
				fate:     queue(m.longest),
				judge: func(l *ledger) []float64 {
					return []float64{l.answered(settled, to) / (capacity * (to - settled).Seconds())}
				},
			}
		},
	}
}

// smallClients: an overload by many clients. Each of them sees little of it.
func smallClients() *scenario {
	sc := overload(queues, 2)
	one := sc.draw
	sc.name, sc.title = "small-clients", "overload 2×, host queues, 200 small clients"
	sc.measures[0].bound = noBound
	sc.draw = func(r *rand.Rand) *plan {
		p := one(r)
		p.clients = 200
		return p
	}
	return sc
}

// metastable: a surge fills the queue of a host, and retries keep it full.
func metastable() *scenario {
	return &scenario{
		name: "metastable", title: "surge of 10 s, host queues, 2 retries",
		measures: []measure{{"answered well afterwards", percent, atLeast(0.95)}},
		draw: func(*rand.Rand) *plan {
			const settled = 45 * time.Second
			from, to := 30*time.Second, 40*time.Second
			length := 100 * time.Second
			return &plan{
				length: length,
				from:   from, to: to,
				rate:     steps(200, step{from, 400}, step{to, 200}),
				peak:     400,
				deadline: time.Second,
				retries:  2,
				fate:     queue(queues.longest),
				judge:    func(l *ledger) []float64 { return []float64{l.share(settled, length, answered)} },
			}
		},
	}
}
