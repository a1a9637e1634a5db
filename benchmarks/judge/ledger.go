package main

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// A ledger says what became of the requests of a scenario, in the order in which
// they were asked for.
type ledger struct {
	requests []*request
	visits   []visit // of hosts, by the order in which they began
}

// A request is one that a user asked for. It may have several attempts.
type request struct {
	n        int
	at       time.Duration
	visits   atomic.Int32 // attempts that have reached the host
	answered bool         // by a success, in time
	refused  bool         // by the breaker
}

// A visit is the time that an attempt was with a host.
type visit struct{ from, to time.Duration }

// among returns the requests that were asked for from one time to another.
func (l *ledger) among(from, to time.Duration) []*request {
	return l.requests[l.since(from):l.since(to)]
}

func (l *ledger) since(at time.Duration) int {
	i, _ := slices.BinarySearchFunc(l.requests, at, func(r *request, at time.Duration) int { return cmp.Compare(r.at, at) })
	return i
}

// share returns the share of such requests for which so is true.
func (l *ledger) share(from, to time.Duration, so func(*request) bool) float64 {
	all, some := l.among(from, to), 0
	for _, r := range all {
		if so(r) {
			some++
		}
	}
	return float64(some) / float64(len(all))
}

func refused(r *request) bool  { return r.refused }
func answered(r *request) bool { return r.answered }

// refused returns the share of requests that were refused.
func (l *ledger) refused(from, to time.Duration) float64 { return l.share(from, to, refused) }

// answered returns the number of requests that were answered.
func (l *ledger) answered(from, to time.Duration) float64 {
	return l.share(from, to, answered) * float64(len(l.among(from, to)))
}

// hits returns how many attempts reached a host.
func (l *ledger) hits(from, to time.Duration) float64 {
	hits := 0
	for _, v := range l.visits {
		if within(v.from, from, to) {
			hits++
		}
	}
	return float64(hits)
}

// firstRefusal returns how many seconds after a time a request was first refused.
func (l *ledger) firstRefusal(from time.Duration) float64 {
	for _, r := range l.among(from, math.MaxInt64) {
		if r.refused {
			return (r.at - from).Seconds()
		}
	}
	return math.Inf(1)
}

// hitsBeforeRefusal returns how many attempts reached a host until one was
// refused.
func (l *ledger) hitsBeforeRefusal(from time.Duration) float64 {
	first := l.firstRefusal(from)
	if math.IsInf(first, 1) {
		return l.hits(from, math.MaxInt64)
	}
	return l.hits(from, from+time.Duration(first*float64(time.Second)))
}

// stuck returns the most attempts that were with a host at once.
func (l *ledger) stuck(from, to time.Duration) float64 {
	var ends []time.Duration
	for _, v := range l.visits {
		ends = append(ends, v.to)
	}
	slices.Sort(ends)
	most, ended := 0, 0
	for i, v := range l.visits {
		for ended < len(ends) && ends[ended] <= v.from {
			ended++
		}
		if within(v.from, from, to) {
			most = max(most, i+1-ended)
		}
	}
	return float64(most)
}

// A moment is a short time. It has the shares of its requests that were answered,
// refused, and neither.
type moment struct{ answered, refused, failed float64 }

// moments divides the time until then into n moments.
func (l *ledger) moments(until time.Duration, n int) []moment {
	all := make([]moment, n)
	for i := range all {
		from, to := until*time.Duration(i)/time.Duration(n), until*time.Duration(i+1)/time.Duration(n)
		answered := l.share(from, to, answered)
		refused := l.share(from, to, func(r *request) bool { return r.refused && !r.answered })
		all[i] = moment{answered, refused, 1 - answered - refused}
	}
	return all
}
