package breakerhttp

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// Sympathy is for the time when our own network was away: many circuits open
// together, for hosts that are all healthy. When a probe closes one of them, the
// others are due at once. Each needs a successful probe of its own all the same.
type sympathy struct {
	mu    sync.Mutex
	falls map[*host]time.Duration // when circuits last opened, if by an error of the network
}

const (
	fellTogether = 10 * time.Second // apart at most
	fewestFalls  = 3                // fewer may be a coincidence
)

// networkErrors are the failures that our own network may cause.
var networkErrors = []string{errorTypeConnect, errorTypeConnection, errorTypeDNS, errorTypeTLS, errorTypeProxy, errorTypeTimeout}

// notice is told of each transition of h. If h has just recovered, it returns the
// hosts that fell together with it.
func (s *sympathy) notice(h *host, e circuit.Event) (others []*host) {
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

// with returns the circuits that opened together with h, if enough did. Some may have
// recovered already.
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

// forget drops a host that is evicted, or that another reason has opened.
func (s *sympathy) forget(h *host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.falls, h)
}

// hasten lets the circuits of hosts probe now, those that are open.
func (h *host) hasten(others []*host) {
	for _, other := range others {
		by := circuit.Cause{Context: context.Background()}
		other.circuit.Hasten(&by, "recovered with "+h.key)
		other.emit(&by)
	}
}
