package breakerhttp

import (
	"context"
	"fmt"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// ForceOpen makes the circuit of a key refuse every request until
// [Transport.Reset]; in a dry run it still refuses none. It makes the circuit if
// there is none. It acts on this process only, also with [WithStore]. If this
// process probes for others, it gives that up, which takes at most WriteTimeout.
//
// Without [WithKey] the key may be any URL of the host, or the host alone: that
// names the circuit with that host and port, if there is only one. Otherwise it
// means https, unless the port is 80. With [WithKey] the key is taken as it is.
// With the key "" it does nothing, because no circuit has that key.
func (t *Transport) ForceOpen(key string) { t.force(key, (*circuit.Circuit).ForceOpen) }

// ForceClosed makes the circuit of a key admit every request until [Transport.Reset]. The circuit
// still counts. In all else ForceClosed does what [Transport.ForceOpen] does.
func (t *Transport) ForceClosed(key string) { t.force(key, (*circuit.Circuit).ForceClosed) }

func (t *Transport) force(key string, to func(*circuit.Circuit, *circuit.Cause) (first, ok bool)) {
	if key == "" {
		return
	}
	by := circuit.Cause{Context: context.Background()}
	for {
		h := t.forced(key)
		first, ok := to(&h.circuit, &by)
		if !ok {
			continue // evicted meanwhile
		}
		if first {
			t.hosts.Pin()
		}
		h.emit(&by)
		if h.member != nil {
			h.member.Release(by.Context)
		}
		return
	}
}

// Reset closes the circuit of a key, empties its counts, and ends ForceOpen and ForceClosed. It
// does nothing if there is no such circuit. It reads the key as [Transport.ForceOpen] does. With
// [WithStore], this process ignores the circuit's shared record until there is a newer one. The
// other processes do not. If this process probes for them, Reset gives that up, which takes at most
// WriteTimeout.
func (t *Transport) Reset(key string) {
	h, ok := t.named(key)
	if !ok {
		return
	}
	by := circuit.Cause{Context: context.Background()}
	if h.circuit.Reset(&by) {
		t.hosts.Unpin(h)
	}
	h.emit(&by)
	if h.member != nil {
		h.member.Reset(by.Context)
	}
}

// ResetFleet is [Transport.Reset] for all processes that share the circuit. It also closes the
// shared record, and each other process closes its circuit when it reads the record next. A circuit
// that is forced in another process stays forced there.
//
// It tries up to four times to close the record, even if the store has failed before. It returns
// the store's error if the record could not be closed, or the error of ctx if ctx is done earlier.
// Without a store, or if the circuit is not shared, it resets the circuit here and returns nil. With
// the key "" it does nothing.
func (t *Transport) ResetFleet(ctx context.Context, key string) error {
	t.Reset(key)
	if h, ok := t.named(key); ok {
		key = h.key
	} else {
		key = t.normal(key)
	}
	if key == "" || !t.shares(key) {
		return nil
	}
	if err := t.sharing.fleet.Reset(ctx, key); err != nil {
		return fmt.Errorf("breakerhttp: ResetFleet of %q: %w", key, err)
	}
	return nil
}
