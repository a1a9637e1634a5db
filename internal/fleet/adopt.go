package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
)

// adoptNow is adopt for a caller that holds no lock and has no other work to do first.
func (m *Member) adoptNow(ctx context.Context, item store.Item, began time.Duration) {
	for _, call := range m.adopt(ctx, item, began) {
		call()
	}
}

// adopt learns item, the store's answer to a call that began at began, and lets the local circuit
// follow. It returns the functions that the caller has to call when it holds no lock.
func (m *Member) adopt(ctx context.Context, item store.Item, began time.Duration) (after []func()) {
	if item.Err != nil {
		m.failedItem(OpLoad, item)
		m.readFailed()
		return nil
	}
	m.guard.report(m.now(), true)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.learn(ctx, item, began)
	if publish := m.atNextLoad; publish != nil {
		m.atNextLoad = nil
		m.fleet.Go(func() { m.publishLater(publish) }) // it must not wait for the user's hook
	}
	after, m.afterUnlock = m.afterUnlock, nil
	return after
}

// publishLater publishes what could not be published before.
func (m *Member) publishLater(publish func(context.Context)) {
	ctx, cancel := m.fleet.writing(context.Background())
	defer cancel()
	publish(ctx)
}

// learn is adopt for a caller that holds mu.
func (m *Member) learn(ctx context.Context, item store.Item, began time.Duration) {
	if m.overtaken(item, began) {
		return
	}
	m.remember(item)
	if m.isOwnLease() && (m.electing || m.lease.version == m.known.version) {
		return // this process probes, or is about to
	}
	m.follow(ctx)
}

// follow lets the local circuit do what the record says. A record that is dead, or absent, changes
// nothing. The caller holds mu.
func (m *Member) follow(ctx context.Context) {
	k := &m.known
	now := m.now()
	var deliver func()
	switch healthy, ok := k.healthyAt(now); {
	case m.holds(now):
		k.wasOpen = true
		deliver = m.local.AdoptOpen(ctx, m.opening(now))
	case k.rec.State == Closed && k.wasOpen:
		k.wasOpen = false
		deliver = m.local.AdoptClosed(ctx, longest) // no matter when it opened
	case ok:
		k.wasOpen = false
		deliver = m.local.AdoptClosed(ctx, now-healthy)
	}
	if deliver != nil {
		m.afterUnlock = append(m.afterUnlock, deliver)
	}
}

// opening returns how the circuit opens for a record that holds. The caller holds mu.
func (m *Member) opening(now time.Duration) Opening {
	remaining := m.remaining(now)
	return Opening{
		At:     now - m.known.ageAt(now),
		Until:  now + remaining,
		Probed: m.known.rec.State == Half && remaining > 0,
		Detail: m.openedBy(),
	}
}

// openedBy says for people which processes opened the record.
func (m *Member) openedBy() string {
	others := slices.DeleteFunc(slices.Clone(m.known.rec.By), func(name string) bool { return name == m.fleet.voter.Name })
	switch n := len(others); n {
	case 0:
		return "opened by other processes"
	case 1:
		return "opened by another process: " + others[0]
	default:
		return fmt.Sprintf("opened by %d other processes: %s", n, strings.Join(others, ", "))
	}
}
