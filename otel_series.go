package breakerhttp

import (
	"context"
	"slices"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// A series is the set of attributes that one or more circuits are recorded with.
type series struct {
	metrics   *metrics
	index     int // in metrics.all
	common    []attribute.KeyValue
	announced atomic.Int32              // of steps
	status    [3][]metric.ObserveOption // by State
	outcomes  [4][]metric.ObserveOption // success, ignored, refused, limited

	// The following is under metrics.mu.
	past     circuit.Totals // of evicted circuits
	circuits int            // that exist and are recorded with it
	ended    bool           // it had no circuit at the latest collection
}

func (m *metrics) newSeries(index int, common []attribute.KeyValue) *series {
	s := &series{metrics: m, index: index, common: common}
	for state := range s.status {
		s.status[state] = []metric.ObserveOption{s.with(stateKey.String(State(state).String()))}
	}
	for i, outcome := range []string{"success", "ignored", "refused", "limited"} {
		s.outcomes[i] = []metric.ObserveOption{s.with(outcomeKey.String(outcome))}
	}
	return s
}

// with returns the common attributes and more.
func (s *series) with(more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(append(more, s.common...)...))
}

// seriesOf returns the series of a new circuit.
func (m *metrics) seriesOf(key string) *series {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.place(key)
	s.circuits++
	return s
}

// place finds a series for a key: its own, if there is one or room for one.
func (m *metrics) place(key string) *series {
	if s, ok := m.own[key]; ok {
		return s
	}
	common := m.address(key)
	// Two origins may have one address: http and https on the same port.
	i := slices.IndexFunc(m.all, func(s *series) bool { return !s.ended && slices.Equal(s.common, common) })
	if i < 0 {
		if i = m.room(); i == 0 {
			return m.all[0]
		}
		m.all[i] = m.newSeries(i, common)
	}
	m.own[key] = m.all[i]
	return m.all[i]
}

// room returns a place for another series: that of one which has ended, a new one,
// or that of one whose circuits have gone. It returns 0 if there is none.
func (m *metrics) room() int {
	if i := slices.IndexFunc(m.all, func(s *series) bool { return s.ended }); i > 0 {
		return i
	}
	if len(m.all) <= m.maxKeys {
		m.all = append(m.all, nil)
		return len(m.all) - 1
	}
	for i, s := range m.all[1:] {
		if s.circuits == 0 {
			m.end(s)
			return i + 1
		}
	}
	return 0
}

// steps are the transitions of an ordinary life.
var steps = [...][2]State{
	{StateClosed, StateOpen},
	{StateOpen, StateHalfOpen},
	{StateHalfOpen, StateClosed},
	{StateHalfOpen, StateOpen},
}

// eagerSeries is how many series announce all steps at once. Later ones announce only
// the first until they open: the SDK keeps 2000 sets of attributes an instrument.
const eagerSeries = 300

// announce adds 0 to the transitions of a new circuit, so that the first is an increase.
func (s *series) announce() {
	n := 1
	if s.index < eagerSeries {
		n = len(s.metrics.steps)
	}
	s.announceSteps(n)
}

func (s *series) announceSteps(n int) {
	done := int(s.announced.Swap(int32(n)))
	for _, step := range s.metrics.steps[min(done, n):n] {
		s.addTransition(context.Background(), 0, step[0], step[1])
	}
}

func (s *series) addTransition(ctx context.Context, n int64, from, to State) {
	s.metrics.transitions.Add(ctx, n, s.with(previousStateKey.String(from.String()), stateKey.String(to.String())))
}

// leave is called when a circuit has been evicted, with its totals.
func (s *series) leave(totals circuit.Totals) {
	s.retire(totals)
	s.metrics.mu.Lock()
	defer s.metrics.mu.Unlock()
	s.circuits--
}

// retire keeps the totals of a circuit that is gone.
func (s *series) retire(totals circuit.Totals) { s.add(&s.past, totals) }

// add adds the totals of a circuit to a sum that began as the past. Whether an error
// type has a count of its own, or counts as _OTHER, is decided once: otherwise a
// counter could go down.
func (s *series) add(sum *circuit.Totals, totals circuit.Totals) {
	s.metrics.mu.Lock()
	defer s.metrics.mu.Unlock()
	for _, f := range totals.Failures {
		s.past.Fail(f.Type, 0)
	}
	for _, f := range s.past.Failures[len(sum.Failures):] {
		sum.Fail(f.Type, 0)
	}
	sum.Add(totals)
}

// endSeries ends the series that have no circuit, except that of _other. A series
// that gets a circuit before the next collection does not end.
func (m *metrics) endSeries() {
	for _, s := range m.all[1:] {
		if s.circuits == 0 {
			m.end(s)
		}
	}
}

func (m *metrics) end(s *series) {
	if s.ended {
		return
	}
	s.ended = true
	for key, own := range m.own {
		if own == s {
			delete(m.own, key)
		}
	}
}
