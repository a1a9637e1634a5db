package main

import (
	"fmt"
	"math"

	"github.com/breakerhttp/breakerhttp/benchmarks/internal/report"
)

// A unit says how a figure is written.
type unit uint8

const (
	count unit = iota
	percent
	seconds
)

func (u unit) String() string { return [...]string{"", " %", " s"}[u] }

// format writes a figure with at least two digits.
func (u unit) format(x float64) string {
	if math.IsInf(x, 0) || math.IsNaN(x) {
		return report.None
	}
	if u == percent {
		x *= 100
	}
	switch {
	case x > 0 && x < 0.005:
		return "< 0.01" + u.String()
	case x == math.Trunc(x) || x >= 9.95:
		return report.Digits(x) + u.String()
	case x >= 0.995:
		return fmt.Sprintf("%.1f%v", x, u)
	}
	return fmt.Sprintf("%.2f%v", x, u)
}

// A bound is a limit that a figure of Adaptive must not exceed, or must reach.
type bound struct {
	limit float64
	least bool   // it must be reached
	of    string // the contender whose figure the limit multiplies; "" means none
	none  bool
}

var noBound = bound{none: true}

func atMost(x float64) bound  { return bound{limit: x} }
func atLeast(x float64) bound { return bound{limit: x, least: true} }

func timesAsMuchAs(x float64, contender string) bound { return bound{limit: x, of: contender} }

// format writes a bound in a unit.
func (b bound) format(u unit) string {
	sign := "≤ "
	if b.least {
		sign = "≥ "
	}
	switch {
	case b.none:
		return report.None
	case b.of != "":
		return sign + count.format(b.limit) + " × " + b.of
	}
	return sign + u.format(b.limit)
}

// loosened returns the bound of a single run, which may miss that of the mean.
func (b bound) loosened() bound {
	if b.least {
		b.limit /= 1.02
	} else {
		b.limit *= 1.2
	}
	return b
}

// holds reports whether a figure keeps to the bound. The figure of the contender
// b.of is other.
func (b bound) holds(x, other float64) bool {
	limit := b.limit
	if b.of != "" {
		limit *= other
	}
	return b.none || b.least && x >= limit || !b.least && x <= limit
}
