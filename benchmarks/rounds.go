package main

import (
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"time"
)

// A field measures subjects side by side, in rounds. Every subject has its turn in
// each round. What disturbs the machine for a while then disturbs all of them,
// and the median of many short rounds does not see it. Its figures
// can be written as JSON, for another program to merge.
type field struct {
	Subjects []*subject
	quiet    bool // garbage is collected between the rounds, and not during turns
}

// A subject is one of a field.
type subject struct {
	Name string
	send func(n int) (failed int) // sends n requests
	warm int                      // requests at least before a turn is timed
	n    int                      // requests a turn
	Took []float64                // nanoseconds a request, by round

	Sent, Failed int // in the turns
}

func (f *field) add(s subject) { f.Subjects = append(f.Subjects, &s) }

// find returns the subject of that name, or nil.
func (f *field) find(name string) *subject {
	i := slices.IndexFunc(f.Subjects, func(s *subject) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return f.Subjects[i]
}

const fewestRounds = 11

// measure gives every subject its turn, of about as long as slice, in as many
// rounds as the budget allows.
func (f *field) measure(budget, slice time.Duration) {
	if f.quiet {
		defer debug.SetGCPercent(debug.SetGCPercent(-1))
	}
	runtime.GC()
	for _, s := range f.Subjects {
		s.calibrate(slice)
	}
	for start := time.Now(); len(f.Subjects[0].Took) < fewestRounds || time.Since(start) < budget; {
		for _, s := range f.Subjects {
			s.turn()
		}
		if f.quiet {
			runtime.GC()
		}
	}
}

// calibrate finds how many requests take as long as d if nothing disturbs, by
// the best of some tries.
func (s *subject) calibrate(d time.Duration) {
	var best time.Duration
	for s.n = 1; best < d/4; s.n *= 2 {
		best = math.MaxInt64
		for range 10 {
			start := time.Now()
			s.send(2 * s.n)
			best = min(best, time.Since(start))
		}
	}
	s.n = max(1, int(float64(s.n)*float64(d)/float64(best)))
}

func (s *subject) turn() {
	s.send(max(s.n/4, s.warm)) // the subject before has left its own in the caches
	start := time.Now()
	failed := s.send(s.n)
	s.Took = append(s.Took, float64(time.Since(start))/float64(s.n))
	s.Sent += s.n
	s.Failed += failed
}

// merge adds the rounds that another program has measured of the same subjects.
func (f *field) merge(other *field) {
	for _, s := range other.Subjects {
		own := f.find(s.Name)
		if own == nil {
			f.Subjects = append(f.Subjects, s)
			continue
		}
		own.Took = append(own.Took, s.Took...)
		own.Sent += s.Sent
		own.Failed += s.Failed
	}
}

// took is what a request of a subject takes, by round.
func (f *field) took(name string) []float64 { return f.find(name).Took }

// over is what it takes more than one of another subject, by round.
func (f *field) over(name, base string) []float64 {
	took, less := slices.Clone(f.took(name)), f.took(base)
	for i := range took {
		took[i] -= less[i]
	}
	return took
}

// ratio divides round by round.
func ratio(a, b []float64) []float64 {
	q := make([]float64, 0, len(a))
	for i := range a {
		if b[i] > 0 {
			q = append(q, a[i]/b[i])
		}
	}
	return q
}

func median(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}
