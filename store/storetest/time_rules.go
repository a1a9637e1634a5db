package storetest

import (
	"fmt"
	"time"

	"github.com/breakerhttp/breakerhttp/store"
)

// age waits until a record is 2 seconds old, because a store's clock may count whole seconds. A
// store that always says 0, or that counts in another unit, fails.
func age(t *trial) {
	key := t.key("record")
	start := time.Now()
	plausible := func(what string, item store.Item) {
		t.Helper()
		if limit := time.Since(start) + coarse/2; item.Age < 0 || item.Age > limit {
			t.Fatalf("%s Age %v, want between 0 and %v, which is a second more than since the write", what, item.Age, limit)
		}
	}
	item := t.write(key, 0, "old", long)
	plausible("CompareAndSwap returned", item)
	t.eventually(fmt.Sprintf("Load to return an Age of %v or more, of a record first written then", coarse), func() bool {
		old := t.load1(key)
		plausible("Load returned", old)
		return old.Age >= coarse
	})
	if got := t.lose(key, 0, item).Age; got < coarse/2 {
		t.Errorf("CompareAndSwap lost and returned Age %v, want at least %v: the record's own", got, coarse/2)
	}

	start = time.Now()
	plausible("CompareAndSwap of an older record returned", t.write(key, item.Version, "new", long))
	plausible("Load of a record swapped since returned", t.load1(key))
}

// expiry lets a record expire. It is absent then, but a swap still has to know its version.
// Otherwise two processes could both create it: one that read it before it expired, and one that
// read it after.
func expiry(t *trial) {
	key := t.key("record")
	first := t.write(key, 0, "first", short)
	t.waitExpired(key)
	expired := store.Item{Version: first.Version}
	t.stored(key, expired)
	t.lose(key, 0, expired)
	t.lose(key, first.Version+1, expired)
	second := t.write(key, first.Version, "second", long)
	if second.Version < first.Version {
		t.Errorf("CompareAndSwap of an expired record made version %d of version %d, want a higher one", second.Version, first.Version)
	}
	t.stored(key, second)
}

// ttlRenewed lets one swap prolong the life of a record, and another one shorten that of another
// record.
func ttlRenewed(t *trial) {
	prolonged, shortened := t.key("prolonged"), t.key("shortened")
	item := t.write(prolonged, 0, "short", short)
	item = t.write(prolonged, item.Version, "long", long)
	other := t.write(shortened, 0, "long", long)
	t.write(shortened, other.Version, "short", short)
	t.waitExpired(shortened)

	// A store may count the ttl in whole seconds: the first ttl is over for certain now.
	time.Sleep(time.Second)
	t.stored(prolonged, item)
}

func (t *trial) waitExpired(key string) {
	t.Helper()
	t.eventually(fmt.Sprintf("Load to return an empty Value, of a record with a ttl of %v", short), func() bool {
		return len(t.load1(key).Value) == 0
	})
}
