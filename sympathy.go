package breakerhttp

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
	"github.com/breakerhttp/breakerhttp/internal/keytext"
)

// Sympathy is for failures of our own network: they open many circuits at the same time, although
// the hosts are healthy. When a probe closes one of these circuits, the others may probe at once.
// Each of them still needs a successful probe of its own to close.
type sympathy struct {
	mu    sync.Mutex
	falls map[*host]time.Duration // when each circuit last opened, if an error of the network opened it
}

const (
	fellTogether = 10 * time.Second // the longest time between two circuits that opened together
	fewestFalls  = 3                // fewer circuits that open together may be a coincidence
)

// networkErrors are the error types of failures that our own network may cause.
var networkErrors = []string{errorTypeConnect, errorTypeConnection, errorTypeDNS, errorTypeTLS, errorTypeProxy, errorTypeTimeout}

// record records a transition of h. If a probe has just closed the circuit, it returns the hosts
// whose circuits opened together with that of h.
func (s *sympathy) record(h *host, e circuit.Event) (others []*host) {
	switch {
	case e.From == circuit.Closed && e.To == circuit.Open && slices.Contains(networkErrors, e.ErrorType):
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.falls == nil {
			s.falls = map[*host]time.Duration{}
		}
		s.falls[h] = e.At
	case e.From == circuit.Closed: // opened by something else
		s.forget(h)
	case e.Reason == circuit.ProbeSucceeded:
		s.mu.Lock()
		defer s.mu.Unlock()
		if fell, ok := s.falls[h]; ok {
			others = s.with(h, fell)
		}
	}
	return others
}

// with returns the hosts whose circuits opened together with that of h, if they are enough. Some
// may have recovered already. The caller holds mu.
func (s *sympathy) with(h *host, fell time.Duration) (others []*host) {
	for other, at := range s.falls {
		if apart := at - fell; other != h && -fellTogether <= apart && apart <= fellTogether {
			others = append(others, other)
		}
	}
	if len(others)+1 < fewestFalls {
		return nil
	}
	return others
}

// forget drops a host whose circuit has been evicted, or has opened for another reason.
func (s *sympathy) forget(h *host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.falls, h)
}

// hasten lets those of the other hosts' circuits that are open probe now, because h has recovered.
func (h *host) hasten(others []*host) {
	for _, other := range others {
		by := circuit.Cause{Context: context.Background()}
		other.circuit.Hasten(&by, "recovered with "+keytext.Encode(h.key))
		defer other.emit(&by) // even if the hook panics for another
	}
}
