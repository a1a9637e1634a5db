package breakerhttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A policyField is a field of a [Policy] in JSON.
type policyField struct {
	name  string
	value any // *int, *float64, *bool or *time.Duration
}

// fields returns the fields of p that JSON can express, in the order of the type.
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
// durations as "1m30s". It leaves out TripWhen, which JSON cannot express.
func (p Policy) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for _, f := range p.fields() {
		field := reflect.ValueOf(f.value).Elem()
		if field.IsZero() {
			continue
		}
		value := field.Interface()
		if d, ok := value.(time.Duration); ok {
			value = d.String()
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

// UnmarshalJSON reads what MarshalJSON writes. Fields that are missing or null are
// zero, and mean their defaults. The error names every unknown field, every value of a
// wrong type and every value out of range. After an error, p is as it was. A policy
// may have no rule, because TripWhen may have been left out; [New] and
// [Transport.SetPolicies] refuse it.
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
		delete(raw, f.name)
		if !ok || string(text) == "null" {
			continue
		}
		if err := f.read(text); err != nil {
			errs = append(errs, err)
		}
	}
	if len(raw) > 0 {
		var unknown []string
		for name := range raw {
			unknown = append(unknown, strconv.Quote(name))
		}
		slices.Sort(unknown)
		errs = append(errs, fmt.Errorf("breakerhttp: Policy has no field %s", strings.Join(unknown, ", ")))
	}
	checked := next
	checked.TripWhen = func(Counts) bool { return false } // there may be one: it cannot be written down
	if err := errors.Join(append(errs, checked.Validate())...); err != nil {
		return err
	}
	*p = next
	return nil
}

// read sets the field to a value in JSON.
func (f policyField) read(text []byte) error {
	wrong := func(want string) error {
		return fmt.Errorf("breakerhttp: Policy.%s is %s, want %s", f.name, text, want)
	}
	switch v := f.value.(type) {
	case *time.Duration:
		var s string
		err := json.Unmarshal(text, &s)
		if err == nil {
			*v, err = time.ParseDuration(s)
		}
		if err != nil {
			return wrong(`a duration such as "1m30s"`)
		}
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
