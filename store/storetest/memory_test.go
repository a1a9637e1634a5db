package storetest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
	"github.com/breakerhttp/breakerhttp/store/storetest"
)

func TestMemory(t *testing.T) {
	open := func(*testing.T) store.Store { return storetest.NewMemory() }
	t.Run("virtual time", func(t *testing.T) { storetest.RunVirtual(t, open) })
	t.Run("real time", func(t *testing.T) {
		t.Parallel()
		storetest.Run(t, open)
	})
}

func TestMemoryFollowsVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ttl = 24 * time.Hour
		m := storetest.NewMemory()
		created := time.Now()
		first, swapped, err := m.CompareAndSwap(t.Context(), "key", 0, []byte("value"), ttl)
		if err != nil || !swapped {
			t.Fatalf("CompareAndSwap = swapped %v, error %v, want it to win", swapped, err)
		}
		if want := uint64(created.UnixMilli()); first.Version != want {
			t.Errorf("first version %d, want the time in milliseconds, %d", first.Version, want)
		}
		for _, step := range []struct {
			at    time.Duration
			value string
		}{
			{0, "value"},
			{time.Millisecond, "value"},
			{ttl - time.Nanosecond, "value"},
			{ttl, ""},
			{365 * ttl, ""},
		} {
			time.Sleep(time.Until(created.Add(step.at)))
			got := load(t, m, "key")
			if string(got.Value) != step.value || got.Version != first.Version || got.Age != step.at {
				t.Errorf("%v after the write: Load = {Value: %q, Version: %d, Age: %v}, want {Value: %q, Version: %d, Age: %v}",
					step.at, got.Value, got.Version, got.Age, step.value, first.Version, step.at)
			}
		}
	})
}

func TestMemoryWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		ctx, cancel := context.WithCancel(t.Context())
		block, hints := make(chan struct{}), []string(nil)
		ended := make(chan error)
		go func() {
			ended <- m.Watch(ctx, func(key string) {
				hints = append(hints, key)
				<-block
			})
		}()
		synctest.Wait()

		// A watcher that is busy with a hint then gets each key that was changed in the meantime
		// once, in order, and makes no writer wait.
		for _, key := range []string{"a", "b", "c", "b", "c"} {
			old := load(t, m, key).Version
			if _, swapped, err := m.CompareAndSwap(t.Context(), key, old, []byte("value"), time.Hour); err != nil || !swapped {
				t.Fatalf("CompareAndSwap(%q) = swapped %v, error %v, want it to win", key, swapped, err)
			}
			synctest.Wait()
		}
		// These write nothing, so there is no hint.
		load(t, m, "d")
		if _, swapped, _ := m.CompareAndSwap(t.Context(), "a", 1, nil, time.Hour); swapped {
			t.Fatal("CompareAndSwap with a stale version won")
		}
		close(block)
		synctest.Wait()
		if got, want := len(hints), 3; got != want || hints[0] != "a" || hints[1] != "b" || hints[2] != "c" {
			t.Errorf("hints %q, want a, b and c", hints)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch returned %v, want %v", err, context.Canceled)
		}
	})
}

func load(t *testing.T, m *storetest.Memory, key string) store.Item {
	t.Helper()
	items, err := m.Load(t.Context(), []string{key})
	if err != nil || len(items) != 1 {
		t.Fatalf("Load(%q) = %d items, error %v, want one", key, len(items), err)
	}
	return items[0]
}
