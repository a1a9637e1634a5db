package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
)

// oneWinner lets a hundred goroutines create a record at once, and then a hundred swap it. One
// wins.
func oneWinner(t *trial) {
	key := t.key("record")
	created := t.race(key, 0)
	t.race(key, created.Version)
}

func (t *trial) race(key string, old uint64) store.Item {
	t.Helper()
	const n = 100
	type result struct {
		cur     store.Item
		swapped bool
		err     error
	}
	var results [n]result
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			r := &results[i]
			r.cur, r.swapped, r.err = t.store.CompareAndSwap(t.Context(), key, old, fmt.Appendf(nil, "%d of version %d", i, old), long)
			r.err = cmp.Or(r.err, r.cur.Err)
		})
	}
	close(start)
	wg.Wait()

	winners, stored := 0, t.load1(key)
	for i, r := range results {
		if r.err != nil {
			t.Fatalf("CompareAndSwap(%q, version %d), one of %d at once: %v", key, old, n, r.err)
		}
		if r.swapped {
			winners++
		}
		if !same(r.cur, stored) {
			t.Errorf("CompareAndSwap(%q, version %d), number %d of %d at once, swapped %v and returned %s, want the winner's: %s",
				key, old, i, n, r.swapped, show(r.cur), show(stored))
		}
	}
	if winners != 1 {
		t.Fatalf("%d of %d CompareAndSwap(%q, version %d) at once won, want 1", winners, n, key, old)
	}
	return stored
}

// contextEnds checks that both methods return soon after their context has ended, for whatever
// reason, with an error or a true answer, and that the store works as before afterwards.
func contextEnds(t *trial) {
	key := t.key("record")
	item := t.write(key, 0, "value", long)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for _, ctx := range []context.Context{cancelled, late} {
		t.promptly(ctx, "Load", func() string {
			items, err := t.store.Load(ctx, []string{key})
			if err != nil || len(items) == 1 && (items[0].Err != nil || same(items[0], item)) {
				return ""
			}
			return fmt.Sprintf("Load returned %v and no error although its context had ended, want what is stored or an error", items)
		})
		t.promptly(ctx, "CompareAndSwap", func() string {
			// Its version is stale, so nothing is written in any case.
			cur, swapped, err := t.store.CompareAndSwap(ctx, key, item.Version+1, []byte("late"), long)
			if err != nil || cur.Err != nil || !swapped && same(cur, item) {
				return ""
			}
			return fmt.Sprintf("CompareAndSwap returned %s and no error although its context had ended, want what is stored or an error", show(cur))
		})
	}
	t.stored(key, item)
}

// promptly checks that call, whose context is done, returns soon. call returns what was wrong, or
// "".
func (t *trial) promptly(ctx context.Context, what string, call func() (complaint string)) {
	t.Helper()
	start, done := time.Now(), make(chan string, 1)
	go func() { done <- call() }()
	complaint, ok := receive(done, prompt)
	if !ok {
		if complaint, ok = receive(done, answer); !ok {
			t.Fatalf("%s has not returned within %v although its context had ended (%v)", what, answer, ctx.Err())
		}
		t.Errorf("%s took %v to return after its context had ended (%v), want at most %v", what, time.Since(start), ctx.Err(), prompt)
	}
	if complaint != "" {
		t.Error(complaint)
	}
}

// receive waits for about d at most. Then it looks once more, because the machine may have been too
// busy to run this process at all, and the store is not to blame for that.
func receive(c <-chan string, d time.Duration) (s string, ok bool) {
	select {
	case s = <-c:
		return s, true
	case <-time.After(d):
	}
	select {
	case s = <-c:
		return s, true
	default:
		return "", false
	}
}

// errorMeansUnknown ends contexts in the middle of swaps. After an error, either of the two values
// may be stored. Without one, the answer holds. A swap that says it lost to its own value has been
// sent twice.
func errorMeansUnknown(t *trial) {
	key := t.key("record")
	cur := t.write(key, 0, "0", long)
	maybe := map[string]bool{"0": true} // what may be stored: a late swap can land after the Load that follows it
	for i := range 40 {
		value := fmt.Sprint(i + 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*50*time.Microsecond)
		next, swapped, err := t.store.CompareAndSwap(ctx, key, cur.Version, []byte(value), long)
		cancel()
		err = cmp.Or(err, next.Err)
		if err != nil && swapped {
			t.Fatalf("CompareAndSwap(%q, version %d) swapped and returned the error %v, want one or the other", key, cur.Version, err)
		}
		if err == nil && !swapped && string(next.Value) == value {
			t.Fatalf("CompareAndSwap(%q, version %d) lost to its own value: %s", key, cur.Version, show(next))
		}
		if err != nil {
			next = t.load1(key)
		}
		if err != nil || swapped {
			maybe[value] = true
		}
		if !maybe[string(next.Value)] || next.Version < cur.Version {
			t.Fatalf("after a swap of %s to %q (swapped %v, error %v) the record is %s, want one of the two", show(cur), value, swapped, err, show(next))
		}
		cur = next
	}
}

// oneKeyFails uses keys that a store may refuse, together with keys that it must accept. A key that
// is refused has an error of its own. One that is not refused has a record like any other.
func oneKeyFails(t *trial) {
	before, after := t.key("before"), t.key("\uffff after")
	want := []store.Item{t.write(before, 0, "before", long), t.write(after, 0, "after", long)}
	for name, odd := range map[string]string{
		"3 KB":     t.key(strings.Repeat("k", 3<<10)),
		"70 KB":    t.key(strings.Repeat("k", 70<<10)),
		"no UTF-8": t.key("http://\xff"),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), answer)
		cur, swapped, err := t.store.CompareAndSwap(ctx, odd, 0, []byte("odd"), long)
		if err != nil || swapped == (cur.Err != nil) {
			t.Errorf("CompareAndSwap of a key of %s = %s, item error %v, swapped %v, error %v, want it to win or an error of the item", name, show(cur), cur.Err, swapped, err)
		}
		items, err := t.store.Load(ctx, []string{before, odd, after})
		cancel()
		if err != nil || len(items) != 3 {
			t.Errorf("Load of a key of %s and two others = %d items, error %v, want three items: one key concerns itself alone", name, len(items), err)
			continue
		}
		if items[0].Err != nil || !same(items[0], want[0]) || items[2].Err != nil || !same(items[2], want[1]) {
			t.Errorf("Load of a key of %s between two others = %v, want the others as they are stored", name, items)
		}
		if got := items[1]; (got.Err != nil) != (cur.Err != nil) || got.Err == nil && !same(got, cur) {
			t.Errorf("Load of a key of %s = %s, item error %v, after CompareAndSwap returned %s, item error %v, want the same", name, show(got), got.Err, show(cur), cur.Err)
		}
	}
}

// watches writes again and again until a hint arrives, because only the store knows when its Watch
// has begun.
func watches(t *trial) {
	watcher, ok := t.store.(store.Watcher)
	if !ok {
		t.Skip("not a store.Watcher")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const pending = 1000
	hints, ended := make(chan string, pending), make(chan error, 1)
	var returned, late atomic.Bool
	go func() {
		err := watcher.Watch(ctx, func(key string) {
			late.Store(returned.Load())
			select {
			case hints <- key:
			default:
			}
		})
		returned.Store(true)
		ended <- err
	}()
	key := t.key("https://{api}.example.com:8443/ü")
	var cur store.Item
	t.eventually(fmt.Sprintf("Watch to call changed(%q), which is being written", key), func() bool {
		cur = t.write(key, cur.Version, "value", long)
		select {
		case err := <-ended:
			t.Fatalf("Watch returned %v before its context ended", err)
		case hint := <-hints:
			return hint == key
		default:
		}
		return false
	})
	cancel()
	t.promptly(ctx, "Watch", func() string {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			return fmt.Sprintf("Watch returned %v after its context was cancelled, want the context's error", err)
		}
		return ""
	})
	t.write(key, cur.Version, "value", long)
	time.Sleep(short)
	if late.Load() {
		t.Error("Watch called changed after it had returned")
	}
}
