package breakerhttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"go.opentelemetry.io/otel/metric"
)

// An Option configures a [Transport]. Where an option is given twice, the last
// one counts; but [WithHostPolicy] adds up, and [WithStore] may be given once.
type Option interface{ apply(*config) }

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// config is what the options have said.
type config struct {
	name          string
	policy        Policy
	hostPolicies  []hostPolicy
	key           KeyFunc // nil means HostKey
	classifier    Classifier
	fallback      Fallback
	probeFilter   func(*http.Request) bool
	hook          func(context.Context, Transition)
	maxCircuits   int
	dryRun        bool
	meterProvider metric.MeterProvider
	maxMetricKeys int
	store         Store
	sharing       Sharing
	policies      *policies
	errs          []error
}

// fail remembers what is wrong with an option.
func (c *config) fail(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("breakerhttp: "+format, args...))
}

// option is an Option whose argument must not be nil.
func option(name string, missing bool, set func(*config)) Option {
	return optionFunc(func(c *config) {
		if missing {
			c.fail("%s is nil", name)
			return
		}
		set(c)
	})
}

// WithName sets circuit_breaker.name in telemetry, which tells the Transports of
// a process apart. The default is "default".
func WithName(name string) Option {
	return optionFunc(func(c *config) { c.name = name })
}

// WithPolicy sets the policy of every circuit that no [WithHostPolicy] matches.
// The default is the zero Policy.
func WithPolicy(p Policy) Option {
	return optionFunc(func(c *config) { c.policy = p })
}

// WithHostPolicy sets the policy of some circuits, in place of that of
// [WithPolicy]: a zero field means its default, not what WithPolicy says.
//
// The pattern is a host ("api.paypal.com": any scheme and port), a host and port
// ("api.paypal.com:443"), an origin ("https://api.paypal.com:8443"), all
// subdomains at any depth ("*.paypal.com": not paypal.com itself), or an exact
// key of [WithKey]. The most specific match counts: an exact key, then host and
// port, then host, then the longest wildcard. With [WithKey], all but the exact
// key match only keys that are an origin, a host, or a host and port. It may be
// given many times, but once for a pattern.
func WithHostPolicy(pattern string, p Policy) Option {
	return optionFunc(func(c *config) { c.hostPolicies = append(c.hostPolicies, hostPolicy{pattern, p}) })
}

// WithKey sets what requests share a circuit. The default is [HostKey]. Where a
// key is no origin, telemetry shows it as circuit_breaker.key, in place of
// server.address and server.port.
func WithKey(f KeyFunc) Option {
	return option("WithKey", f == nil, func(c *config) { c.key = f })
}

// WithClassifier sets what counts as a failure. The default is
// [DefaultClassifier].
func WithClassifier(f Classifier) Option {
	return option("WithClassifier", f == nil, func(c *config) { c.classifier = f })
}

// WithFallback sets what answers refused requests, in place of an [OpenError].
// The default is none.
func WithFallback(f Fallback) Option {
	return option("WithFallback", f == nil, func(c *config) { c.fallback = f })
}

// WithProbeFilter sets which requests may be sent as probes: those whose failure
// costs little. All others are refused until a probe has closed the circuit. The
// default is all requests.
func WithProbeFilter(f func(*http.Request) bool) Option {
	return option("WithProbeFilter", f == nil, func(c *config) { c.probeFilter = f })
}

// WithTransitionHook sets a function to call at each transition, with the
// context of the request that caused it. Calls for one circuit come one at a
// time and in order; calls for different circuits may run concurrently. No lock
// is held, and the hook may use the Transport. The request that caused a
// transition, or another one of the same circuit, waits for the hook. A read that
// notices a hung probe or a slow request calls it too, with a background context;
// so may a collection of metrics, from which the hook must neither flush metrics
// nor make instruments. So does a read of a circuit shared by [WithStore], in a
// goroutine of its own: a panic of the hook is an error of the store there.
func WithTransitionHook(f func(context.Context, Transition)) Option {
	return option("WithTransitionHook", f == nil, func(c *config) { c.hook = f })
}

// WithMaxCircuits bounds the number of circuits kept at once, not counting
// forced ones. The default is 10,000. To make room for a new one, a circuit is
// dropped that is closed, idle and without recent failures, or whose host has not
// been called for MaxOpenFor after its open time was over. If all are in use,
// requests to new hosts bypass the breaker.
func WithMaxCircuits(n int) Option {
	return optionFunc(func(c *config) { c.maxCircuits = n })
}

// WithDryRun makes the Transport judge and report, but refuse nothing. A request
// that would have been refused is counted as refused, and its result changes
// nothing.
func WithDryRun() Option {
	return optionFunc(func(c *config) { c.dryRun = true })
}

// WithMeterProvider sets where metrics go. The default is the global provider.
func WithMeterProvider(mp metric.MeterProvider) Option {
	return option("WithMeterProvider", mp == nil, func(c *config) { c.meterProvider = mp })
}

// WithMaxMetricKeys bounds the number of circuits with series of their own in
// metrics. The default is 500. All others are added up under the address
// "_other".
func WithMaxMetricKeys(n int) Option {
	return optionFunc(func(c *config) { c.maxMetricKeys = n })
}

// newConfig applies the options, and returns one error that names all that is
// wrong with them.
func newConfig(opts []Option) (*config, error) {
	c := &config{name: "default", maxCircuits: 10_000, maxMetricKeys: 500}
	for i, o := range opts {
		if o == nil {
			c.fail("option %d is nil", i)
			continue
		}
		o.apply(c)
	}
	if c.name == "" {
		c.name = "default"
	}
	if c.maxCircuits < 1 {
		c.fail("WithMaxCircuits is %d, want 1 or more", c.maxCircuits)
	}
	if c.maxMetricKeys < 0 {
		c.fail("WithMaxMetricKeys is %d, want 0 or more", c.maxMetricKeys)
	}
	var errs []error
	c.policies, errs = newPolicies(c.policy, c.hostPolicies, c.key != nil, c.store != nil)
	c.errs = append(c.errs, errs...)
	return c, errors.Join(c.errs...)
}
