package breakerhttp

import (
	"context"
	"fmt"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// ForceOpen makes the circuit of a key refuse every request until
// [Transport.Reset]; in a dry run it still refuses none. It makes the circuit if
// there is none. It acts on this process only, also with [WithStore].
//
// Without [WithKey] the key may be any URL of the host, or the host alone: that
// names the circuit with that host and port, if there is only one. Otherwise it
// means https, unless the port is 80. With [WithKey] the key is taken as it is.
// The key "" guards nothing, and is not forced.
func (t *Transport) ForceOpen(key string) { t.force(key, (*circuit.Circuit).ForceOpen) }

// ForceClosed makes the circuit of a key admit every request until
// [Transport.Reset]; it still counts. It makes the circuit if there is none. The
// key is read, and this process alone is acted on, as by [Transport.ForceOpen].
func (t *Transport) ForceClosed(key string) { t.force(key, (*circuit.Circuit).ForceClosed) }

func (t *Transport) force(key string, to func(*circuit.Circuit, *circuit.Cause) (first, ok bool)) {
	if key == "" {
		return // guards nothing
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
	if h.circuit.Reset(&by) {
		t.hosts.Unpin(h)
	}
	h.emit(&by)
	if h.member != nil {
		h.member.Reset(by.Context)
	}
}

// ResetFleet is [Transport.Reset] for all processes that share the circuit. It
// also closes the shared record, which each process hears when it reads that
// next. A circuit that is forced in another process stays so there.
//
// It calls the store even if that has failed before, up to four times, and
// returns the error if the record could not be closed; or the error of ctx, if
// that is done earlier. Without a store, or if the circuit is not shared, it
// resets the circuit here and returns nil.
func (t *Transport) ResetFleet(ctx context.Context, key string) error {
	t.Reset(key)
	if h, ok := t.named(key); ok {
		key = h.key
	} else {
		key = t.normal(key)
	}
	if !t.shares(key) {
		return nil
	}
	if err := t.sharing.fleet.Reset(ctx, key); err != nil {
		return fmt.Errorf("breakerhttp: ResetFleet of %q: %w", key, err)
	}
	return nil
}
