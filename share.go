package breakerhttp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
	"github.com/breakerhttp/breakerhttp/internal/fleet"
	"github.com/breakerhttp/breakerhttp/store"
)

// An Item is what a [Store] holds for one key: see [store.Item].
type Item = store.Item

// A Store keeps the records that processes share: see [store.Store].
type Store = store.Store

// A Watcher is a [Store] that reports changes when they happen: see [store.Watcher].
type Watcher = store.Watcher

// Sharing says how circuits are shared. Zero fields mean their defaults.
type Sharing struct {
	Namespace    string        // records are "<Namespace>/<key>"; "default"
	Quorum       int           // processes that must have tripped before all open, at most 20; 0 means 2
	Refresh      time.Duration // age at which a closed circuit's record is read again; 0 means 10s
	ReadTimeout  time.Duration // bounds a read; 0 means 50ms
	WriteTimeout time.Duration // bounds a write; 0 means 100ms
	OnError      func(error)   // store failures, at most one a second, and should return soon; default the OpenTelemetry error handler
}

// maxQuorum bounds the size of a record.
const maxQuorum = 20

// WithStore shares circuits with the other processes that use the same store
// with the same namespace: when Quorum of them have tripped, all open, and one
// probes for all.
//
// A request to a healthy host waits for the store once: at its first use in a
// process and after ten times Refresh without a request, for at most ReadTimeout,
// and for no more than half of the time that the request has. While a host's last
// two requests have failed, at most one request a second to it waits like that, to
// hear what others know. A probe waits for a read and a write.
// The request that opens a circuit or ends a probe publishes that before it
// returns, within WriteTimeout. No failure of the store reaches a caller.
func WithStore(s Store, sh Sharing) Option {
	return optionFunc(func(c *config) {
		switch {
		case s == nil:
			c.fail("WithStore is nil")
		case c.store != nil:
			c.fail("WithStore is given twice")
		default:
			c.store, c.sharing = s, sh
			sh.validate(c)
		}
	})
}

func (sh Sharing) validate(c *config) {
	if sh.Quorum < 0 || sh.Quorum > maxQuorum {
		c.fail("Sharing.Quorum is %d, want 0 to %d", sh.Quorum, maxQuorum)
	}
	for _, f := range []struct {
		name  string
		value time.Duration
	}{{"Refresh", sh.Refresh}, {"ReadTimeout", sh.ReadTimeout}, {"WriteTimeout", sh.WriteTimeout}} {
		if f.value < 0 {
			c.fail("Sharing.%s is %v, want 0 or more", f.name, f.value)
		}
	}
}

func (sh Sharing) withDefaults() Sharing {
	setDefault(&sh.Namespace, "default")
	setDefault(&sh.Quorum, 2)
	setDefault(&sh.Refresh, 10*time.Second)
	setDefault(&sh.ReadTimeout, 50*time.Millisecond)
	setDefault(&sh.WriteTimeout, 100*time.Millisecond)
	if sh.OnError == nil {
		sh.OnError = otel.Handle
	}
	return sh
}

// sharing is the part of a Transport that other processes share.
type sharing struct {
	store  Store
	prefix string // of the keys of records
	fleet  *fleet.Fleet
}

// newSharing returns nil if c has no store.
func newSharing(t *Transport, c *config) *sharing {
	if c.store == nil {
		return nil
	}
	sh := c.sharing.withDefaults()
	for _, operation := range []string{fleet.OpLoad, fleet.OpSwap, fleet.OpRecord, fleet.OpAdopt} {
		t.metrics.addStoreErrors(operation, 0) // so that the first is seen as an increase
	}
	report := atMostOneASecond(t.now, sh.OnError)
	return &sharing{
		store:  c.store,
		prefix: sh.Namespace + "/",
		fleet: fleet.New(fleet.Config{
			Store:        c.store,
			Namespace:    sh.Namespace,
			Quorum:       sh.Quorum,
			Refresh:      sh.Refresh,
			ReadTimeout:  sh.ReadTimeout,
			WriteTimeout: sh.WriteTimeout,
			Now:          t.now,
			OnError: func(operation string, err error) {
				t.metrics.addStoreErrors(operation, 1)
				report(err)
			},
		}),
	}
}

// atMostOneASecond also spares the protocol a report that panics.
func atMostOneASecond(now func() time.Duration, report func(error)) func(error) {
	var next atomic.Int64
	return func(err error) {
		now, at := int64(now()), next.Load()
		if now < at || !next.CompareAndSwap(at, now+int64(time.Second)) {
			return
		}
		defer func() {
			if v := recover(); v != nil {
				otel.Handle(fmt.Errorf("breakerhttp: Sharing.OnError panicked: %v", v))
			}
		}()
		report(err)
	}
}

// join makes the host's circuit a member of the fleet, if there is one.
func (h *host) join(policy *circuit.Config) {
	if h.t.sharing == nil {
		return
	}
	h.member = h.t.sharing.fleet.Member(h.key, fleet.Policy{
		OpenFor:      policy.OpenFor,
		MaxOpenFor:   policy.MaxOpenFor,
		ProbeTimeout: policy.ProbeTimeout,
		OpenGrowth:   policy.OpenGrowth,
		Jitter:       policy.Jitter,
	}, h)
}

// AdoptOpen implements [fleet.Local].
func (h *host) AdoptOpen(ctx context.Context, until time.Duration) (emit func()) {
	by := circuit.Cause{Context: ctx}
	h.circuit.AdoptOpen(&by, until)
	return h.emitter(by)
}

// AdoptClosed implements [fleet.Local].
func (h *host) AdoptClosed(ctx context.Context) (emit func()) {
	by := circuit.Cause{Context: ctx}
	h.circuit.AdoptClosed(&by)
	return h.emitter(by)
}

func (h *host) emitter(by circuit.Cause) func() {
	if len(by.Events) == 0 {
		return nil
	}
	return func() { h.emit(&by) }
}

// failing is the number of failures in a row after which a host is not called
// healthy any more. One may happen to any.
const failing = 2

// refresh asks what others know, if it is time to.
func (h *host) refresh(ctx context.Context) {
	if h.member == nil {
		return
	}
	if now := h.t.now(); h.member.Due(now) {
		h.member.Refresh(ctx, now, h.circuit.Run() >= failing)
	}
}

// elect asks the other processes whether this one may probe. The circuit waits
// for the answer, whatever happens here. A probe that timed out is published
// before; the hook hears of it once the election is over.
func (x *exchange) elect() (r circuit.Refusal, d circuit.Decision) {
	h, ctx := x.host, x.req.Context()
	events := h.recordEvents(&x.by)
	if len(events) > 0 {
		defer h.t.journal.deliver(h.hooks)
	}
	mayProbe, until := false, x.t.now()
	defer func() {
		r, d = h.circuit.Elected(&x.by, &x.call, mayProbe, until)
		if mayProbe && (d != circuit.Admitted || h.circuit.State() != circuit.HalfOpen) {
			h.member.Released(ctx) // the circuit has changed meanwhile
		}
	}()
	h.publish(ctx, events)
	mayProbe, until = h.member.Elect(ctx)
	return r, d
}

// publish publishes what this process has found out to the fleet.
func (h *host) publish(ctx context.Context, events []circuit.Event) {
	if h.member == nil {
		return
	}
	for _, e := range events {
		switch e.Reason {
		case circuit.ProbeSucceeded:
			h.member.Probed(ctx, true, 0)
		case circuit.ProbeFailed, circuit.ProbeTimedOut:
			h.member.Probed(ctx, false, e.OpenFor)
		case circuit.ConsecutiveFailures, circuit.FailureRatio, circuit.SlowRatio, circuit.TripWhen:
			h.member.Tripped(ctx, e.OpenFor)
		}
	}
}

// publishResult publishes how a request has ended, so far as the fleet needs to
// know.
func (h *host) publishResult(by *circuit.Cause, failed bool) {
	switch {
	case h.member == nil:
	case failed:
		h.member.Failed(by.Context, h.t.now())
	case by.Released:
		h.member.Released(by.Context)
	}
}

// Watch applies the hints of a Store that is a [Watcher] until ctx is done or the
// store fails, and returns the error: the fleet learns in milliseconds what Refresh
// would find in seconds. The caller runs it in a goroutine of its own, and again
// after a failure of the store; nothing depends on it. It returns
// [errors.ErrUnsupported] if there is no such Store.
func (t *Transport) Watch(ctx context.Context) error {
	if t.sharing == nil {
		return errors.ErrUnsupported
	}
	w, ok := t.sharing.store.(Watcher)
	if !ok {
		return errors.ErrUnsupported
	}
	return w.Watch(ctx, func(record string) {
		key, ok := strings.CutPrefix(record, t.sharing.prefix)
		if !ok {
			return
		}
		if h, ok := t.hosts.Get(t.place(key)); ok {
			h.member.Hint(ctx)
		}
	})
}
