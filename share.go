package breakerhttp

import (
	"context"
	"errors"
	"net/http"
	"time"
	"unicode/utf8"

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
	// Namespace separates fleets that use one store: at most 255 bytes of valid UTF-8. "" means
	// "default".
	Namespace string

	// Quorum is how many processes must have tripped before the circuits of all open, at most 20.
	// 0 means 2.
	Quorum int

	// Refresh is the age at which the record of a closed circuit is read again. 0 means 10s.
	Refresh time.Duration

	// ReadTimeout and WriteTimeout bound a call of the store. 0 means 50ms and 100ms.
	ReadTimeout  time.Duration
	WriteTimeout time.Duration

	// OnError is called with failures of the store, at most once a second. It may be called
	// concurrently, and should return soon. nil means the OpenTelemetry error handler.
	OnError func(error)

	// Instance names the process that votes: processes with the same Instance count once. The name
	// of the pod is a good one, because a process that restarts is then not a second voter. ""
	// means a random name for the whole process.
	Instance string

	// Skip reports whether the circuit of a key is not shared. Circuits of localhost, loopback and
	// link-local addresses are never shared, because each process means another host by them. nil
	// means that all others are shared. Skip may be called concurrently.
	Skip func(key string) bool
}

const (
	maxQuorum    = 20  // bounds the size of a record
	maxNamespace = 255 // bytes; bounds the key of a record
)

// WithStore shares circuits with the other processes that use the same store with the same
// namespace: when Quorum of them have tripped, all open, and one probes for all.
//
// Requests seldom wait for the store, and no failure of the store reaches their callers:
//   - The first request of a process to a host waits for a read, and so does the first one after
//     ten times Refresh without a request. It waits for at most ReadTimeout, and for at most half
//     of the time that it has.
//   - While the last two requests to a host have failed, at most one request per second to that
//     host waits in the same way.
//   - A probe waits for a read and a write. If that takes more than half of the time that the
//     request has, it is refused, and the next request is the probe.
//   - The request that opens a circuit or ends a probe publishes that before it returns, within
//     WriteTimeout.
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
	if n := len(sh.Namespace); n > maxNamespace || !utf8.ValidString(sh.Namespace) {
		c.fail("Sharing.Namespace has %d bytes, want at most %d, of valid UTF-8", n, maxNamespace)
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

// sharing is the part of a Transport that shares circuits with other processes.
type sharing struct {
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
	return &sharing{skip: sh.Skip, refresh: sh.Refresh, fleet: f}
}

// shares reports whether the circuit of a key is shared.
func (t *Transport) shares(key string) bool {
	s := t.sharing
	return s != nil && !isLocal(key) && (s.skip == nil || !s.skip(key))
}

// join makes the host's circuit a member of the fleet.
func (h *host) join(policy *circuit.Config) {
	h.member = h.t.sharing.fleet.Member(h.key, h.t.sharing.policy(policy), h)
}

// policy returns the part of a circuit's policy that the fleet needs. The open time of an adaptive
// circuit is not known beforehand. For the record it begins with one second, and grows by a quarter
// each time.
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

// failing is the number of failures in a row that a host must have to count as failing: one failure
// may happen to any host.
const failing = 2

// refresh reads the circuit's record if that is due.
func (h *host) refresh(req *http.Request) {
	if h.member != nil {
		h.refreshShared(req)
	}
}

func (h *host) refreshShared(req *http.Request) {
	if now := h.t.now(); h.member.Due(now) {
		h.member.Refresh(req.Context(), now, h.circuit.Run() >= failing)
	}
}

// elect asks the other processes whether this one may probe. The circuit gets an answer even if the
// user's code panics. A probe that timed out is published before the election, and delivered to the
// hook after it. If the store has taken more than half of the request's time, the next request
// probes instead: this one could fail for lack of time alone.
func (x *exchange) elect() (r circuit.Refusal, d circuit.Decision) {
	h, ctx := x.host, x.req.Context()
	before, hurried := h.TimeLeft(ctx)
	events, _ := h.recordEvents(&x.by) // no probe has succeeded, so no other host is hastened
	if len(events) > 0 {
		defer h.t.journal.deliver(h)
	}
	election := fleet.Election{Until: x.t.now()}
	defer func() {
		left, _ := h.TimeLeft(ctx)
		r, d = h.circuit.Elected(&x.by, &x.call, circuit.Election(election), !hurried || left >= before/2)
		if election.MayProbe && (d != circuit.Admitted || h.circuit.State() == circuit.Closed) {
			h.member.Release(ctx) // this request is no probe, or none is needed any more
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
		if e.Unrecorded && !e.Elected || e.Uncounted && e.Reason == circuit.ProbeFailed { // it was published at once
			continue
		}
		switch e.Reason {
		case circuit.ProbeSucceeded:
			if e.Limited {
				h.member.ProbeLimited(ctx)
			} else {
				h.member.ProbeSucceeded(ctx)
			}
		case circuit.ProbeFailed, circuit.ProbeTimedOut:
			h.member.ProbeFailed(ctx, e.OpenFor, e.RetryAfter)
		case circuit.ConsecutiveFailures, circuit.FailureRatio, circuit.SlowRatio, circuit.TripWhen, circuit.Silence:
			if !e.Uncounted || h.t.now()-e.At >= circuit.RecordAfter { // a person may have cut it short
				h.member.Tripped(ctx, e.OpenFor)
			}
		case circuit.LateAnswers, circuit.RateLimited:
			if e.Elected { // the results of probes in flight will be stale
				h.member.ProbeIgnored(ctx)
			}
		}
	}
}

// publishResult publishes how a request has ended, if the fleet needs to know.
func (h *host) publishResult(by *circuit.Cause, failed bool) {
	switch {
	case h.member == nil:
	case failed:
		h.member.Failed(by.Context, h.t.now())
	case by.Released:
		h.member.ProbeIgnored(by.Context)
	}
}

// Watch reads a shared record as soon as the [Store] reports that it has changed. So this process
// learns in milliseconds what it would otherwise learn after Refresh. Sharing works without it.
//
// Watch blocks until ctx is done or the store fails. Then it returns the error, once a read that is
// under way has ended, which takes at most ReadTimeout. It returns [errors.ErrUnsupported] at once
// if there is no store, or if the store is not a [Watcher]. Run it in a goroutine of its own, and
// again after a failure of the store.
func (t *Transport) Watch(ctx context.Context) error {
	if t.sharing == nil {
		return errors.ErrUnsupported
	}
	return t.sharing.fleet.Watch(ctx)
}
