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

// config holds what the options have set.
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

// option returns an Option whose argument must not be nil.
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
// given many times, but only once for each pattern.
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
// The default is none: the caller gets the error.
func WithFallback(f Fallback) Option {
	return option("WithFallback", f == nil, func(c *config) { c.fallback = f })
}

// WithProbeFilter sets which requests may be sent as probes: those for which f returns true, which
// should be those whose failure costs little. All others are refused until a probe has closed the
// circuit. The default is all requests. f is called concurrently, and no lock is held.
func WithProbeFilter(f func(*http.Request) bool) Option {
	return option("WithProbeFilter", f == nil, func(c *config) { c.probeFilter = f })
}

// WithTransitionHook sets a function to call at each transition. The default is none.
//
// Calls for one circuit come one at a time and in order. Calls for different circuits may run
// concurrently. No lock is held, so the hook may use the Transport.
//
// The hook is called
//   - by the request that caused the transition, with that request's context. The request waits for
//     the hook, or another request of the same circuit does.
//   - by any other method of the Transport that causes a transition or finds that one is due:
//     [Transport.WaitReady] with the context of its request, all others with a background context.
//   - by a collection of metrics that finds that a transition is due, with a background context.
//     The hook must then neither flush metrics nor make instruments.
//   - with [WithStore], by a goroutine of the Transport that has read what other processes found,
//     with a background context. If the hook panics there, Sharing.OnError gets the error.
func WithTransitionHook(f func(context.Context, Transition)) Option {
	return option("WithTransitionHook", f == nil, func(c *config) { c.hook = f })
}

// WithMaxCircuits bounds the number of circuits kept at once, not counting forced ones. The default
// is 10,000; n must be 1 or more. To make room for a new circuit, the Transport drops one that is
// closed, idle and without recent failures, or one whose host has not been called for MaxOpenFor
// after its open time was over. If all are in use, requests to new hosts bypass the breaker. The
// Transport then looks for no circuit to drop for 5 ms per 64 circuits (0.8 s for 10,000), so that
// many new hosts cost little.
func WithMaxCircuits(n int) Option {
	return optionFunc(func(c *config) { c.maxCircuits = n })
}

// WithDryRun makes the Transport judge and report, but refuse nothing. A request that it would have
// refused is sent and counted as refused, and its result changes nothing.
func WithDryRun() Option {
	return optionFunc(func(c *config) { c.dryRun = true })
}

// WithMeterProvider sets where metrics go. The default is the global provider. The metrics of a
// Transport end when it becomes garbage, so a program that ends soon must keep it until the last
// export.
func WithMeterProvider(mp metric.MeterProvider) Option {
	return option("WithMeterProvider", mp == nil, func(c *config) { c.meterProvider = mp })
}

// WithMaxMetricKeys bounds the number of circuits with series of their own in metrics. The default
// is 500; with 0 no circuit has its own. The metrics of all other circuits are added up under the
// server.address "_other".
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
