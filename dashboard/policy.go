package dashboard

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// inWords says in words what a policy does that has its defaults filled in: when it opens a
// circuit, for how long, and what else differs from the zero Policy.
func inWords(p breakerhttp.Policy) string {
	var rules []string
	switch n := p.ConsecutiveFailures; {
	case n == 1:
		rules = append(rules, "after 1 failure")
	case n > 1:
		rules = append(rules, fmt.Sprintf("after %d failures in a row", n))
	}
	ratio := func(share float64, what string) {
		if share > 0 {
			rules = append(rules, fmt.Sprintf("when %s of at least %s in %s %s",
				percent(share), requests(p.MinRequests), period(p.Window), what))
		}
	}
	ratio(p.FailureRatio, "fail")
	ratio(p.SlowRatio, "take longer than "+period(p.SlowAfter))
	if p.TripWhen != nil {
		rules = append(rules, "when TripWhen says so")
	}
	switch {
	case p.Adaptive && p.Silence == 0:
		rules = append(rules, "when the host falls silent")
	case p.Adaptive && p.Silence > 0:
		rules = append(rules, fmt.Sprintf("when the host is silent for %s", period(p.Silence)))
	}
	parts := append([]string{"opens " + strings.Join(rules, ", or "), openTime(p)}, recovery(p)...)
	if p.MaxInFlight > 0 {
		parts = append(parts, fmt.Sprintf("at most %d in flight", p.MaxInFlight))
	}
	return strings.Join(parts, "; ")
}

// openTime says how long a circuit stays open.
func openTime(p breakerhttp.Policy) string {
	if p.Adaptive {
		return "open for a quarter of the time that the trouble has lasted, at most " + period(p.MaxOpenFor)
	}
	open := "open " + period(p.OpenFor)
	if p.OpenGrowth > 1 {
		open += fmt.Sprintf(", %s times as long after each failed probe, up to %s", number(p.OpenGrowth), period(p.MaxOpenFor))
	}
	if p.Jitter > 0 {
		open += fmt.Sprintf(", plus up to %s", percent(p.Jitter))
	}
	return open
}

// recovery says how a circuit closes, if that differs from the zero Policy.
func recovery(p breakerhttp.Policy) (parts []string) {
	if p.Adaptive {
		return []string{"then admits 16 requests at a time, and more as they succeed"}
	}
	if p.Probes > 1 {
		parts = append(parts, fmt.Sprintf("%d probes at a time", p.Probes))
	}
	if p.ProbeSuccesses > 1 {
		parts = append(parts, fmt.Sprintf("closes after %d successful probes", p.ProbeSuccesses))
	}
	if p.ProbeTimeout != 30*time.Second {
		parts = append(parts, "a probe fails after "+period(p.ProbeTimeout))
	}
	if p.Ramp > 0 {
		parts = append(parts, "then admits a growing share for "+period(p.Ramp))
	}
	return parts
}

func requests(n int) string {
	if n == 1 {
		return "1 request"
	}
	return fmt.Sprintf("%d requests", n)
}

// percent writes a share with at most three digits after the point, so that 0.005 is not 1%.
func percent(share float64) string { return number(100*share) + "%" }

func number(f float64) string {
	return strconv.FormatFloat(math.Round(f*1000)/1000, 'f', -1, 64)
}

// period writes a duration in the largest unit that leaves no fraction: 60 s, 5 min, 3 h.
func period(d time.Duration) string {
	switch {
	case d < time.Second:
		return number(float64(d)/float64(time.Millisecond)) + " ms"
	case d < 2*time.Minute || d%time.Minute != 0:
		return number(d.Seconds()) + " s"
	case d < 2*time.Hour || d%time.Hour != 0:
		return number(d.Minutes()) + " min"
	}
	return number(d.Hours()) + " h"
}
