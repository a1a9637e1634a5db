// Package storetest tests a [store.Store] against the rules that sharing circuits relies on. It
// also has a Store in memory, for tests.
//
// A store's own test is one call:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) store.Store {
//			return mystore.New(dial(t))
//		})
//	}
package storetest

import (
	"cmp"
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
)

const (
	long   = time.Hour              // a ttl that no test outlives
	short  = 100 * time.Millisecond // a ttl that every test outlives
	coarse = 2 * time.Second        // an age that is not 0 on a clock of whole seconds
	prompt = 200 * time.Millisecond // how long a store may take to notice the end of a context
	answer = 10 * time.Second       // how long a store may take to answer, or to do what it should
)

var rules = []struct {
	name  string
	check func(*trial)
}{
	{"Absent", absent},
	{"CreateOnce", createOnce},
	{"StaleVersionLoses", staleVersionLoses},
	{"VersionsRise", versionsRise},
	{"ReadsSeeWrites", readsSeeWrites},
	{"BinaryValues", binaryValues},
	{"Order", order},
	{"ManyKeys", manyKeys},
	{"KeysAreExact", keysAreExact},
	{"Age", age},
	{"Expiry", expiry},
	{"TTLRenewed", ttlRenewed},
	{"OneWinner", oneWinner},
	{"ContextEnds", contextEnds},
	{"ErrorMeansUnknown", errorMeansUnknown},
	{"OneKeyFails", oneKeyFails},
	{"Watch", watches},
}

// Run tests the stores that open returns. Each rule has a subtest, with a store of its own. The
// stores may reach the same records, even those of earlier runs: every run uses new keys. Its
// records expire within an hour. A store that is a [store.Watcher] is tested as one.
//
// The stores must be reachable and idle. Run waits for records to age and to expire, which takes
// about 4 seconds in total.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			rule.check(newTrial(t, open(t)))
		})
	}
}

// A trial is one rule's test of one store.
type trial struct {
	*testing.T
	store  store.Store
	prefix string
}

func newTrial(t *testing.T, store store.Store) *trial {
	return &trial{T: t, store: store, prefix: "storetest-" + rand.Text()}
}

// key returns a key that no other trial uses.
func (t *trial) key(name string) string { return t.prefix + "/" + name }

// load returns an item for each key.
func (t *trial) load(keys ...string) []store.Item {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), answer)
	defer cancel()
	items, err := t.store.Load(ctx, keys)
	if err != nil {
		t.Fatalf("Load of %d keys: %v", len(keys), err)
	}
	if len(items) != len(keys) {
		t.Fatalf("Load of %d keys returned %d items, want one a key", len(keys), len(items))
	}
	for i, item := range items {
		if item.Err != nil {
			t.Fatalf("Load of %d keys: item error of %s: %v", len(keys), brief(keys[i]), item.Err)
		}
	}
	return items
}

// load1 returns the item of one key.
func (t *trial) load1(key string) store.Item {
	t.Helper()
	return t.load(key)[0]
}

// swap calls CompareAndSwap, which may win or lose.
func (t *trial) swap(key string, old uint64, value string, ttl time.Duration) (store.Item, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), answer)
	defer cancel()
	cur, swapped, err := t.store.CompareAndSwap(ctx, key, old, []byte(value), ttl)
	if err = cmp.Or(err, cur.Err); err != nil {
		t.Fatalf("CompareAndSwap(%q, version %d): %v", key, old, err)
	}
	return cur, swapped
}

// write makes a swap that must win, and returns the new record.
func (t *trial) write(key string, old uint64, value string, ttl time.Duration) store.Item {
	t.Helper()
	cur, swapped := t.swap(key, old, value, ttl)
	if !swapped {
		t.Fatalf("CompareAndSwap(%q, version %d) lost to %s, want it to win: nobody else writes", key, old, show(cur))
	}
	if cur.Version == 0 || cur.Version == old {
		t.Fatalf("CompareAndSwap(%q, version %d) won and returned version %d, want a new one", key, old, cur.Version)
	}
	if string(cur.Value) != value {
		t.Fatalf("CompareAndSwap(%q) won and returned %s, want the value %s", key, show(cur), brief(value))
	}
	return cur
}

// lose makes a swap that must lose, and return want.
func (t *trial) lose(key string, old uint64, want store.Item) store.Item {
	t.Helper()
	cur, swapped := t.swap(key, old, "the loser's", long)
	if swapped {
		t.Fatalf("CompareAndSwap(%q, version %d) won, want it to lose: the record's version is %d", key, old, want.Version)
	}
	if !same(cur, want) {
		t.Fatalf("CompareAndSwap(%q, version %d) lost and returned %s, want what is stored: %s", key, old, show(cur), show(want))
	}
	return cur
}

// stored checks that key's record is want.
func (t *trial) stored(key string, want store.Item) {
	t.Helper()
	if got := t.load1(key); !same(got, want) {
		t.Fatalf("Load(%q) = %s, want %s", key, show(got), show(want))
	}
}

// eventually calls met until it returns true.
func (t *trial) eventually(want string, met func() bool) {
	t.Helper()
	start := time.Now()
	for !met() {
		if waited := time.Since(start); waited > answer {
			t.Fatalf("after %v still waiting for %s", waited.Round(time.Millisecond), want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
