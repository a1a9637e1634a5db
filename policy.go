package breakerhttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// A Policy says when a circuit opens, for how long, and how it closes again. A
// zero field means its default, so the zero Policy is complete: five failures in
// a row open the circuit for a minute, and one successful probe closes it.
//
// A closed circuit opens when any of its rules is met: ConsecutiveFailures,
// FailureRatio, SlowRatio or TripWhen. They are asked after each failed or slow
// request, never after a good one. An open circuit refuses every request for
// OpenFor, or for as long as the failure that opened it asked for by Retry-After
// if that is longer. Then it is half-open, and admits probes only.
type Policy struct {
	ConsecutiveFailures int `json:"consecutive_failures"` // failures in a row; 0 means 5, negative turns the rule off

	// FailureRatio and SlowRatio are shares of the requests in Window: those that failed, and those
	// whose response headers took longer than SlowAfter. Above 0 to 1; 0 turns the rule off.
	FailureRatio float64       `json:"failure_ratio"`
	SlowRatio    float64       `json:"slow_ratio"`
	SlowAfter    time.Duration `json:"slow_after"`   // SlowRatio and Counts.Slow need it
	MinRequests  int           `json:"min_requests"` // requests in Window before a ratio counts; 0 means 20
	Window       time.Duration `json:"window"`       // sliding period of the ratios; 0 means 10s

	TripWhen func(Counts) bool `json:"-"` // a rule of your own; called without a lock, possibly concurrently

	OpenFor time.Duration `json:"open_for"` // how long a circuit stays open; 0 means 60s

	// OpenGrowth, 1 or more, multiplies the open time with each failed probe, and when the circuit
	// opens again after it was closed for less time than it was open before. A circuit that closes
	// forgets one step for each MaxOpenFor that it stays closed. 0 means 1, no growth.
	OpenGrowth float64 `json:"open_growth"`

	// MaxOpenFor is the upper bound of growth and of Retry-After. 0 means 5m, or
	// OpenFor if that is longer.
	MaxOpenFor time.Duration `json:"max_open_for"`
	Jitter     float64       `json:"jitter"` // random share added to the open time, also beyond MaxOpenFor; 0 to 1

	Probes         int           `json:"probes"`          // probes in flight at once; 0 means 1
	ProbeSuccesses int           `json:"probe_successes"` // successful probes that close the circuit; 0 means 1
	ProbeTimeout   time.Duration `json:"probe_timeout"`   // an unanswered probe fails after it; 0 means 30s

	// Ramp is the time over which a circuit that has recovered admits a growing
	// share of the requests: a tenth at first, all in the end. 0 admits all at
	// once. So does a circuit that [Transport.Reset] has closed.
	Ramp time.Duration `json:"ramp"`

	// MaxInFlight bounds the requests that wait for their response headers at
	// once; bodies do not count. A closed circuit refuses more than that, and
	// queues none. 0 means no bound.
	MaxInFlight int `json:"max_in_flight"`

	// Adaptive lets the circuit follow its host instead of fixed times and counts. A run of
	// failures, or silence, opens it for a quarter of the time that the trouble has lasted, at most
	// MaxOpenFor; 0 then means 60s, and still 5m for Retry-After. After that only 16 requests at a
	// time are let in, and more as they succeed. OpenFor, OpenGrowth, Jitter, Ramp, Probes,
	// ProbeSuccesses and ProbeTimeout are errors beside it. See docs/judgement.md.
	Adaptive bool `json:"adaptive"`

	// Silence opens an Adaptive circuit whose host has stopped answering while
	// requests still wait. 0 means automatic: 150ms, or 1/64 of the asking
	// request's time to its deadline if that is longer (1s without a deadline).
	// Negative turns it off.
	Silence time.Duration `json:"silence"`
}

// Counts are what the rules of a [Policy] are asked about. With a ratio rule or
// TripWhen, Requests, Failures and Slow are those of the sliding window;
// otherwise they are counted since the circuit entered its state. In a half-open
// circuit they are of the probes answered.
type Counts struct {
	Requests            int `json:"requests"`
	Failures            int `json:"failures"`
	Slow                int `json:"slow"`
	ConsecutiveFailures int `json:"consecutive_failures"`
}

// Validate returns an error that names every field out of range and its value,
// or nil.
func (p Policy) Validate() error { return p.validate("Policy") }

func (p Policy) validate(name string) error {
	var errs []error
	check := func(ok bool, field string, value any, want string) {
		if !ok {
			errs = append(errs, fmt.Errorf("breakerhttp: %s.%s is %v, want %s", name, field, value, want))
		}
	}
	count := func(field string, n int) { check(n >= 0, field, n, "0 or more") }
	period := func(field string, d time.Duration) { check(d >= 0, field, d, "0 or more") }
	share := func(field string, f float64) { check(f >= 0 && f <= 1, field, f, "0 to 1") }

	share("FailureRatio", p.FailureRatio)
	share("SlowRatio", p.SlowRatio)
	period("SlowAfter", p.SlowAfter)
	check(p.SlowRatio == 0 || p.SlowAfter != 0, "SlowAfter", p.SlowAfter, "more than 0, because SlowRatio needs it")
	count("MinRequests", p.MinRequests)
	period("Window", p.Window)
	check(p.ConsecutiveFailures >= 0 || p.FailureRatio != 0 || p.SlowRatio != 0 || p.TripWhen != nil,
		"ConsecutiveFailures", p.ConsecutiveFailures, "0 or more, because no other rule could open the circuit")

	period("OpenFor", p.OpenFor)
	check(p.OpenGrowth == 0 || p.OpenGrowth >= 1 && !math.IsInf(p.OpenGrowth, 1), "OpenGrowth", p.OpenGrowth, "0, or 1 or more")
	period("MaxOpenFor", p.MaxOpenFor)
	if openFor := p.withDefaults().OpenFor; p.MaxOpenFor > 0 && p.OpenFor >= 0 {
		check(p.MaxOpenFor >= openFor, "MaxOpenFor", p.MaxOpenFor, fmt.Sprintf("at least OpenFor, which is %v", openFor))
	}
	share("Jitter", p.Jitter)

	count("Probes", p.Probes)
	count("ProbeSuccesses", p.ProbeSuccesses)
	period("ProbeTimeout", p.ProbeTimeout)
	period("Ramp", p.Ramp)
	count("MaxInFlight", p.MaxInFlight)
	if p.Adaptive {
		check(p.ConsecutiveFailures >= 0, "ConsecutiveFailures", p.ConsecutiveFailures, "0 or more, because Adaptive needs it")
		none := func(zero bool, field string, value any) { check(zero, field, value, "0 beside Adaptive") }
		none(p.OpenFor == 0, "OpenFor", p.OpenFor)
		none(p.OpenGrowth == 0, "OpenGrowth", p.OpenGrowth)
		none(p.Jitter == 0, "Jitter", p.Jitter)
		none(p.Ramp == 0, "Ramp", p.Ramp)
		none(p.Probes == 0, "Probes", p.Probes)
		none(p.ProbeSuccesses == 0, "ProbeSuccesses", p.ProbeSuccesses)
		none(p.ProbeTimeout == 0, "ProbeTimeout", p.ProbeTimeout)
	} else {
		check(p.Silence == 0, "Silence", p.Silence, "0 without Adaptive")
	}
	return errors.Join(errs...)
}

// withDefaults returns p with its defaults filled in.
func (p Policy) withDefaults() Policy {
	setDefault(&p.ConsecutiveFailures, 5)
	setDefault(&p.MinRequests, 20)
	setDefault(&p.Window, 10*time.Second)
	if p.Adaptive {
		setDefault(&p.MaxOpenFor, 60*time.Second)
		return p // an adaptive circuit does not use the fields below
	}
	setDefault(&p.OpenFor, 60*time.Second)
	setDefault(&p.OpenGrowth, 1)
	setDefault(&p.MaxOpenFor, max(5*time.Minute, p.OpenFor))
	setDefault(&p.Probes, 1)
	setDefault(&p.ProbeSuccesses, 1)
	setDefault(&p.ProbeTimeout, 30*time.Second)
	return p
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// config returns the policy as circuits take it. Circuits that processes share elect one process
// to probe.
func (p Policy) config(shared bool) *circuit.Config {
	maxRetryAfter := p.MaxOpenFor
	p = p.withDefaults()
	if maxRetryAfter == 0 { // 5 minutes for an adaptive circuit too, although it opens for 1 at most
		maxRetryAfter = max(5*time.Minute, p.MaxOpenFor)
	}
	c := &circuit.Config{
		Source:              p,
		ConsecutiveFailures: p.ConsecutiveFailures,
		FailureRatio:        p.FailureRatio,
		SlowRatio:           p.SlowRatio,
		SlowAfter:           p.SlowAfter,
		MinRequests:         p.MinRequests,
		Window:              p.Window,
		OpenFor:             p.OpenFor,
		OpenGrowth:          p.OpenGrowth,
		MaxOpenFor:          p.MaxOpenFor,
		Jitter:              p.Jitter,
		Probes:              p.Probes,
		ProbeSuccesses:      p.ProbeSuccesses,
		ProbeTimeout:        p.ProbeTimeout,
		Ramp:                p.Ramp,
		MaxInFlight:         p.MaxInFlight,
		MaxRetryAfter:       maxRetryAfter,
		Adaptive:            p.Adaptive,
		Silence:             p.Silence,
		Elect:               shared,
	}
	if p.TripWhen != nil {
		c.TripWhen = func(n circuit.Counts) bool { return p.TripWhen(Counts(n)) }
	}
	return c
}

// MarshalJSON writes the fields that are not zero, by their names in snake_case,
// durations as "1m30s". It leaves out TripWhen, which JSON cannot express.
func (p Policy) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for f, field := range reflect.ValueOf(p).Fields() {
		name := f.Tag.Get("json")
		if name == "-" || field.IsZero() {
			continue
		}
		value := field.Interface()
		if d, ok := value.(time.Duration); ok {
			value = d.String()
		}
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("breakerhttp: Policy.%s: %w", name, err)
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, `"`+name+`":`...)
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
	for f, field := range reflect.ValueOf(&next).Elem().Fields() {
		name := f.Tag.Get("json")
		text, ok := raw[name]
		if !ok || name == "-" {
			continue
		}
		delete(raw, name)
		if err := readField(name, field.Addr().Interface(), text); err != nil {
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

// readField reads a value in JSON into the field that pointer points to. null leaves it as it is.
func readField(name string, pointer any, text []byte) error {
	if string(text) == "null" {
		return nil
	}
	var period string
	target, want := pointer, "a number"
	switch pointer.(type) {
	case *time.Duration:
		target, want = &period, `a duration such as "1m30s"`
	case *int:
		want = "a whole number"
	case *bool:
		want = "true or false"
	}
	err := json.Unmarshal(text, target)
	if d, ok := pointer.(*time.Duration); ok && err == nil {
		*d, err = time.ParseDuration(period)
	}
	if err != nil {
		return fmt.Errorf("breakerhttp: Policy.%s is %s, want %s", name, text, want)
	}
	return nil
}
