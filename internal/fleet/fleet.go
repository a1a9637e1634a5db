// Package fleet is the protocol by which processes share circuits through a
// store. It knows neither HTTP nor any store.
//
// The local circuit decides for its own process; the store adds what others
// know. A process that trips votes; enough votes open the record for all. When
// the open time is over, one process gets a lease and probes for all.
package fleet

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	randv2 "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Config of a [Fleet]. All fields are needed.
type Config struct {
	Store        Store
	Namespace    string
	Quorum       int
	Refresh      time.Duration
	ReadTimeout  time.Duration
	WriteTimeout time.Duration
	OnError      func(operation string, err error)
	Now          func() time.Duration
}

// Policy is what the protocol needs to know of a circuit's policy.
type Policy struct {
	OpenFor, MaxOpenFor, ProbeTimeout time.Duration
	OpenGrowth, Jitter                float64
}

// Local is the circuit of a [Member]. It is called without a lock.
type Local interface {
	// AdoptOpen opens the circuit until then, unless it has its own reasons to
	// be open for longer, is probing, or is forced.
	AdoptOpen(until time.Duration)
	// AdoptClosed closes the circuit, unless it is probing or forced.
	AdoptClosed()
}

// A Fleet is a process among others. Its methods may be called concurrently.
type Fleet struct {
	cfg   Config
	id    string
	guard guard

	mu     sync.Mutex
	queue  []*Member // that are due
	flying bool      // a Load for the queue is under way
}

// New returns a member of the fleet that shares cfg.Store.
func New(cfg Config) *Fleet {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return &Fleet{cfg: cfg, id: hex.EncodeToString(id[:])}
}

// A Member is one circuit of this process.
type Member struct {
	fleet  *Fleet
	key    string
	policy Policy
	local  Local
	due    atomic.Int64 // time of the next read

	mu      sync.Mutex
	read    time.Duration // of the latest read; before it never if that is negative
	queued  bool
	first   chan struct{} // closed when the read that requests wait for has ended; nil if none is under way
	version uint64
	rec     record
	age     time.Duration // of rec, when it was read
	at      time.Duration // when rec was read
	seen    State         // of the latest record that was not absent
	ignored uint64        // version that a Reset has done away with
	lease   uint64        // version of the lease held; 0 if none is
}

const never = time.Duration(-1)

// Member returns the member for a circuit.
func (f *Fleet) Member(key string, p Policy, l Local) *Member {
	return &Member{fleet: f, key: f.cfg.Namespace + "/" + key, policy: p, local: l, read: never}
}

// Due reports whether the record is to be read again. It is all that a request
// to a healthy host pays.
func (m *Member) Due(now time.Duration) bool { return int64(now) >= m.due.Load() }

// Refresh reads the record if it is due: in the background, but for the first
// read and after a long time without requests, which the request waits for.
func (m *Member) Refresh(ctx context.Context, now time.Duration) {
	m.mu.Lock()
	if m.read != never && now-m.read < 10*m.fleet.cfg.Refresh {
		m.mu.Unlock()
		m.fleet.refresh(ctx, m)
		return
	}
	wait := m.first
	if wait == nil {
		wait = make(chan struct{})
		m.first = wait
		m.mu.Unlock()
		m.loadNow(ctx)
		m.mu.Lock()
		m.first = nil
		close(wait)
	}
	m.mu.Unlock()
	<-wait
}

// loadNow reads the record, and does not come back before.
func (m *Member) loadNow(ctx context.Context) bool {
	items, err := m.fleet.load(ctx, []string{m.key})
	if err != nil {
		m.failedRead()
		return false
	}
	m.adopt(items[0])
	return true
}

// refresh reads the records of all members that are due, m among them, unless
// such a read is under way: then they are due still.
func (f *Fleet) refresh(ctx context.Context, m *Member) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !m.queued {
		m.queued = true
		f.queue = append(f.queue, m)
	}
	if f.flying || !f.guard.allows(f.cfg.Now()) {
		return
	}
	f.flying = true
	due := f.queue
	f.queue = nil
	for _, m := range due {
		m.queued = false
	}
	go func() {
		f.loadAll(ctx, due)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.flying = false
	}()
}

func (f *Fleet) loadAll(ctx context.Context, members []*Member) {
	keys := make([]string, len(members))
	for i, m := range members {
		keys[i] = m.key
	}
	items, err := f.load(ctx, keys)
	for i, m := range members {
		if err != nil {
			m.failedRead()
		} else {
			m.adopt(items[i])
		}
	}
}

// failedRead waits for the ordinary time before it tries again: the store is not
// to be hammered while it is down, and nobody is to wait for it again.
func (m *Member) failedRead() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.read = m.fleet.cfg.Now()
	m.due.Store(int64(m.read + spread(m.fleet.cfg.Refresh)))
}

// Failed tells of a local failure: others may know more. Reads after failures
// are at least a second apart.
func (m *Member) Failed(ctx context.Context, now time.Duration) {
	m.mu.Lock()
	next := m.read + time.Second
	if m.rec.State == Open && m.rec.Millis > 0 {
		next = max(next, m.at+m.left(m.at)) // open never before its time is up
	}
	if int64(next) < m.due.Load() {
		m.due.Store(int64(next))
	}
	m.mu.Unlock()
	if m.Due(now) {
		m.fleet.refresh(ctx, m)
	}
}

// Hint reads the record now, for another process has written it.
func (m *Member) Hint(ctx context.Context) {
	if m.fleet.guard.allows(m.fleet.cfg.Now()) {
		m.loadNow(ctx)
	}
}

// Reset makes the record's present version unheard, until there is a newer one.
func (m *Member) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ignored, m.lease = m.version, 0
}

// spread keeps processes from doing things at the same moment.
func spread(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.5 + randv2.Float64()))
}
