package breakerhttp

import (
	"container/list"
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
	"github.com/breakerhttp/breakerhttp/internal/keytext"
)

// An address is what the circuits of a series have in common: the host and port of their keys, or
// the key itself if it is no origin.
type address struct {
	host string
	port int
	key  string
}

// otherAddress is the address of all circuits that have no series of their own.
var otherAddress = address{host: "_other"}

func newAddress(key string) address {
	if host, port, ok := addressOf(key); ok {
		return address{host: host, port: port}
	}
	return address{key: key}
}

// attributes returns valid UTF-8 for a key of any bytes: one invalid value would stop the whole
// export.
func (a address) attributes() []attribute.KeyValue {
	switch {
	case a == otherAddress:
		return []attribute.KeyValue{serverAddressKey.String(a.host)}
	case a.key != "":
		return []attribute.KeyValue{circuitKeyKey.String(keytext.Encode(a.key))}
	}
	return []attribute.KeyValue{serverAddressKey.String(a.host), serverPortKey.Int(a.port)}
}

// A series sums up the circuits of one address.
type series struct {
	metrics     *metrics
	address     address
	index       int          // in metrics.all
	takesOver   bool         // another series had the index before
	initialized atomic.Int32 // number of steps

	// metrics.mu guards the following.
	options  *seriesOptions // nil before the first collection
	past     circuit.Totals // of evicted circuits
	circuits int            // number of present circuits
	used     bool           // it has had a circuit
	free     *list.Element  // in metrics.free; nil if it has circuits
	ended    bool           // it had no circuit at the latest collection, or has lost its index
}

// seriesOptions are the attributes of observations, made once.
type seriesOptions struct {
	status   [3][]metric.ObserveOption // by State
	outcomes [4][]metric.ObserveOption // as outcomes
}

// outcomes are the outcomes of requests that have no error type.
var outcomes = [...]string{"success", "ignored", "refused", "limited"}

// prepare makes what observations need. The caller holds metrics.mu.
func (s *series) prepare() {
	if s.options != nil {
		return
	}
	s.options = new(seriesOptions)
	for state := range s.options.status {
		s.options.status[state] = []metric.ObserveOption{s.with(stateKey.String(State(state).String()))}
	}
	for i, outcome := range outcomes {
		s.options.outcomes[i] = []metric.ObserveOption{s.with(outcomeKey.String(outcome))}
	}
}

// with returns the attributes of the series, and more.
func (s *series) with(more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(append(more, s.metrics.with(s.address.attributes()...)...)...))
}

// seriesOf returns the series of a new circuit.
func (m *metrics) seriesOf(key string) *series {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.place(newAddress(key))
	if s.free != nil {
		m.free.Remove(s.free)
		s.free = nil
	}
	s.circuits++
	s.used = true
	return s
}

// place returns the series of an address, and makes it if there is none and there is room. Two
// origins have the same address if they are http and https on one port.
func (m *metrics) place(a address) *series {
	if s, ok := m.byAddress[a]; ok {
		return s
	}
	i := m.room()
	if i == 0 {
		return m.all[0]
	}
	s := &series{metrics: m, address: a, index: i, takesOver: m.all[i] != nil}
	m.all[i], m.byAddress[a] = s, s
	return s
}

// room returns the index of another series: a new index, or that of the series that has been
// without circuits for longest. It returns 0 if there is no room.
func (m *metrics) room() int {
	if len(m.all) <= m.maxKeys {
		m.all = append(m.all, nil)
		return len(m.all) - 1
	}
	first := m.free.Front()
	if first == nil {
		return 0
	}
	s := m.free.Remove(first).(*series)
	m.end(s)
	return s.index
}

// steps are the usual transitions of a circuit. The first opens it.
var steps = [...][2]State{
	{StateClosed, StateOpen},
	{StateOpen, StateHalfOpen},
	{StateHalfOpen, StateClosed},
	{StateHalfOpen, StateOpen},
}

// eagerSeries is how many series initialize all steps at once. Later ones initialize only the first
// until they open: the SDK keeps 2000 sets of attributes per instrument.
const eagerSeries = 300

// initializeFirst initializes a new series at once. A series that takes over an index has to wait for
// the next collection, because otherwise a caller that sends each request to a new host could make
// requests expensive.
func (s *series) initializeFirst() {
	if !s.takesOver {
		s.initialize()
	}
}

// initialize adds 0 to the transitions of a new series, so that monitoring sees the first transition
// as an increase.
func (s *series) initialize() {
	switch {
	case s.initialized.Load() > 0:
	case s.index == 0 || s.metrics.eager.Add(1) <= eagerSeries:
		s.initializeSteps(len(s.metrics.steps))
	default:
		s.initializeSteps(1)
	}
}

func (s *series) initializeSteps(n int) {
	done := int(s.initialized.Swap(int32(n)))
	for _, step := range s.metrics.steps[min(done, n):n] {
		s.addTransition(context.Background(), 0, step[0], step[1])
	}
}

func (s *series) addTransition(ctx context.Context, n int64, from, to State) {
	s.metrics.transitions.Add(ctx, n, s.with(previousStateKey.String(from.String()), stateKey.String(to.String())))
}

// leave removes an evicted circuit, whose totals it takes over.
func (s *series) leave(totals circuit.Totals) {
	m := s.metrics
	m.mu.Lock()
	defer m.mu.Unlock()
	s.past.Add(totals)
	if s.circuits--; s.circuits == 0 && s.index > 0 {
		s.free = m.free.PushBack(s)
	}
}

// retire adds what an evicted circuit counts later.
func (s *series) retire(totals circuit.Totals) {
	s.metrics.mu.Lock()
	defer s.metrics.mu.Unlock()
	s.past.Add(totals)
}

// add adds the totals of a circuit to a sum that began as the past.
func (s *series) add(sum *circuit.Totals, totals circuit.Totals) {
	if len(totals.Failures) > 0 {
		s.meetTypes(sum, totals.Failures)
	}
	sum.Add(totals)
}

// meetTypes decides only once whether an error type has a count of its own or counts as _OTHER.
// Otherwise a counter could go down.
func (s *series) meetTypes(sum *circuit.Totals, failures []circuit.ErrorTotal) {
	s.metrics.mu.Lock()
	defer s.metrics.mu.Unlock()
	for _, f := range failures {
		s.past.Fail(f.Type, 0)
	}
	for _, f := range s.past.Failures[len(sum.Failures):] {
		sum.Fail(f.Type, 0)
	}
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
	delete(m.byAddress, s.address)
	if s.options != nil { // it has been collected
		m.collector.end(s)
	}
}

// has reports whether an address has a series.
func (m *metrics) has(a address) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.byAddress[a] != nil
}
