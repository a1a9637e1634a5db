package storetest

import (
	"cmp"
	"fmt"
	"strings"
	"sync"

	"github.com/breakerhttp/breakerhttp/store"
)

func order(t *trial) {
	a, b, c := t.key("a"), t.key("b"), t.key("c")
	items := map[string]store.Item{
		c: t.write(c, 0, "third", long),
		a: t.write(a, 0, "first", long),
		b: {},
	}
	for _, keys := range [][]string{
		{a, b, c},
		{c, b, a},
		{b, a},
		{c, a, c, b, b, a},
		nil,
	} {
		for i, got := range t.load(keys...) {
			if want := items[keys[i]]; !same(got, want) {
				t.Errorf("Load(%q)[%d] = %s, want %s", keys, i, show(got), show(want))
			}
		}
	}
}

// manyKeys loads more keys than some servers take in one request.
func manyKeys(t *trial) {
	const n, writers = 250, 10
	keys, want := make([]string, n), make([]store.Item, n)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < n; i += writers {
				keys[i] = t.key(fmt.Sprint(i))
				var err error
				want[i], _, err = t.store.CompareAndSwap(t.Context(), keys[i], 0, []byte(keys[i]), long)
				if err = cmp.Or(err, want[i].Err); err != nil {
					t.Errorf("CompareAndSwap(%q, version 0): %v", keys[i], err)
				}
			}
		})
	}
	wg.Wait()
	for i, got := range t.load(keys...) {
		if got.Version == 0 || !same(got, want[i]) {
			t.Fatalf("Load of %d keys: item %d is %s, want %s", n, i, show(got), show(want[i]))
		}
	}
}

// keysAreExact writes a record under each of several keys that a careless store would confuse, and
// then reads all of them.
func keysAreExact(t *trial) {
	kilobyte := strings.Repeat("k", 1024-len(t.key("")))
	names := []string{
		"https://api.example.com", "https://api.example.com:8443", "HTTPS://API.EXAMPLE.COM",
		"https://[fe80::1%eth0]", "a/b", "a//b", "a:b", "a/../b", "a b", "a b ", "a+b", "a%20b", "a\tb", "a\nb",
		"{a}", "{a}b", "a{b}", "{}", "{", "}", "{a", "a*", "a?", "[a]", `a\b`, `a"b`, "a#b", "a@b", "a\x00b",
		"münchen", "mu\u0308nchen", "日本語", "\U0001F50C", "\u200b",
		kilobyte, kilobyte[1:], kilobyte[1:] + "l",
	}
	keys, want := make([]string, len(names)), make([]store.Item, len(names))
	for i, name := range names {
		keys[i] = t.key(name)
		want[i] = t.write(keys[i], 0, fmt.Sprint(i), long)
	}
	for i, got := range t.load(keys...) {
		if !same(got, want[i]) {
			t.Errorf("Load(%s) = %s, want %s: keys are exact", brief(names[i]), show(got), show(want[i]))
		}
	}
}
