package breakerhttp

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
	"github.com/breakerhttp/breakerhttp/internal/keytext"
)

// State of a circuit.
type State uint8

const (
	StateClosed   State = iota // admits requests
	StateOpen                  // refuses them
	StateHalfOpen              // admits probes only
)

// String returns "closed", "open" or "half_open".
func (s State) String() string {
	switch s {
	case StateClosed:
		return "closed"
	case StateOpen:
		return "open"
	case StateHalfOpen:
		return "half_open"
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// MarshalText returns what String does.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (s *State) UnmarshalText(text []byte) error {
	for _, state := range []State{StateClosed, StateOpen, StateHalfOpen} {
		if string(text) == state.String() {
			*s = state
			return nil
		}
	}
	return fmt.Errorf("breakerhttp: State is %q, want closed, open or half_open", text)
}

// A Snapshot describes a circuit at a moment.
type Snapshot struct {
	Key      string    `json:"key"`
	State    State     `json:"state"` // as of now: an open circuit whose time is up is half-open
	Forced   bool      `json:"forced"`
	Since    time.Time `json:"since"`          // when State was entered
	Until    time.Time `json:"until,omitzero"` // when an open circuit admits its first probe; zero in other states, while forced, and while another process probes
	Reason   string    `json:"reason"`         // of the latest opening, as in OpenError; "" if it never opened
	Counts   Counts    `json:"counts"`         // see Counts
	Totals   Totals    `json:"totals"`         // since the circuit was made
	InFlight int       `json:"in_flight"`      // requests that wait for their response headers
	Limit    int       `json:"limit"`          // requests that an Adaptive circuit admits at once while it recovers; 0 means no bound
	DryRun   bool      `json:"dry_run"`        // the Transport refuses nothing: see WithDryRun
	Policy   Policy    `json:"policy"`         // the one in force, defaults filled in
}

// MarshalJSON writes a key of any bytes as valid UTF-8. Two keys never have the same text.
func (s Snapshot) MarshalJSON() ([]byte, error) {
	type fields Snapshot
	s.Key = keytext.Encode(s.Key)
	return json.Marshal(fields(s))
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Snapshot) UnmarshalJSON(b []byte) error {
	type fields Snapshot
	if err := json.Unmarshal(b, (*fields)(s)); err != nil {
		return err
	}
	s.Key = keytext.Decode(s.Key)
	return nil
}

// Totals count the requests of a circuit by what became of them. They never go down. A response
// whose body fails has counted as a success at first, so it counts twice: as a success and as a
// failure.
type Totals struct {
	Success uint64 `json:"success"`
	Failure uint64 `json:"failure"`
	Ignored uint64 `json:"ignored"`
	Refused uint64 `json:"refused"`
	Limited uint64 `json:"limited"`
}

// Snapshot describes the circuit of a key, which is read as
// [Transport.ForceOpen] reads it. It returns false if there is none.
func (t *Transport) Snapshot(key string) (Snapshot, bool) {
	h, ok := t.named(key)
	if !ok {
		return Snapshot{}, false
	}
	return h.snapshot(), true
}

// Snapshots describes every circuit, each as of the moment it is yielded, in no
// order.
func (t *Transport) Snapshots() iter.Seq[Snapshot] {
	t.mustBeMade()
	return func(yield func(Snapshot) bool) {
		for _, h := range t.hosts.All() {
			if !yield(h.snapshot()) {
				return
			}
		}
	}
}

func (h *host) snapshot() Snapshot {
	by := circuit.Cause{Context: context.Background()}
	s := h.circuit.Snapshot(&by)
	clock := h.t.clock()
	h.emitRead(&by)
	snap := Snapshot{
		Key:      h.key,
		State:    State(s.State),
		Forced:   s.Forced,
		Since:    clock.wall(s.Since),
		Reason:   s.Detail,
		Counts:   Counts(s.Counts),
		Totals:   Totals{s.Totals.Success, s.Totals.Failure(), s.Totals.Ignored, s.Totals.Refused, s.Totals.Limited},
		InFlight: s.InFlight,
		Limit:    s.Limit,
		DryRun:   h.t.dryRun,
		Policy:   s.Config.Source.(Policy),
	}
	if s.Until > 0 {
		snap.Until = clock.wall(s.Until)
	}
	return snap
}
