package before

import (
	"fmt"
	"sync"
	"time"
)

// A guard keeps off a store that fails: after three errors in a row for five
// seconds, then for twice as long after each further one, up to a minute.
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

var errGuarded = fmt.Errorf("breakerhttp: store: left alone after %d errors in a row", guardErrors)

func (g *guard) allows(now time.Duration) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return now >= g.until
}

func (g *guard) report(now time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ok {
		g.errors, g.pause = 0, 0
		return
	}
	g.errors++
	if g.errors >= guardErrors && now >= g.until { // not again for calls that were under way
		g.pause = min(max(guardPause, 2*g.pause), guardMaxPause)
		g.until = now + g.pause
	}
}
