package breakerhttp

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
	"github.com/breakerhttp/breakerhttp/internal/keytext"
)

// journalSize is the number of transitions kept for [Transport.Transitions].
const journalSize = 256

// A journal keeps the latest transitions, and delivers each to the hook: those of
// one circuit in order and one at a time, without a lock.
type journal struct {
	hook func(context.Context, Transition)

	mu     sync.Mutex
	seq    uint64       // of the latest transition
	recent []Transition // a ring once it is full
	next   int          // in the ring: the oldest
}

// hookQueue holds the transitions of one circuit that are yet to be delivered.
type hookQueue struct {
	waiting []hookCall
	running bool // a goroutine delivers them
}

type hookCall struct {
	ctx context.Context
	tr  Transition
}

// Record implements [circuit.Owner].
func (h *host) Record(ctx context.Context, e circuit.Event) {
	tr := Transition{
		Key:     h.key,
		From:    State(e.From),
		To:      State(e.To),
		At:      h.t.clock().wall(e.At),
		Reason:  Reason(e.Reason),
		Detail:  e.Detail,
		OpenFor: e.OpenFor,
		Counts:  Counts(e.Counts),
		DryRun:  h.t.dryRun,
	}
	j := &h.t.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seq++
	tr.Seq = j.seq
	if len(j.recent) < journalSize {
		j.recent = append(j.recent, tr)
	} else {
		j.recent[j.next] = tr
		j.next = (j.next + 1) % journalSize
	}
	if j.hook != nil {
		if h.hooks == nil {
			h.hooks = new(hookQueue)
		}
		ctx = context.WithValue(ctx, transportName{}, h.t.name)
		h.hooks.waiting = append(h.hooks.waiting, hookCall{ctx, tr})
	}
}

// emit records the transitions that a request has caused, publishes them to the fleet, lets other
// hosts probe early if this one has recovered, and delivers the transitions to the hook. The hook
// comes last because it is the user's code, which may block or panic.
func (h *host) emit(by *circuit.Cause) {
	if len(by.Events) == 0 {
		return
	}
	events, others := h.recordEvents(by)
	h.publish(by.Context, events)
	defer h.t.journal.deliver(h) // even if the hook panics for one of the others
	h.hasten(others)
}

// emitRead is emit for those that must not wait for a store, such as a read.
func (h *host) emitRead(by *circuit.Cause) {
	if events, others := h.recordEvents(by); len(events) > 0 {
		if ctx := by.Context; h.member != nil {
			h.t.sharing.fleet.Go(func() { h.publish(ctx, events) })
		}
		defer h.t.journal.deliver(h)
		h.hasten(others)
	}
}

// recordEvents records the events in by, and takes them out of it. It returns the hosts that may
// probe early because this one has recovered.
func (h *host) recordEvents(by *circuit.Cause) (events []circuit.Event, others []*host) {
	events, by.Events = by.Events, nil
	for _, e := range events {
		h.recordTransition(by.Context, e)
		others = append(others, h.t.sympathy.record(h, e)...)
	}
	return events, others
}

// Transitions returns the latest 256 transitions, the oldest first.
func (t *Transport) Transitions() []Transition { return t.journal.latest() }

func (j *journal) latest() []Transition {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Concat(j.recent[j.next:], j.recent[:j.next])
}

// deliver calls the hook for the transitions of h that wait. If another goroutine is doing so, it
// leaves them to that goroutine. The same goes for a transition that the hook itself has caused.
func (j *journal) deliver(h *host) {
	for {
		call, ok := j.take(h)
		if !ok {
			return
		}
		j.callHook(h, call)
	}
}

// callHook calls the hook. Even if it panics, the transitions that wait are delivered.
func (j *journal) callHook(h *host, call hookCall) {
	returned := false
	defer func() {
		j.release(h)
		if !returned {
			j.deliver(h)
		}
	}()
	j.hook(call.ctx, call.tr)
	returned = true
}

func (j *journal) take(h *host) (call hookCall, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	q := h.hooks
	if q == nil || q.running || len(q.waiting) == 0 {
		return hookCall{}, false
	}
	call = q.waiting[0]
	q.waiting[0] = hookCall{}
	q.waiting = q.waiting[1:]
	q.running = true
	return call, true
}

func (j *journal) release(h *host) {
	j.mu.Lock()
	defer j.mu.Unlock()
	h.hooks.running = false
}

// delivering reports whether a transition of h is yet to be delivered.
func (j *journal) delivering(h *host) bool {
	if j.hook == nil {
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return h.hooks != nil && (h.hooks.running || len(h.hooks.waiting) > 0)
}

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
// What it finds out about them, such as probes that have timed out, is published in the background,
// because a request must not wait for all of them.
func (h *host) hasten(others []*host) {
	why := "recovered with " + keytext.Encode(h.key)
	for _, other := range others {
		if other.circuit.State() == circuit.Closed {
			continue // it has recovered too, as most have when thousands fell together
		}
		by := circuit.Cause{Context: context.Background()}
		other.circuit.Hasten(&by, why)
		if len(by.Events) > 0 {
			defer other.emitRead(&by) // even if the hook panics for another
		}
	}
}
