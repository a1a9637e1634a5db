package breakerhttp

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"weak"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// A collector has the instruments of all Transports with one name on one provider, and one callback
// for them: if two callbacks observed one gauge, the SDK would keep only the last value. It holds
// the Transports weakly, so that one that is no longer used is collected as garbage, and is not
// counted.
type collector struct {
	status      metric.Int64ObservableGauge
	transitions metric.Int64Counter
	requests    metric.Int64ObservableCounter
	untracked   metric.Int64ObservableCounter
	unguarded   metric.Int64ObservableCounter

	registration metric.Registration

	// A collection takes mu and not the lock of collectors, which is held while instruments are made:
	// the SDK lets that wait for the end of a collection.
	mu         sync.Mutex
	transports []weak.Pointer[Transport]
	ended      map[address]observation // totals of series that have ended, while others with their address go on
}

// collectors are those in use.
var collectors = struct {
	sync.Mutex
	byKey map[collectorKey]*collector
}{byKey: map[collectorKey]*collector{}}

type collectorKey struct {
	provider metric.MeterProvider
	name     string
	dryRun   bool
}

// collect adds t, whose metrics are m, to the Transports that are collected.
func collect(t *Transport, m *metrics, key collectorKey) {
	collectors.Lock()
	defer collectors.Unlock()
	shared := reflect.TypeOf(key.provider).Comparable() // otherwise it cannot be a key
	if shared {
		m.collector = collectors.byKey[key]
	}
	if m.collector == nil {
		m.collector = newCollector(key.provider)
		if shared {
			collectors.byKey[key] = m.collector
		}
	}
	t.metrics = m
	m.collector.mu.Lock()
	m.transports = append(m.transports, weak.Make(t))
	m.collector.mu.Unlock()
	runtime.AddCleanup(t, func(c *collector) { c.sweep(key, shared) }, m.collector)
}

func newCollector(provider metric.MeterProvider) *collector {
	meter := provider.Meter(scopeName, metric.WithInstrumentationVersion(scopeVersion))
	c := &collector{ended: map[address]observation{}}
	var errs [6]error
	c.status, errs[0] = meter.Int64ObservableGauge("circuit_breaker.status", metric.WithUnit("{circuit}"),
		metric.WithDescription("Circuits in this state."))
	c.transitions, errs[1] = meter.Int64Counter("circuit_breaker.transitions", metric.WithUnit("{transition}"),
		metric.WithDescription("Changes of a circuit's state."))
	c.requests, errs[2] = meter.Int64ObservableCounter("circuit_breaker.requests", metric.WithUnit("{request}"),
		metric.WithDescription("Requests by what became of them."))
	c.untracked, errs[3] = meter.Int64ObservableCounter("circuit_breaker.untracked", metric.WithUnit("{request}"),
		metric.WithDescription("Requests sent without a circuit, because the limit was reached."))
	c.unguarded, errs[4] = meter.Int64ObservableCounter("circuit_breaker.unguarded", metric.WithUnit("{request}"),
		metric.WithDescription("Requests sent without a circuit, because they have no key."))
	c.registration, errs[5] = meter.RegisterCallback(c.observe, c.status, c.requests, c.untracked, c.unguarded)
	if err := errors.Join(errs[:]...); err != nil {
		otel.Handle(err)
	}
	return c
}

// sweep drops the Transports that are garbage. If none is left, it drops the collector too.
func (c *collector) sweep(key collectorKey, shared bool) {
	collectors.Lock()
	defer collectors.Unlock()
	c.mu.Lock()
	c.transports = slices.DeleteFunc(c.transports, func(p weak.Pointer[Transport]) bool { return p.Value() == nil })
	unused := len(c.transports) == 0
	c.mu.Unlock()
	if !unused {
		return
	}
	if shared && collectors.byKey[key] == c {
		delete(collectors.byKey, key)
	}
	if c.registration != nil {
		_ = c.registration.Unregister()
	}
}

// observe records the state and the totals of every circuit.
func (c *collector) observe(_ context.Context, o metric.Observer) error {
	c.mu.Lock()
	transports := slices.Clone(c.transports)
	c.mu.Unlock()
	statuses := statusSums{}
	for _, p := range transports {
		if t := p.Value(); t != nil {
			t.observe(o, len(transports) > 1, statuses)
		}
	}
	for _, sum := range statuses {
		sum.recordStatus(o)
	}
	c.recordEnded(o, transports)
	return nil
}

// end keeps the totals of a series that has ended. Another one with the same address may go on, of
// this Transport or of another one, and their sum must not fall.
func (c *collector) end(s *series) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := observation{series: s, totals: c.ended[s.address].totals}
	sum.totals.Failures = slices.Clone(sum.totals.Failures) // a collection may be reading them
	sum.totals.Add(s.past)
	c.ended[s.address] = sum
}

// recordEnded records the totals that end has kept, and drops those whose address has no series any
// more.
func (c *collector) recordEnded(o metric.Observer, transports []weak.Pointer[Transport]) {
	c.mu.Lock()
	ended := maps.Clone(c.ended)
	c.mu.Unlock()
	for a, sum := range ended {
		goesOn := func(p weak.Pointer[Transport]) bool { t := p.Value(); return t != nil && t.metrics.has(a) }
		if slices.ContainsFunc(transports, goesOn) {
			sum.recordRequests(o)
			continue
		}
		c.mu.Lock()
		delete(c.ended, a)
		c.mu.Unlock()
	}
}

// statusSums are the states of the circuits of several Transports, by address.
type statusSums map[address]*observation

func (s statusSums) add(all *observation) {
	sum := s[all.address]
	if sum == nil {
		sum = &observation{series: all.series}
		s[all.address] = sum
	}
	for state, n := range all.states {
		sum.states[state] += n
	}
}

// An observation is what a collection records about a series.
type observation struct {
	*series // nil if there is nothing to record
	totals  circuit.Totals
	states  [3]int64 // number of circuits, by State
}

// observe records the metrics of t. If several Transports are summed up, it adds the
// status to statuses instead of recording it.
func (t *Transport) observe(o metric.Observer, summed bool, statuses statusSums) {
	var hosts []*host
	var all []observation
	// A circuit must be either among the hosts or in the past of its series. Otherwise a counter
	// could go down.
	t.hosts.Locked(func(live []*host) { hosts, all = live, t.metrics.observations() })
	for _, h := range hosts {
		by := circuit.Cause{Context: context.Background()}
		s := h.circuit.Snapshot(&by)
		h.emitRead(&by)
		sum := &all[h.series.index]
		sum.add(&sum.totals, s.Totals)
		sum.states[s.State]++
	}
	for i := range all {
		if all[i].series == nil {
			continue
		}
		all[i].initialize()
		switch {
		case all[i].states == [3]int64{}: // it has no circuits now
		case summed:
			statuses.add(&all[i])
		default:
			all[i].recordStatus(o)
		}
		all[i].recordRequests(o)
	}
	transport := metric.WithAttributes(t.metrics.transport...)
	o.ObserveInt64(t.metrics.untracked, int64(t.untracked.Load()), transport)
	o.ObserveInt64(t.metrics.unguarded, int64(t.unguarded.Load()), transport)
}

// observations returns an observation for each series, with the totals of its evicted circuits.
func (m *metrics) observations() []observation {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endSeries()
	all := make([]observation, len(m.all))
	for i, s := range m.all {
		if s.ended || !s.used {
			continue
		}
		s.prepare()
		all[i] = observation{series: s, totals: s.past}
		all[i].totals.Failures = slices.Clone(s.past.Failures)
	}
	return all
}

func (sum *observation) recordStatus(o metric.Observer) {
	for state, n := range sum.states {
		o.ObserveInt64(sum.metrics.status, n, sum.options.status[state]...)
	}
}

func (sum *observation) recordRequests(o metric.Observer) {
	m := sum.metrics
	for i, n := range []uint64{sum.totals.Success, sum.totals.Ignored, sum.totals.Refused, sum.totals.Limited} {
		if n == 0 && outcomes[i] == "limited" {
			continue // few hosts ever limit, and the SDK has no room for such a series of each host
		}
		o.ObserveInt64(m.requests, int64(n), sum.options.outcomes[i]...)
	}
	for _, f := range sum.totals.Failures {
		o.ObserveInt64(m.requests, int64(f.Count), sum.with(outcomeKey.String("failure"), errorTypeKey.String(f.Type)))
	}
}
