// Package fleet is the protocol by which processes share circuits through a store. It knows neither
// HTTP nor any particular store.
//
// The local circuit decides for its own process. The store adds what other processes know. A
// process whose circuit trips writes a vote. Enough votes open the record for all. When the open
// time is over, one process gets a lease and probes for all.
//
// The package has two halves. The reading half decides when a record is read, and reads it: due.go,
// read.go, batch.go, hint.go. The protocol half decides what a record means and what is written:
// record.go, known.go, adopt.go, deaf.go, vote.go, elect.go, verdict.go, reset.go, swap.go. The
// reading half hands each record to Member.adopt; the protocol half reads one with Member.load.
// Both call the store through call.go, guard.go and slots.go.
package fleet

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
)

// Config of a [Fleet]. Every field must be set, except where it says what zero means.
type Config struct {
	Store        store.Store
	Namespace    string
	Quorum       int
	Refresh      time.Duration
	ReadTimeout  time.Duration
	WriteTimeout time.Duration
	Instance     string // who votes; "" means this process
	DryRun       bool   // write nothing

	// Now is the time since an origin of the caller's choice, near the start of the process.
	Now func() time.Duration

	// OnError reports what has failed. OnCall reports each call of the store with its result.
	// Neither may panic.
	OnError func(operation string, err error)
	OnCall  func(operation, result string)
}

// A Fleet is a Transport's part of a fleet. Its methods may be called concurrently.
type Fleet struct {
	cfg   Config
	id    string // of the Transport, as the owner of its records
	voter vote   // the process, as a voter
	guard guard
	slots slots

	mu      sync.Mutex
	members map[string]*Member // by the key of their record, once it has been read
	queue   []*Member          // members whose records requests have found due
	reading bool               // a Load of records that are due is under way
	firsts  []*Member          // members whose first read is about to begin
}

// New returns a Transport's part of the fleet that shares cfg.Store.
func New(cfg Config) *Fleet {
	return &Fleet{
		cfg:     cfg,
		id:      newOwner(),
		voter:   newVoter(cfg.Instance),
		members: map[string]*Member{},
	}
}

// Paused reports whether the store is not called for now, because it has failed.
func (f *Fleet) Paused() bool { return !f.guard.allows(f.cfg.Now()) }

// Policy is the part of a circuit's policy that the protocol needs.
type Policy struct {
	OpenFor, MaxOpenFor, ProbeTimeout time.Duration
	OpenGrowth, Jitter                float64

	// VotesLast is the shortest time for which a vote counts, even if the open time is shorter.
	VotesLast time.Duration
}

// An Opening says how other processes have opened a circuit.
type Opening struct {
	At     time.Duration // when they opened it
	Until  time.Duration // when its open time or the lease of the prober is over
	Probed bool          // another process probes, or is about to, so the circuit may close sooner
	Detail string        // for people
}

// Local is the circuit of a [Member]. Its methods must not call the fleet. They return a function
// that delivers the transition, or nil if there is none. The fleet calls it without its locks.
type Local interface {
	// AdoptOpen opens the circuit. A circuit that has its own reasons to stay open for longer, is
	// probing, or is forced stays as it is.
	AdoptOpen(ctx context.Context, o Opening) (deliver func())
	// AdoptClosed closes the circuit if it was opened before closedAt, unless it is probing or
	// forced.
	AdoptClosed(ctx context.Context, closedAt time.Duration) (deliver func())
}

// A Member is one circuit of this process, and its record in the store.
type Member struct {
	fleet *Fleet
	key   string // of the record
	local Local
	guard guard // of this record alone

	due atomic.Int64 // when the record is to be read again

	// Guarded by Fleet.mu.
	queued     bool // a request has found the record due, and no Load has taken it yet
	prefetched bool // the record has been read along with others, and no request has asked since
	gone       bool // the circuit has been evicted

	mu          sync.Mutex // guards all that follows
	policy      Policy
	newPolicy   *Policy // in force when the lease ends; nil if there is none
	reads       reads
	known       known
	deaf        deafness
	vote        *ownVote              // not published yet; nil if there is none
	atNextLoad  func(context.Context) // called after the next Load; nil if there is nothing to call
	electing    bool                  // a lease has been asked for, and the answer has not come
	inDoubt     bool                  // a write of this process's may or may not have succeeded
	lease       lease                 // held by this process
	ignored     int                   // probes in a row that ended without a verdict
	pausedUntil time.Duration         // this process does not ask for a lease before that
	afterUnlock []func()              // to be called when mu is unlocked
}

// never is before every time.
const never = time.Duration(-1)

// Member returns the member for a circuit.
func (f *Fleet) Member(key string, p Policy, l Local) *Member {
	return &Member{
		fleet:  f,
		key:    RecordKey(f.cfg.Namespace, key),
		policy: p,
		local:  l,
		reads:  reads{latest: never},
	}
}

// SetPolicy changes the policy. If this process holds a lease, or has asked for one, the old policy
// stays in force until the lease ends.
func (m *Member) SetPolicy(p Policy) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lease != (lease{}) || m.electing {
		m.newPolicy = &p
		return
	}
	m.policy = p
}

func (m *Member) now() time.Duration { return m.fleet.cfg.Now() }

// setLease changes the lease, and applies a policy that has waited for its end. The caller holds
// mu.
func (m *Member) setLease(l lease) {
	if m.lease = l; l == (lease{}) && !m.electing && m.newPolicy != nil {
		m.policy, m.newPolicy = *m.newPolicy, nil
	}
}

// unlock unlocks mu, and then calls what could not be called while it was locked.
func (m *Member) unlock() {
	calls := m.afterUnlock
	m.afterUnlock = nil
	m.mu.Unlock()
	for _, call := range calls {
		call()
	}
}
