// Package before is package fleet as it was before records died and processes went deaf, unchanged.
// Fleets of which half run it are simulated.
//
// It is the protocol by which processes share circuits through a
// store. It knows neither HTTP nor any store.
//
// The local circuit decides for its own process; the store adds what others
// know. A process that trips votes; enough votes open the record for all. When
// the open time is over, one process gets a lease and probes for all.
package before

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
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
	OnError      func(operation string, err error) // must not panic
	Now          func() time.Duration
}

// A Fleet is a process among others. Its methods may be called concurrently.
type Fleet struct {
	cfg   Config
	id    string
	guard guard

	mu      sync.Mutex
	members map[*Member]struct{} // that have been read
	queue   []*Member            // that requests have found due, to be read next
	flying  bool                 // a read of all that are due is under way
}

// New returns a member of the fleet that shares cfg.Store.
func New(cfg Config) *Fleet {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return &Fleet{cfg: cfg, id: hex.EncodeToString(id[:]), members: map[*Member]struct{}{}}
}

// A Member is one circuit of this process.
type Member struct {
	fleet  *Fleet
	key    string
	policy Policy
	local  Local
	due    atomic.Int64 // time of the next read
	queued bool         // under Fleet.mu
	along  bool         // has been read along with others, since a request found it due; under Fleet.mu
	gone   bool         // under Fleet.mu

	mu    sync.Mutex
	read  time.Duration // of the latest attempt to read; or never
	again bool          // a failure asks for a read a second after the latest
	first chan struct{} // closed when the read that requests wait for has ended; nil if none is under way
	known
	asking bool          // for a lease
	doubts bool          // a write may or may not have come through since
	lease  lease         // that this process holds
	reset  time.Duration // of the latest Reset; or never
	later  []func()      // to be called once mu is unlocked
}

// never is before every time.
const never = time.Duration(-1)

// afterFailure is the time between two reads that failures cause.
const afterFailure = time.Second

// Member returns the member for a circuit.
func (f *Fleet) Member(key string, p Policy, l Local) *Member {
	return &Member{fleet: f, key: f.cfg.Namespace + "/" + key, policy: p, local: l, read: never, reset: never}
}

func (m *Member) now() time.Duration { return m.fleet.cfg.Now() }

// Due reports whether the record is to be read again. It is all that a request
// to a healthy host pays.
func (m *Member) Due(now time.Duration) bool { return int64(now) >= m.due.Load() }

// NextRead is when the record is to be read again.
func (m *Member) NextRead() time.Duration { return time.Duration(m.due.Load()) }

// Refresh reads the record, which is due: in the background, but for the first
// read and after a long time without requests. Those the request waits for. If
// its host is failing, it also waits for a read that a failure has asked for.
func (m *Member) Refresh(ctx context.Context, now time.Duration, failing bool) {
	m.mu.Lock()
	if !m.forgotten(now) {
		wait := failing && m.again
		m.mu.Unlock()
		m.fleet.refresh(ctx, m, now, wait)
		return
	}
	done := m.first
	if done == nil {
		done = make(chan struct{})
		m.first = done
		go func() {
			defer close(done)
			m.readFirst(context.WithoutCancel(ctx))
		}()
	}
	m.mu.Unlock()
	await(ctx, done, longest) // load has a limit of its own
}

// await lets a request wait for a read: at most for so long, and for half of the
// time that it has. The rest is for its host.
func await(ctx context.Context, done <-chan struct{}, limit time.Duration) {
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// forgotten reports that the record was never read, or that there was no request
// for so long that what was read says nothing. A request after the record was
// due would have read it.
func (m *Member) forgotten(now time.Duration) bool {
	refresh := m.fleet.cfg.Refresh
	overdue := now - time.Duration(m.due.Load())
	return m.read == never || (now-m.read)/10 >= refresh && overdue/8 >= refresh
}

func (m *Member) readFirst(ctx context.Context) {
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.first = nil
	}()
	m.fleet.spare(func() { m.load(ctx) })
	m.fleet.enter(m)
}

// load reads the record, and does not come back before.
func (m *Member) load(ctx context.Context) bool {
	items, err := m.fleet.load(ctx, []string{m.key})
	if err != nil {
		m.unread()
		return false
	}
	m.adopt(ctx, items[0])
	return true
}

// refresh reads the records of all members that are due, m among them. While
// such a read is under way they wait for the next; nothing waits for that.
func (f *Fleet) refresh(ctx context.Context, m *Member, now time.Duration, wait bool) {
	if !f.guard.allows(now) {
		m.unread()
		return
	}
	if !f.ask(m, now) {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.fly(context.WithoutCancel(ctx), f.gather(now))
	}()
	if wait {
		await(ctx, done, f.cfg.ReadTimeout) // not for the hooks of other circuits
	}
}

func (f *Fleet) fly(ctx context.Context, members []*Member) {
	keys := make([]string, len(members))
	for i, m := range members {
		keys[i] = m.key
		m.mu.Lock()
		m.again = false
		m.mu.Unlock()
	}
	items, err := f.load(ctx, keys)
	if err != nil {
		for _, m := range members {
			m.unread()
		}
		items = nil
	}
	f.land()
	for i := range items {
		// The request may be over, and is not the cause.
		f.spare(func() { members[i].adopt(context.Background(), items[i]) })
	}
}

// Go calls do, which may call the user's code, in a goroutine of its own.
func (f *Fleet) Go(do func()) { go f.spare(do) }

// spare calls what may call the user's code in a goroutine of the fleet's own,
// where a panic has no caller to go to.
func (f *Fleet) spare(do func()) {
	defer func() {
		if v := recover(); v != nil {
			f.cfg.OnError(OpAdopt, fmt.Errorf("breakerhttp: panic: %v", v))
		}
	}()
	do()
}

// unread is what becomes of a read that has failed, or that the guard forbids:
// the next is for the ordinary time, and nobody waits for it.
func (m *Member) unread() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.read = m.now()
	m.schedule(m.read)
}

// Failed tells of a local failure: others may know more.
func (m *Member) Failed(ctx context.Context, now time.Duration) {
	m.mu.Lock()
	m.again = true
	m.hasten()
	m.mu.Unlock()
	if m.Due(now) {
		m.fleet.refresh(ctx, m, now, false)
	}
}

// hasten lets a failure have its read a second after the latest one; but that of
// an open record never before its time is up.
func (m *Member) hasten() {
	next := m.read + afterFailure
	if m.rec.State == Open {
		next = max(next, m.at+m.left(m.at))
	}
	if m.again && int64(next) < m.due.Load() {
		m.due.Store(int64(next))
	}
}

// Hint reads the record now, for another process has written it.
func (m *Member) Hint(ctx context.Context) {
	m.load(context.WithoutCancel(ctx))
}

// Reset makes the record as it is unheard, until there is a newer one. Nothing
// is written over it.
func (m *Member) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reset = m.now()
	m.lease = lease{}
	m.unhear()
}
