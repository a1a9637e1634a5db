// Package fleet is the protocol by which processes share circuits through a store. It knows neither
// HTTP nor any particular store.
//
// The local circuit decides for its own process. The store adds what other processes know. A process
// whose circuit trips writes a vote. Enough votes open the record for all. When the open time is
// over, one process gets a lease and probes for all.
//
// The package has two halves. The reading half decides when a record is read, and reads it: due.go,
// read.go, batch.go. The protocol half decides what a record means and what is written: record.go,
// known.go, adopt.go, vote.go, elect.go, verdict.go, swap.go, reset.go. The halves meet in
// Member.load and Member.adopt. Below both, call.go and guard.go call the store.
package fleet

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"sync"
	"sync/atomic"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
)

// Config of a [Fleet]. Every field must be set.
type Config struct {
	Store        store.Store
	Namespace    string
	Quorum       int
	Refresh      time.Duration
	ReadTimeout  time.Duration
	WriteTimeout time.Duration
	OnError      func(operation string, err error) // must not panic
	Now          func() time.Duration
}

// A Fleet is this process's part of a fleet. Its methods may be called concurrently.
type Fleet struct {
	cfg   Config
	id    string
	guard guard

	mu      sync.Mutex
	members map[*Member]struct{} // whose record has been read
	queue   []*Member            // whose record requests have found due
	reading bool                 // a Load of the records that are due is under way
}

// New returns this process's part of the fleet that shares cfg.Store.
func New(cfg Config) *Fleet {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return &Fleet{cfg: cfg, id: hex.EncodeToString(id[:]), members: map[*Member]struct{}{}}
}

// Policy is the part of a circuit's policy that the protocol needs.
type Policy struct {
	OpenFor, MaxOpenFor, ProbeTimeout time.Duration
	OpenGrowth, Jitter                float64
}

// Local is the circuit of a [Member]. Its methods must not call the fleet. They return a function
// that delivers the transition, or nil if there is none. The fleet calls it without its locks.
type Local interface {
	// AdoptOpen opens the circuit until then. A circuit that has its own reasons to stay open for
	// longer, is probing, or is forced stays as it is.
	AdoptOpen(ctx context.Context, until time.Duration) (deliver func())
	// AdoptClosed closes the circuit, unless it is probing or forced.
	AdoptClosed(ctx context.Context) (deliver func())
}

// A Member is one circuit of this process, and its record in the store.
type Member struct {
	fleet  *Fleet
	key    string
	policy Policy
	local  Local

	due atomic.Int64 // when the record is to be read again

	// Guarded by Fleet.mu.
	queued     bool // a request has found the record due, and no Load has taken it yet
	prefetched bool // the record has been read along with others, and no request has asked since
	gone       bool // the circuit has been evicted

	mu          sync.Mutex // guards all that follows
	reads       reads
	known       known
	wasReset    time.Duration // time of the latest Reset; or never
	electing    bool          // a lease has been asked for, and the answer is not there
	inDoubt     bool          // a write of this process's may or may not have succeeded
	lease       lease         // that this process holds
	afterUnlock []func()      // to be called when mu is unlocked
}

// never is before every time.
const never = time.Duration(-1)

// Member returns the member for a circuit.
func (f *Fleet) Member(key string, p Policy, l Local) *Member {
	return &Member{
		fleet:    f,
		key:      f.cfg.Namespace + "/" + key,
		policy:   p,
		local:    l,
		reads:    reads{latest: never},
		wasReset: never,
	}
}

func (m *Member) now() time.Duration { return m.fleet.cfg.Now() }

// unlock unlocks m.mu, and then calls what could not be called while it was locked.
func (m *Member) unlock() {
	calls := m.afterUnlock
	m.afterUnlock = nil
	m.mu.Unlock()
	for _, call := range calls {
		call()
	}
}
