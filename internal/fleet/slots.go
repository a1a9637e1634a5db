package fleet

import (
	"slices"
	"sync"
	"time"
)

// maxCalls is how many calls of the store a Transport has under way at most. If many hosts fail at
// the same time, that must neither exhaust the store's connections nor delay its answers.
const maxCalls = 16

// slots bounds the calls that are under way. Verdicts come first, because all other processes wait
// for them.
type slots struct {
	mu      sync.Mutex
	taken   int
	urgent  []chan struct{} // closed when their turn comes
	waiting []chan struct{}
}

// take takes a slot, and waits at most limit for it. It reports whether it has got one, and whether
// it had to wait.
func (s *slots) take(limit time.Duration, urgent bool) (ok, waited bool) {
	s.mu.Lock()
	if s.taken < maxCalls {
		s.taken++
		s.mu.Unlock()
		return true, false
	}
	turn := make(chan struct{})
	queue := &s.waiting
	if urgent {
		queue = &s.urgent
	}
	*queue = append(*queue, turn)
	s.mu.Unlock()

	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-turn:
		return true, true
	case <-timer.C:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(*queue, turn)
	if i < 0 {
		return true, true // its turn has just come
	}
	*queue = slices.Delete(*queue, i, i+1)
	return false, true
}

// free frees a slot, or gives it to the next caller that waits.
func (s *slots) free() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, queue := range []*[]chan struct{}{&s.urgent, &s.waiting} {
		if len(*queue) > 0 {
			close((*queue)[0])
			*queue = (*queue)[1:]
			return
		}
	}
	s.taken--
}
