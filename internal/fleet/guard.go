package fleet

import (
	"sync"
	"time"
)

// A guard stops calls of a store, or of a record, that keeps failing. After three errors in a row
// it forbids calls for five seconds, then for twice as long after each further error, up to a
// minute.
type guard struct {
	mu     sync.Mutex
	errors int
	pause  time.Duration
	until  time.Duration
}

const (
	guardErrors   = 3
	guardPause    = 5 * time.Second
	guardMaxPause = 60 * time.Second
)

// allows reports whether calls may be made now.
func (g *guard) allows(now time.Duration) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return now >= g.until
}

// report takes in whether a call has succeeded.
func (g *guard) report(now time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ok {
		g.errors, g.pause = 0, 0
		return
	}
	g.errors++
	// Calls that were under way when the pause began do not prolong it.
	if g.errors >= guardErrors && now >= g.until {
		g.pause = min(max(guardPause, 2*g.pause), guardMaxPause)
		g.until = now + g.pause
	}
}
