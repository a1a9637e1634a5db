package breakerhttp

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
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

// A Snapshot is what a circuit is at a moment.
type Snapshot struct {
	Key      string    `json:"key"`
	State    State     `json:"state"` // as of now: an open circuit whose time is up is half-open
	Forced   bool      `json:"forced"`
	Since    time.Time `json:"since"`          // State was entered
	Until    time.Time `json:"until,omitzero"` // an open circuit admits its first probe; zero otherwise
	Reason   string    `json:"reason"`         // of the latest opening, as in OpenError; "" if it never opened
	Counts   Counts    `json:"counts"`         // see Counts
	Totals   Totals    `json:"totals"`         // since the circuit was made
	InFlight int       `json:"in_flight"`      // requests that wait for their response headers
}

// Totals never go down. A response whose body fails was a success at first; that
// failure is counted on top.
type Totals struct {
	Success uint64 `json:"success"`
	Failure uint64 `json:"failure"`
	Ignored uint64 `json:"ignored"`
	Refused uint64 `json:"refused"`
}

// A Transition is a change of a circuit's state.
type Transition struct {
	Key     string        `json:"key"`
	From    State         `json:"from"`
	To      State         `json:"to"`
	At      time.Time     `json:"at"`
	Reason  Reason        `json:"reason"`   // machine-readable
	Detail  string        `json:"detail"`   // for people, as OpenError.Reason
	OpenFor time.Duration `json:"open_for"` // if To is StateOpen, and not forced; in JSON a number of seconds
	Counts  Counts        `json:"counts"`   // of From, as it ended
}

// A Reason of a [Transition] is "consecutive_failures", "failure_ratio",
// "slow_ratio", "trip_when", "open_elapsed", "probe_succeeded", "probe_failed",
// "probe_timeout", "forced", "reset" or "shared".
type Reason string

// MarshalJSON writes OpenFor as a number of seconds.
func (tr Transition) MarshalJSON() ([]byte, error) {
	type fields Transition
	return json.Marshal(struct {
		fields
		OpenFor float64 `json:"open_for"` // in place of the embedded one
	}{fields(tr), tr.OpenFor.Seconds()})
}

// LogTransitions returns a hook for [WithTransitionHook] that logs each
// transition to l: opening as a warning, all else as information.
func LogTransitions(l *slog.Logger) func(context.Context, Transition) {
	return func(ctx context.Context, tr Transition) {
		level := slog.LevelInfo
		if tr.To == StateOpen {
			level = slog.LevelWarn
		}
		attrs := []slog.Attr{
			slog.String("key", tr.Key),
			slog.String("from", tr.From.String()),
			slog.String("to", tr.To.String()),
			slog.String("reason", string(tr.Reason)),
			slog.String("detail", tr.Detail),
		}
		if tr.OpenFor > 0 {
			attrs = append(attrs, slog.Duration("open_for", tr.OpenFor))
		}
		l.LogAttrs(ctx, level, "circuit "+tr.To.String(), attrs...)
	}
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
	clock := h.t.clock()
	s := h.circuit.Snapshot(&by, clock.now)
	h.notice(&by)
	snap := Snapshot{
		Key:      h.key,
		State:    State(s.State),
		Forced:   s.Forced,
		Since:    clock.wall(s.Since),
		Reason:   s.Detail,
		Counts:   Counts(s.Counts),
		Totals:   Totals{s.Totals.Success, s.Totals.Failure(), s.Totals.Ignored, s.Totals.Refused},
		InFlight: s.InFlight,
	}
	if s.Until > 0 {
		snap.Until = clock.wall(s.Until)
	}
	return snap
}

// Transitions returns the latest 256 transitions, the oldest first.
func (t *Transport) Transitions() []Transition { return t.journal.latest() }

// ForceOpen makes the circuit of a key refuse every request until
// [Transport.Reset]; in a dry run it still refuses none. It makes the circuit if
// there is none. It acts on this process only, also with [WithStore].
//
// Without [WithKey] the key may be any URL of the host, or the host alone: that
// means https, unless its port is 80. So the circuit of "http://api.example.com"
// must be named with its scheme. With [WithKey] the key is taken as it is. The
// key "" guards nothing, and is not forced.
func (t *Transport) ForceOpen(key string) { t.force(key, (*circuit.Circuit).ForceOpen) }

// ForceClosed makes the circuit of a key admit every request until
// [Transport.Reset]; it still counts. It makes the circuit if there is none. The
// key is read, and this process alone is acted on, as by [Transport.ForceOpen].
func (t *Transport) ForceClosed(key string) { t.force(key, (*circuit.Circuit).ForceClosed) }

func (t *Transport) force(key string, to func(*circuit.Circuit, *circuit.Cause, time.Duration) (first, ok bool)) {
	if key == "" {
		return // guards nothing
	}
	by := circuit.Cause{Context: context.Background()}
	for {
		h := t.forced(key)
		first, ok := to(&h.circuit, &by, t.now())
		if !ok {
			continue // evicted meanwhile
		}
		if first {
			t.hosts.Pin(1)
		}
		h.tell(&by)
		return
	}
}

// Reset closes the circuit of a key, empties its counts, and ends forcing it. It
// does nothing if there is none. The key is read as by [Transport.ForceOpen].
// With [WithStore], this process ignores the circuit's present record until there
// is a newer one; the other processes do not.
func (t *Transport) Reset(key string) {
	h, ok := t.named(key)
	if !ok {
		return
	}
	by := circuit.Cause{Context: context.Background()}
	if h.circuit.Reset(&by, t.now()) {
		t.hosts.Pin(-1)
	}
	if h.member != nil {
		h.member.Reset()
	}
	h.tell(&by)
}
