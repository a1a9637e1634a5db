package storetest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
)

// same compares two items without their Age, which differs from read to read.
func same(a, b store.Item) bool {
	return a.Version == b.Version && bytes.Equal(a.Value, b.Value)
}

func show(item store.Item) string {
	return fmt.Sprintf("{Value: %s, Version: %d}", brief(string(item.Value)), item.Version)
}

func brief(value string) string {
	if len(value) > 64 {
		return fmt.Sprintf("%.64q… (%d bytes)", value, len(value))
	}
	return fmt.Sprintf("%q", value)
}

func absent(t *trial) {
	key := t.key("absent")
	t.stored(key, store.Item{})
	t.lose(key, 7, store.Item{})
	t.stored(key, store.Item{})
}

func createOnce(t *trial) {
	key := t.key("record")
	first := t.write(key, 0, "first", long)
	t.stored(key, first)
	t.lose(key, 0, first)
	t.stored(key, first)
}

func staleVersionLoses(t *trial) {
	key := t.key("record")
	first := t.write(key, 0, "first", long)
	second := t.write(key, first.Version, "second", long)
	for _, old := range []uint64{0, first.Version, first.Version - 1, second.Version + 1} {
		t.lose(key, old, second)
	}
	t.stored(key, second)
}

// versionsRise checks that versions rise, and are not below the store's clock in milliseconds. A
// store that has lost its latest writes must not give out their versions again: a process that was
// away would take the new record for the one that it knows.
func versionsRise(t *trial) {
	key := t.key("early")
	cur := t.write(key, 0, "0", long)
	for i := range 3 {
		next := t.write(key, cur.Version, fmt.Sprint(i+1), long)
		if next.Version < cur.Version {
			t.Fatalf("CompareAndSwap made version %d of version %d, want a higher one", next.Version, cur.Version)
		}
		cur = next
	}
	start := time.Now()
	late := store.Item{}
	for i := 0; late.Version <= cur.Version+10; i++ {
		if time.Since(start) > coarse {
			t.Fatalf("a record created %v after version %d of another starts at version %d, want a higher one: versions follow the store's clock in milliseconds",
				coarse, cur.Version, late.Version)
		}
		time.Sleep(50 * time.Millisecond)
		late = t.write(t.key(fmt.Sprint("late", i)), 0, "0", long)
	}
	if next := t.write(key, cur.Version, "late", long); next.Version < late.Version {
		t.Fatalf("CompareAndSwap made version %d of version %d just after a record was created with version %d, want one that is not lower: versions follow the store's clock in milliseconds",
			next.Version, cur.Version, late.Version)
	}
}

// readsSeeWrites has one writer and several readers. A reader must never see an older record after
// a newer one, or a value with the version of another.
func readsSeeWrites(t *trial) {
	key := t.key("record")
	cur := t.write(key, 0, "0", long)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	const readers = 4
	seen := make(chan error, readers)
	for range readers {
		go func() { seen <- t.follow(ctx, key) }()
	}
	for i := range 50 {
		next := t.write(key, cur.Version, fmt.Sprint(i+1), long)
		t.stored(key, next)
		cur = next
	}
	stop()
	for range readers {
		if err := <-seen; err != nil {
			t.Error(err)
		}
	}
}

// follow reads key until ctx is done. It returns an error if what it has read was wrong.
func (t *trial) follow(ctx context.Context, key string) error {
	var last store.Item
	for ctx.Err() == nil {
		items, err := t.store.Load(t.Context(), []string{key})
		if err != nil || len(items) != 1 {
			return fmt.Errorf("Load(%q) during writes: %d items, error %v", key, len(items), err)
		}
		if items[0].Err != nil {
			return fmt.Errorf("Load(%q) during writes: item error %w", key, items[0].Err)
		}
		switch cur := items[0]; {
		case cur.Version < last.Version:
			return fmt.Errorf("Load(%q) = %s after %s, want no older one", key, show(cur), show(last))
		case cur.Version == last.Version && !same(cur, last):
			return fmt.Errorf("Load(%q) = %s and %s, want one value a version", key, show(last), show(cur))
		default:
			last = cur
		}
	}
	return nil
}

func binaryValues(t *trial) {
	var all [256]byte
	for i := range all {
		all[i] = byte(i)
	}
	for name, value := range map[string]string{
		"every byte": string(all[:]),
		"zeros":      "\x00\x00",
		"no UTF-8":   "\xff\xfe\xc0\x80",
		"newlines":   "\r\n+OK\r\n",
		"JSON":       `{"s":1,"st":"open","d":60000}`,
		"4 KB":       strings.Repeat(string(all[:]), 16),
	} {
		key := t.key(name)
		item := t.write(key, 0, value, long)
		t.stored(key, item)
		t.lose(key, 0, item)
	}
}
