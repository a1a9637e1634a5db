package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/breakerhttp/breakerhttp/benchmarks/internal/report"
)

// number writes x to two digits at least.
func number(x float64, unit string) string {
	switch {
	case math.IsNaN(x):
		return report.None
	case math.Abs(x) < 9.95 && x != math.Trunc(x):
		return fmt.Sprintf("%.1f%s", x, unit)
	}
	return report.Digits(x) + unit
}

func nanoseconds(took []float64) string { return number(median(took), " ns") }

func times(a, b []float64) string { return number(median(ratio(a, b)), " ×") }

// title is the name of a contender, and its version before what else the name says.
func (c *contender) title() string {
	if c.module == "" {
		return c.name
	}
	name, rest, _ := strings.Cut(c.name, ", ")
	return strings.TrimSuffix(name+" "+report.Version(c.module)+", "+rest, ", ")
}
