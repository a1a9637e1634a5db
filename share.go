package breakerhttp

import (
	"context"
	"errors"
	"fmt"
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
	// Namespace separates fleets that use one store. "" means "default".
	Namespace string

	// Quorum is how many processes must have tripped before the circuits of all open, at most 20.
	// 0 means 2.
	Quorum int

	// Refresh is the age at which the record of a closed circuit is read again. 0 means 10s.
	Refresh time.Duration

	// ReadTimeout and WriteTimeout bound a call of the store. 0 means 50ms and 100ms.
	ReadTimeout  time.Duration
	WriteTimeout time.Duration

	// OnError is called with failures of the store, at most once a second, and should return soon.
	// nil means the OpenTelemetry error handler.
	OnError func(error)

	// Instance names the process that votes: processes with the same Instance count once. The name
	// of the pod is a good one, for a process that restarts is then no second voter. "" means a
	// random one for the whole process.
	Instance string

	// Skip names circuits that are not shared, by their keys. Those of localhost, loopback and
	// link-local addresses never are: they are another host in each process. nil means no others.
	// It may be called concurrently.
	Skip func(key string) bool
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
	store   Store
	skip    func(key string) bool
	refresh time.Duration
	fleet   *fleet.Fleet
}

// newSharing returns nil if c has no store.
func newSharing(t *Transport, c *config) *sharing {
	if c.store == nil {
		return nil
	}
	sh := c.sharing.withDefaults()
	report := atMostOneASecond(t.now, sh.OnError)
	f := fleet.New(fleet.Config{
		Store:        c.store,
		Namespace:    sh.Namespace,
		Quorum:       sh.Quorum,
		Refresh:      sh.Refresh,
		ReadTimeout:  sh.ReadTimeout,
		WriteTimeout: sh.WriteTimeout,
		Instance:     sh.Instance,
		DryRun:       c.dryRun,
		Now:          t.now,
		OnCall:       func(operation, result string) { t.metrics.store.addCall(operation, result) },
		OnError: func(operation string, err error) {
			t.metrics.store.addError(operation)
			report(err)
		},
	})
	return &sharing{store: c.store, skip: sh.Skip, refresh: sh.Refresh, fleet: f}
}

// atMostOneASecond limits how often report is called. It also recovers from a panic
// of report.
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

// shares reports whether the circuit of a key is shared.
func (t *Transport) shares(key string) bool {
	switch {
	case t.sharing == nil, isLocal(key):
		return false
	}
	return t.sharing.skip == nil || !t.sharing.skip(key)
}

// join makes the host's circuit a member of the fleet.
func (h *host) join(policy *circuit.Config) {
	h.member = h.t.sharing.fleet.Member(h.key, h.t.sharing.policy(policy), h)
}

// policy is the part of a circuit's policy that the fleet needs. The open time of
// an adaptive circuit is not known beforehand: for the record it counts as one
// second, growing by a quarter.
func (s *sharing) policy(cfg *circuit.Config) fleet.Policy {
	if cfg.Adaptive {
		return fleet.Policy{
			OpenFor:      time.Second,
			OpenGrowth:   1.25,
			MaxOpenFor:   cfg.MaxOpenFor,
			ProbeTimeout: 30 * time.Second,
			VotesLast:    s.refresh,
		}
	}
	return fleet.Policy{
		OpenFor:      cfg.OpenFor,
		MaxOpenFor:   cfg.MaxOpenFor,
		ProbeTimeout: cfg.ProbeTimeout,
		OpenGrowth:   cfg.OpenGrowth,
		Jitter:       cfg.Jitter,
	}
}

// AdoptOpen implements [fleet.Local].
func (h *host) AdoptOpen(ctx context.Context, o fleet.Opening) (emit func()) {
	by := circuit.Cause{Context: ctx}
	h.circuit.AdoptOpen(&by, circuit.Opening(o))
	return h.emitter(by)
}

// AdoptClosed implements [fleet.Local].
func (h *host) AdoptClosed(ctx context.Context, closedAt time.Duration) (emit func()) {
	by := circuit.Cause{Context: ctx}
	h.circuit.AdoptClosed(&by, closedAt)
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

// elect asks the other processes whether this one may probe. The circuit waits for the answer,
// whatever happens here. A probe that timed out is published before; the hook hears of it once the
// election is over.
func (x *exchange) elect() (r circuit.Refusal, d circuit.Decision) {
	h, ctx := x.host, x.req.Context()
	events := h.recordEvents(&x.by)
	if len(events) > 0 {
		defer h.t.journal.deliver(h.hooks)
	}
	election := fleet.Election{Until: x.t.now()}
	defer func() {
		r, d = h.circuit.Elected(&x.by, &x.call, circuit.Election(election))
		if election.MayProbe && (d != circuit.Admitted || h.circuit.State() == circuit.Closed) {
			h.member.Release(ctx) // the circuit has changed meanwhile
		}
	}()
	h.publish(ctx, events)
	election = h.member.Elect(ctx)
	return r, d
}

// publish publishes to the fleet what this process has found out.
func (h *host) publish(ctx context.Context, events []circuit.Event) {
	if h.member == nil {
		return
	}
	for _, e := range events {
		if e.Untold && !e.Elected {
			continue
		}
		switch e.Reason {
		case circuit.ProbeSucceeded:
			h.member.ProbeSucceeded(ctx)
		case circuit.ProbeFailed, circuit.ProbeTimedOut:
			h.member.ProbeFailed(ctx, e.OpenFor, e.RetryAfter)
		case circuit.ConsecutiveFailures, circuit.FailureRatio, circuit.SlowRatio, circuit.TripWhen, circuit.Silence:
			h.member.Tripped(ctx, e.OpenFor)
		}
	}
}

// publishResult publishes how a request has ended, so far as the fleet needs to know.
func (h *host) publishResult(by *circuit.Cause, failed bool) {
	switch {
	case h.member == nil:
	case failed:
		h.member.Failed(by.Context, h.t.now())
	case by.Released:
		h.member.ProbeIgnored(by.Context)
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
	return t.sharing.fleet.Watch(ctx, w)
}
