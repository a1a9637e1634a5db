package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// table writes Markdown.
func table(head []string, rows [][]string) string {
	var b strings.Builder
	for i, r := range append([][]string{head}, rows...) {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(r, " | "))
		if i == 0 {
			fmt.Fprintf(&b, "|---%s|\n", strings.Repeat("|--:", len(head)-1))
		}
	}
	return b.String()
}

const none = "–"

// number writes x to two digits at least.
func number(x float64, unit string) string {
	switch {
	case math.IsNaN(x):
		return none
	case math.Abs(x) < 9.95 && x != math.Trunc(x):
		return fmt.Sprintf("%.1f%s", x, unit)
	}
	s := fmt.Sprintf("%.0f", x)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s + unit
}

func nanoseconds(took []float64) string { return number(median(took), " ns") }

func times(a, b []float64) string { return number(median(ratio(a, b)), " ×") }

// title is the name of a contender and its version: the day of the commit if the
// peer has no releases.
func (c *contender) title() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || c.module == "" {
		return c.name
	}
	for _, m := range info.Deps {
		if m.Path == c.module {
			version, _, _ := strings.Cut(m.Version, "+")
			if commit, ok := strings.CutPrefix(version, "v0.0.0-"); ok {
				version = fmt.Sprintf("of %s-%s-%s", commit[:4], commit[4:6], commit[6:8])
			}
			return c.name + " " + version
		}
	}
	return c.name
}

// machine says what all this was measured on.
func machine() string {
	return fmt.Sprintf("%s, %d cores, %s %s/%s", cpu(), runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// cpu is the model of the processor, where Linux tells it.
func cpu() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, model, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return "unknown processor"
}
