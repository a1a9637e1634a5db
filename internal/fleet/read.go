package fleet

import (
	"context"
	"fmt"
	"time"
)

// Refresh reads the record, which is due. The request waits for the read if it is the first one, or
// the first one after a long time without requests; otherwise it goes on in the background. If the
// host is failing, the request also waits for a read that a failure has caused.
func (m *Member) Refresh(ctx context.Context, now time.Duration, failing bool) {
	m.mu.Lock()
	if !m.idle(now) {
		wait := failing && m.reads.wantedSoon
		m.mu.Unlock()
		m.fleet.readDue(ctx, m, now, wait)
		return
	}
	done := m.reads.firstEnds
	if done == nil {
		done = make(chan struct{})
		m.reads.firstEnds = done
		go func() {
			defer close(done)
			m.readFirst(context.WithoutCancel(ctx))
		}()
	}
	m.mu.Unlock()
	await(ctx, done, longest) // load has a limit of its own
}

// await lets a request wait for a read, for limit at most, and for half of its own time at most. The
// other half is for its host.
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

// idle reports that the record was never read, or that there was no request for so long that what
// was read says nothing. A request after the record was due would have read it.
func (m *Member) idle(now time.Duration) bool {
	refresh := m.fleet.cfg.Refresh
	overdue := now - m.NextRead()
	return m.reads.latest == never || (now-m.reads.latest)/10 >= refresh && overdue/8 >= refresh
}

func (m *Member) readFirst(ctx context.Context) {
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.reads.firstEnds = nil
	}()
	m.fleet.catchPanics(func() { m.load(ctx) })
	m.fleet.enter(m)
}

// load reads the record and adopts it. It reports whether that succeeded.
func (m *Member) load(ctx context.Context) bool {
	items, err := m.fleet.load(ctx, []string{m.key})
	if err != nil {
		m.readFailed()
		return false
	}
	m.adopt(ctx, items[0])
	return true
}

// Hint reads the record now, for another process has written it.
func (m *Member) Hint(ctx context.Context) {
	m.load(context.WithoutCancel(ctx))
}

// Go calls do, which may call the user's code, in a goroutine of its own.
func (f *Fleet) Go(do func()) { go f.catchPanics(do) }

// catchPanics calls what may call the user's code in a goroutine of the fleet's own, where a panic
// has no caller to go to.
func (f *Fleet) catchPanics(do func()) {
	defer func() {
		if v := recover(); v != nil {
			f.cfg.OnError(OpAdopt, fmt.Errorf("breakerhttp: panic: %v", v))
		}
	}()
	do()
}
