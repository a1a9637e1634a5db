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
	falls map[*host]fall
}

// A fall is the latest opening of a circuit by an error of the network.
type fall struct {
	at   time.Duration
	open bool // it has not closed since
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
	case e.Uncounted:
	case e.From == circuit.Closed && e.To == circuit.Open && slices.Contains(networkErrors, e.ErrorType):
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.falls == nil {
			s.falls = map[*host]fall{}
		}
		s.falls[h] = fall{e.At, true}
	case e.To == circuit.Closed || e.From == circuit.Closed:
		s.mu.Lock()
		defer s.mu.Unlock()
		if own, ok := s.falls[h]; ok && own.open && e.Reason == circuit.ProbeSucceeded {
			others = s.with(h, own)
		}
		if e.To == circuit.Closed {
			s.close(h)
		} else {
			delete(s.falls, h) // opened by something else
		}
	}
	return others
}

// with returns the open circuits that fell together with h, if enough did.
func (s *sympathy) with(h *host, own fall) (open []*host) {
	n := 0
	for other, f := range s.falls {
		if apart := f.at - own.at; -fellTogether <= apart && apart <= fellTogether {
			n++
			if f.open && other != h {
				open = append(open, other)
			}
		}
	}
	if n < fewestFalls {
		return nil
	}
	return open
}

func (s *sympathy) close(h *host) {
	if f, ok := s.falls[h]; ok {
		f.open = false
		s.falls[h] = f
	}
}

// forget drops a host that is evicted.
func (s *sympathy) forget(h *host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.falls, h)
}

// hasten lets the circuits of hosts probe now.
func (h *host) hasten(others []*host) {
	for _, other := range others {
		by := circuit.Cause{Context: context.Background()}
		other.circuit.Hasten(&by, "recovered with "+h.key)
		other.emit(&by)
	}
}
