package storetest_test

import (
	"context"
	"strings"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
)

// brokenTimes break the rules of time and concurrency.
var brokenTimes = []mistake{
	{"Age", "age is always zero", "still waiting for Load to return an Age", func(b *broken) {
		b.items(func(_ string, item *store.Item) { item.Age = 0 })
	}},
	{"Age", "age is in another unit", "still waiting for Load to return an Age", func(b *broken) {
		b.items(func(_ string, item *store.Item) { item.Age /= time.Microsecond })
	}},
	{"Age", "age is since 1970", "want between 0 and", func(b *broken) {
		b.items(func(_ string, item *store.Item) { item.Age = time.Duration(time.Now().UnixNano()) })
	}},
	{"Age", "age is negative", "want between 0 and", func(b *broken) {
		b.items(func(_ string, item *store.Item) { item.Age -= time.Minute })
	}},
	{"Age", "a record is as old as its creation", "Load of a record swapped since", func(b *broken) {
		created := make(map[string]time.Time)
		b.items(func(key string, item *store.Item) {
			if _, ok := created[key]; !ok {
				created[key] = time.Now()
			}
			item.Age = time.Since(created[key])
		})
	}},
	{"Age", "the loser sees no age", "lost and returned Age 0s", func(b *broken) {
		b.swap = func(c call) (store.Item, bool, error) {
			cur, swapped, err := b.do(c)
			cur.Age = 0
			return cur, swapped, err
		}
	}},
	{"Expiry", "nothing expires", "still waiting for Load to return an empty Value", func(b *broken) {
		b.swap = func(c call) (store.Item, bool, error) {
			c.ttl = time.Hour
			return b.do(c)
		}
	}},
	{"Expiry", "what expires loses its version", "want {Value: \"\", Version: ", func(b *broken) {
		b.items(func(_ string, item *store.Item) {
			if len(item.Value) == 0 {
				item.Version = 0
			}
		})
	}},
	{"Expiry", "what has expired can be created", "want it to lose", func(b *broken) {
		b.swap = func(c call) (store.Item, bool, error) {
			if cur := b.mine(c.key); c.old == 0 && len(cur.Value) == 0 {
				c.old = cur.Version
			}
			return b.do(c)
		}
	}},
	{"TTLRenewed", "a swap keeps the ttl", "want {Value: \"long\"", func(b *broken) {
		expires := make(map[string]time.Time)
		b.swap = func(c call) (store.Item, bool, error) {
			if strings.HasSuffix(c.key, "/shortened") {
				return b.do(c)
			}
			if c.old == 0 {
				expires[c.key] = time.Now().Add(c.ttl)
			}
			c.ttl = time.Until(expires[c.key])
			return b.do(c)
		}
	}},
	{"TTLRenewed", "a swap never shortens the ttl", "still waiting for Load to return an empty Value", func(b *broken) {
		longest := make(map[string]time.Duration)
		b.swap = func(c call) (store.Item, bool, error) {
			longest[c.key] = max(longest[c.key], c.ttl)
			c.ttl = longest[c.key]
			return b.do(c)
		}
	}},
	{"OneWinner", "check, then write", "want 1", func(b *broken) {
		b.swap = func(c call) (store.Item, bool, error) {
			if cur := b.mine(c.key); cur.Version != c.old {
				return cur, false, nil
			}
			time.Sleep(time.Millisecond)
			for {
				c.old = b.mine(c.key).Version
				if cur, swapped, err := b.do(c); swapped || err != nil {
					return cur, swapped, err
				}
			}
		}
	}},
	{"OneWinner", "everybody loses", "want 1", func(b *broken) {
		b.swap = func(c call) (store.Item, bool, error) {
			cur, _, err := b.do(c)
			return cur, false, err
		}
	}},
	{"ContextEnds", "Load hangs", "Load took", func(b *broken) {
		b.load = func(ctx context.Context, keys []string) ([]store.Item, error) {
			if ctx.Err() != nil {
				time.Sleep(300 * time.Millisecond)
			}
			return b.Memory.Load(ctx, keys)
		}
	}},
	{"ContextEnds", "CompareAndSwap hangs", "CompareAndSwap took", func(b *broken) {
		b.swap = func(c call) (store.Item, bool, error) {
			if c.ctx.Err() != nil {
				time.Sleep(300 * time.Millisecond)
			}
			return b.do(c)
		}
	}},
	{"ContextEnds", "a swap not made is lost", "CompareAndSwap returned {", func(b *broken) {
		b.swap = func(c call) (store.Item, bool, error) {
			cur, swapped, _ := b.do(c)
			return cur, swapped, nil
		}
	}},
	{"ContextEnds", "what was not read is absent", "Load returned [{", func(b *broken) {
		b.load = func(ctx context.Context, keys []string) ([]store.Item, error) {
			items, err := b.Memory.Load(ctx, keys)
			if err != nil {
				items = make([]store.Item, len(keys))
			}
			return items, nil
		}
	}},
	{"ErrorMeansUnknown", "a swap is retried", "lost to its own value", func(b *broken) {
		b.swap = func(c call) (store.Item, bool, error) {
			if c.old != 0 {
				_, _, _ = b.do(c)
			}
			return b.do(c)
		}
	}},
	{"ErrorMeansUnknown", "an error and a swap", "want one or the other", func(b *broken) {
		b.swap = func(c call) (store.Item, bool, error) {
			ended := c.ctx.Err()
			c.ctx = context.Background()
			cur, swapped, _ := b.do(c)
			return cur, swapped, ended
		}
	}},
	{"ErrorMeansUnknown", "an error destroys the record", "the record is", func(b *broken) {
		b.swap = func(c call) (store.Item, bool, error) {
			cur, swapped, err := b.do(c)
			if err != nil {
				c.ctx, c.value = context.Background(), []byte("half a va")
				_, _, _ = b.do(c)
			}
			return cur, swapped, err
		}
	}},
	{"Watch", "nobody is told", "still waiting for Watch to call", func(b *broken) {
		b.watch = func(ctx context.Context, _ func(string)) error {
			<-ctx.Done()
			return ctx.Err()
		}
	}},
	{"Watch", "keys are cut", "still waiting for Watch to call", func(b *broken) {
		b.watch = func(ctx context.Context, changed func(string)) error {
			return b.Memory.Watch(ctx, func(key string) {
				key, _, _ = strings.Cut(key, ":")
				changed(key)
			})
		}
	}},
	{"Watch", "it gives up", "before its context ended", func(b *broken) {
		b.watch = func(context.Context, func(string)) error { return nil }
	}},
	{"Watch", "it ends without an error", "want the context's error", func(b *broken) {
		b.watch = func(ctx context.Context, changed func(string)) error {
			_ = b.Memory.Watch(ctx, changed)
			return nil
		}
	}},
	{"Watch", "it hangs", "Watch took", func(b *broken) {
		b.watch = func(ctx context.Context, changed func(string)) error {
			err := b.Memory.Watch(ctx, changed)
			time.Sleep(300 * time.Millisecond)
			return err
		}
	}},
	{"Watch", "it goes on after its end", "after it had returned", func(b *broken) {
		b.watch = func(ctx context.Context, changed func(string)) error {
			err := b.Memory.Watch(ctx, changed)
			time.AfterFunc(10*time.Millisecond, func() { changed("late") })
			return err
		}
	}},
}
