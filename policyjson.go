package breakerhttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A policyField is a field of a [Policy] in JSON.
type policyField struct {
	name  string
	value any // *int, *float64, *bool or *time.Duration
}

// fields are those of p that can be written down, in the order of the type.
func (p *Policy) fields() []policyField {
	return []policyField{
		{"consecutive_failures", &p.ConsecutiveFailures},
		{"failure_ratio", &p.FailureRatio},
		{"slow_ratio", &p.SlowRatio},
		{"slow_after", &p.SlowAfter},
		{"min_requests", &p.MinRequests},
		{"window", &p.Window},
		{"open_for", &p.OpenFor},
		{"open_growth", &p.OpenGrowth},
		{"max_open_for", &p.MaxOpenFor},
		{"jitter", &p.Jitter},
		{"probes", &p.Probes},
		{"probe_successes", &p.ProbeSuccesses},
		{"probe_timeout", &p.ProbeTimeout},
		{"ramp", &p.Ramp},
		{"max_in_flight", &p.MaxInFlight},
		{"adaptive", &p.Adaptive},
		{"silence", &p.Silence},
	}
}

// MarshalJSON writes the fields that are not zero, by their names in snake_case,
// durations as "1m30s". TripWhen cannot be written down, and is left out.
func (p Policy) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for _, f := range p.fields() {
		var value any
		switch v := f.value.(type) {
		case *int:
			if *v != 0 {
				value = *v
			}
		case *float64:
			if *v != 0 {
				value = *v
			}
		case *bool:
			if *v {
				value = true
			}
		case *time.Duration:
			if *v != 0 {
				value = v.String()
			}
		}
		if value == nil {
			continue
		}
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("breakerhttp: Policy.%s: %w", f.name, err)
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, `"`+f.name+`":`...)
		b = append(b, text...)
	}
	return append(b, '}'), nil
}

// UnmarshalJSON reads what MarshalJSON writes. Fields that are missing are zero,
// and mean their defaults. The error names every unknown field, every value of a
// wrong type and every one out of range; then p is as it was.
func (p *Policy) UnmarshalJSON(b []byte) error {
	if bytes.Equal(bytes.TrimSpace(b), []byte("null")) {
		return nil
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return fmt.Errorf("breakerhttp: Policy is no JSON object: %w", err)
	}
	var next Policy
	var errs []error
	for _, f := range next.fields() {
		text, ok := raw[f.name]
		if !ok {
			continue
		}
		delete(raw, f.name)
		if err := f.read(text); err != nil {
			errs = append(errs, err)
		}
	}
	unknown := make([]string, 0, len(raw))
	for name := range raw {
		unknown = append(unknown, name)
	}
	slices.Sort(unknown)
	if len(unknown) > 0 {
		errs = append(errs, fmt.Errorf("breakerhttp: Policy has no field %s", strings.Join(quoted(unknown), ", ")))
	}
	if err := errors.Join(append(errs, next.Validate())...); err != nil {
		return err
	}
	*p = next
	return nil
}

func (f policyField) read(text []byte) error {
	wrong := func(want string) error {
		return fmt.Errorf("breakerhttp: Policy.%s is %s, want %s", f.name, text, want)
	}
	switch v := f.value.(type) {
	case *time.Duration:
		var s string
		if err := json.Unmarshal(text, &s); err != nil {
			return wrong(`a duration such as "1m30s"`)
		}
		d, err := time.ParseDuration(s)
		if err != nil {
			return wrong(`a duration such as "1m30s"`)
		}
		*v = d
	case *int:
		if json.Unmarshal(text, v) != nil {
			return wrong("a whole number")
		}
	case *float64:
		if json.Unmarshal(text, v) != nil {
			return wrong("a number")
		}
	case *bool:
		if json.Unmarshal(text, v) != nil {
			return wrong("true or false")
		}
	}
	return nil
}

func quoted(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = fmt.Sprintf("%q", name)
	}
	return out
}
