package storetest_test

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
)

// brokenRecords break the rules of records and keys.
var brokenRecords = []mistake{
	{"Absent", "absent has a version", "want {Value: \"\", Version: 0}", func(b *broken) {
		b.items(func(_ string, item *store.Item) { item.Version = max(item.Version, 1) })
	}},
	{"Absent", "absent has a value", "want {Value: \"\", Version: 0}", func(b *broken) {
		b.items(func(_ string, item *store.Item) {
			if item.Version == 0 {
				item.Value = []byte("null")
			}
		})
	}},
	{"Absent", "any version creates", "want it to lose", func(b *broken) {
		b.swap = func(c call) (store.Item, bool, error) {
			if b.mine(c.key).Version == 0 {
				c.old = 0
			}
			return b.do(c)
		}
	}},
	{"CreateOnce", "the last write wins", "want it to lose", func(b *broken) {
		b.swap = func(c call) (store.Item, bool, error) {
			c.old = b.mine(c.key).Version
			return b.do(c)
		}
	}},
	{"CreateOnce", "the loser sees nothing", "want what is stored", func(b *broken) {
		b.swap = func(c call) (store.Item, bool, error) {
			cur, swapped, err := b.do(c)
			if !swapped {
				cur = store.Item{}
			}
			return cur, swapped, err
		}
	}},
	{"StaleVersionLoses", "an older version wins", "want it to lose", func(b *broken) {
		b.swap = func(c call) (store.Item, bool, error) {
			if cur := b.mine(c.key).Version; c.old != 0 && c.old < cur {
				c.old = cur
			}
			return b.do(c)
		}
	}},
	{"StaleVersionLoses", "a future version wins", "want it to lose", func(b *broken) {
		b.swap = func(c call) (store.Item, bool, error) {
			if cur := b.mine(c.key).Version; c.old > cur && cur != 0 {
				c.old = cur
			}
			return b.do(c)
		}
	}},
	{"StaleVersionLoses", "the loser writes", "lost and returned", func(b *broken) {
		b.swap = func(c call) (store.Item, bool, error) {
			cur, swapped, err := b.do(c)
			if !swapped && cur.Version != 0 {
				c.old = cur.Version
				_, _, _ = b.do(c)
			}
			return cur, swapped, err
		}
	}},
	{"VersionsRise", "versions start at one", "versions follow the store's clock", func(b *broken) {
		first := make(map[string]uint64)
		b.swap = func(c call) (store.Item, bool, error) {
			if c.old != 0 {
				c.old += first[c.key] - 1
			}
			cur, swapped, err := b.do(c)
			if c.old == 0 {
				first[c.key] = cur.Version
			}
			cur.Version -= first[c.key] - 1
			return cur, swapped, err
		}
	}},
	{"VersionsRise", "a swap adds one", "just after a record was created", func(b *broken) {
		counted := make(map[string]uint64)
		b.items(func(key string, item *store.Item) { item.Version = counted[key] })
		b.swap = func(c call) (store.Item, bool, error) {
			old := c.old
			if old == counted[c.key] {
				c.old = b.mine(c.key).Version
			}
			cur, swapped, err := b.do(c)
			if counted[c.key] = old + 1; old == 0 {
				counted[c.key] = cur.Version
			}
			cur.Version = counted[c.key]
			return cur, swapped, err
		}
	}},
	{"VersionsRise", "versions fall", "want a higher one", func(b *broken) {
		flip := func(v uint64) uint64 {
			if v == 0 {
				return 0
			}
			return 1<<63 - v
		}
		b.versions(flip, flip)
	}},
	{"VersionsRise", "a swap keeps the version", "want a new one", func(b *broken) {
		low := make(map[uint64]uint64)
		b.versions(func(v uint64) uint64 {
			low[v&^7] = v
			return v &^ 7
		}, func(v uint64) uint64 { return low[v] })
	}},
	{"ReadsSeeWrites", "reads are of a replica that lags", "want", func(b *broken) {
		var mu sync.Mutex
		last := make(map[string]store.Item)
		b.items(func(key string, item *store.Item) {
			mu.Lock()
			defer mu.Unlock()
			*item, last[key] = last[key], *item
		})
	}},
	{"ReadsSeeWrites", "value and version are read apart", "want", func(b *broken) {
		b.load = func(ctx context.Context, keys []string) ([]store.Item, error) {
			values, err := b.Memory.Load(ctx, keys)
			if err != nil {
				return nil, err
			}
			time.Sleep(time.Millisecond)
			items, err := b.Memory.Load(ctx, keys)
			for i := range items {
				items[i].Value = values[i].Value
			}
			return items, err
		}
	}},
	{"BinaryValues", "values are text", "want", func(b *broken) {
		b.items(func(_ string, item *store.Item) { item.Value = bytes.ToValidUTF8(item.Value, []byte("?")) })
	}},
	{"BinaryValues", "values end at a zero", "want", func(b *broken) {
		b.items(func(_ string, item *store.Item) { item.Value, _, _ = bytes.Cut(item.Value, []byte{0}) })
	}},
	{"Order", "items come sorted", "want", func(b *broken) {
		b.load = func(ctx context.Context, keys []string) ([]store.Item, error) {
			return b.Memory.Load(ctx, slices.Sorted(slices.Values(keys)))
		}
	}},
	{"Order", "a key asked for twice comes once", "want one a key", func(b *broken) {
		b.load = func(ctx context.Context, keys []string) ([]store.Item, error) {
			var once []string
			for _, key := range keys {
				if !slices.Contains(once, key) {
					once = append(once, key)
				}
			}
			return b.Memory.Load(ctx, once)
		}
	}},
	{"Order", "what is absent is left out", "want one a key", func(b *broken) {
		b.load = func(ctx context.Context, keys []string) ([]store.Item, error) {
			items, err := b.Memory.Load(ctx, keys)
			return slices.DeleteFunc(items, func(item store.Item) bool { return item.Version == 0 && len(items) > 1 }), err
		}
	}},
	{"Order", "no keys are an error", "Load of 0 keys: ", func(b *broken) {
		b.load = func(ctx context.Context, keys []string) ([]store.Item, error) {
			if len(keys) == 0 {
				return nil, os.ErrInvalid
			}
			return b.Memory.Load(ctx, keys)
		}
	}},
	{"ManyKeys", "what was not processed is absent", "item 100 is", func(b *broken) {
		b.load = func(ctx context.Context, keys []string) ([]store.Item, error) {
			items, err := b.Memory.Load(ctx, keys[:min(len(keys), 100)])
			return append(items, make([]store.Item, len(keys)-len(items))...), err
		}
	}},
	{"ManyKeys", "too many are an error", "Load of 250 keys: ", func(b *broken) {
		b.load = func(ctx context.Context, keys []string) ([]store.Item, error) {
			if len(keys) > 100 {
				return nil, os.ErrInvalid
			}
			return b.Memory.Load(ctx, keys)
		}
	}},
	{"KeysAreExact", "keys are lower case", "lost to", func(b *broken) { b.keys(strings.ToLower) }},
	{"KeysAreExact", "keys are cut", "lost to", func(b *broken) {
		b.keys(func(key string) string { return key[:min(len(key), 255)] })
	}},
	{"KeysAreExact", "keys are trimmed", "lost to", func(b *broken) { b.keys(strings.TrimSpace) }},
	{"KeysAreExact", "a tag in braces is the key", "lost to", func(b *broken) {
		b.keys(func(key string) string {
			prefix, name, _ := strings.Cut(key, "/")
			if _, rest, ok := strings.Cut(name, "{"); ok {
				if tag, _, ok := strings.Cut(rest, "}"); ok {
					return prefix + "/" + tag
				}
			}
			return key
		})
	}},
	{"KeysAreExact", "keys are ASCII", "lost to", func(b *broken) {
		b.keys(func(key string) string {
			return strings.Map(func(r rune) rune {
				if r > 0x7f {
					return '?'
				}
				return r
			}, key)
		})
	}},
	{"OneKeyFails", "a refused key fails the Load", "one key concerns itself alone", func(b *broken) {
		b.load = func(ctx context.Context, keys []string) ([]store.Item, error) {
			if slices.ContainsFunc(keys, tooLong) {
				return nil, os.ErrInvalid
			}
			return b.Memory.Load(ctx, keys)
		}
	}},
	{"OneKeyFails", "a refused key fails the others", "want the others as they are stored", func(b *broken) {
		b.load = func(ctx context.Context, keys []string) ([]store.Item, error) {
			items, err := b.Memory.Load(ctx, keys)
			if slices.ContainsFunc(keys, tooLong) {
				for i := range items {
					items[i] = store.Item{Err: os.ErrInvalid}
				}
			}
			return items, err
		}
	}},
	{"OneKeyFails", "a refused key fails the swap", "want it to win or an error of the item", func(b *broken) {
		b.swap = func(c call) (store.Item, bool, error) {
			if tooLong(c.key) {
				return store.Item{}, false, os.ErrInvalid
			}
			return b.do(c)
		}
	}},
	{"OneKeyFails", "a refused key is absent", "want the same", func(b *broken) {
		b.swap = func(c call) (store.Item, bool, error) {
			if tooLong(c.key) {
				return store.Item{Err: os.ErrInvalid}, false, nil
			}
			return b.do(c)
		}
	}},
	{"OneKeyFails", "a long key is cut", "want it to win or an error of the item", func(b *broken) {
		b.keys(func(key string) string { return key[:min(len(key), 2048)] })
	}},
}

func tooLong(key string) bool { return len(key) > 2048 }
