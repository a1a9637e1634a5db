package storetest_test

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
	"github.com/breakerhttp/breakerhttp/store/storetest"
)

// A mistake is a way to break a rule: the rule's subtest, the mistake, and what the suite says
// about it.
type mistake struct {
	rule, name, says string
	make             func(*broken)
}

var mistakes = slices.Concat(brokenRecords, brokenTimes)

// broken is a Memory with one mistake.
type broken struct {
	*storetest.Memory
	load  func(ctx context.Context, keys []string) ([]store.Item, error)
	swap  func(c call) (store.Item, bool, error)
	watch func(ctx context.Context, changed func(string)) error
}

// A call is the arguments of a CompareAndSwap.
type call struct {
	ctx   context.Context
	key   string
	old   uint64
	value []byte
	ttl   time.Duration
}

func (b *broken) Load(ctx context.Context, keys []string) ([]store.Item, error) {
	if b.load != nil {
		return b.load(ctx, keys)
	}
	return b.Memory.Load(ctx, keys)
}

func (b *broken) CompareAndSwap(ctx context.Context, key string, old uint64, value []byte, ttl time.Duration) (store.Item, bool, error) {
	c := call{ctx, key, old, value, ttl}
	if b.swap != nil {
		return b.swap(c)
	}
	return b.do(c)
}

func (b *broken) Watch(ctx context.Context, changed func(string)) error {
	if b.watch != nil {
		return b.watch(ctx, changed)
	}
	return b.Memory.Watch(ctx, changed)
}

func (b *broken) do(c call) (store.Item, bool, error) {
	return b.Memory.CompareAndSwap(c.ctx, c.key, c.old, c.value, c.ttl)
}

// mine returns the true record of key.
func (b *broken) mine(key string) store.Item {
	items, _ := b.Memory.Load(context.Background(), []string{key})
	return items[0]
}

// items lets f change every item that is loaded.
func (b *broken) items(f func(key string, item *store.Item)) {
	b.load = func(ctx context.Context, keys []string) ([]store.Item, error) {
		items, err := b.Memory.Load(ctx, keys)
		for i := range items {
			f(keys[i], &items[i])
		}
		return items, err
	}
}

// keys lets f change every key.
func (b *broken) keys(f func(string) string) {
	b.load = func(ctx context.Context, keys []string) ([]store.Item, error) {
		keys = slices.Clone(keys)
		for i := range keys {
			keys[i] = f(keys[i])
		}
		return b.Memory.Load(ctx, keys)
	}
	b.swap = func(c call) (store.Item, bool, error) {
		c.key = f(c.key)
		return b.do(c)
	}
}

// versions lets out change every version that is returned, and in every version that is given.
func (b *broken) versions(out, in func(uint64) uint64) {
	b.items(func(_ string, item *store.Item) { item.Version = out(item.Version) })
	b.swap = func(c call) (store.Item, bool, error) {
		c.old = in(c.old)
		cur, swapped, err := b.do(c)
		cur.Version = out(cur.Version)
		return cur, swapped, err
	}
}

// TestRunFindsMistakes runs itself once for every mistake, each time in a process of its own, which
// must fail.
func TestRunFindsMistakes(t *testing.T) {
	for _, m := range mistakes {
		t.Run(m.rule+": "+m.name, func(t *testing.T) {
			if os.Getenv("STORETEST_MISTAKE") != "" {
				storetest.RunVirtual(t, func(*testing.T) store.Store {
					b := &broken{Memory: storetest.NewMemory()}
					m.make(b)
					return b
				})
				return
			}
			t.Parallel()
			pattern := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$/^" + m.rule + "$"
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.timeout=1m", "-test.run="+pattern)
			child.Env = append(os.Environ(), "STORETEST_MISTAKE=1")
			out, err := child.CombinedOutput()
			if err == nil {
				t.Fatalf("the suite found nothing, want %s to fail:\n%s", m.rule, out)
			}
			if !strings.Contains(string(out), m.says) {
				t.Errorf("the suite failed without saying %q:\n%s", m.says, out)
			}
		})
	}
}

// TestEveryRuleCanFail: each rule is broken by at least one mistake.
func TestEveryRuleCanFail(t *testing.T) {
	for _, rule := range storetest.RuleNames() {
		if !slices.ContainsFunc(mistakes, func(m mistake) bool { return m.rule == rule }) {
			t.Errorf("no mistake breaks the rule %s, want at least one", rule)
		}
	}
}
