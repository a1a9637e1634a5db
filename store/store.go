// Package store is the contract between breakerhttp and the stores through which processes share
// circuits. It imports nothing but the standard library, so a store of your own need not link the
// rest. Package storetest tests a Store against this contract.
package store

import (
	"context"
	"time"
)

// An Item is what a [Store] holds for one key.
//
// A key without a record has the zero Item. A record that has expired has an empty Value, and keeps
// its Version until the store deletes it.
type Item struct {
	// Value is what was written, byte for byte.
	Value []byte

	// Version identifies one write of the record. Each write gives the record a higher Version. 0
	// means that there is no record.
	Version uint64

	// Age is the time since the record was written, on the store's clock.
	Age time.Duration

	// Err says why this key could not be read or written, while the store may serve other keys: the
	// key's shard is down, for example, or the key holds something that is no record. If Err is not
	// nil, the other fields mean nothing.
	Err error
}

// A Store keeps the records that processes share. Its methods are called concurrently. They return
// when ctx is done, with its error.
//
// The age of a record and the time of its expiry are measured on the store's clock alone. The
// clocks of the processes never count.
//
// An error of a Store never reaches the caller of a request.
type Store interface {
	// Load returns one Item for each key, in the order of keys. A key that appears twice has two
	// Items. No keys are no error.
	//
	// If single keys cannot be read, Load sets Err in their Items and returns the others. If the
	// store fails as a whole, Load returns an error instead of Items. A key that was not read is
	// never reported as absent.
	//
	// Load returns what the latest CompareAndSwap on the key has written, in whichever process.
	Load(ctx context.Context, keys []string) ([]Item, error)

	// CompareAndSwap writes value if the record's Version is old. Old 0 means that there is no
	// record yet. The record expires after ttl; an earlier expiry no longer applies. Of concurrent
	// calls with the same key and the same old, at most one writes.
	//
	// If it has written, swapped is true, and cur is the new record. If the Version was another
	// one, swapped is false, cur is the record as it is stored, and err is nil.
	//
	// The new Version is the larger of old + 1 and the store's clock in milliseconds since 1970. A
	// store that has lost its records therefore does not give out their Versions again.
	//
	// If the store fails, err is not nil. If only this key fails, cur.Err is not nil. In both cases
	// swapped is false, and it is unknown whether value was written: the caller has to Load. The
	// Store must not send the write a second time, because the second one would lose to the first.
	CompareAndSwap(ctx context.Context, key string, old uint64, value []byte, ttl time.Duration) (cur Item, swapped bool, err error)
}

// A Watcher is a [Store] that reports changes when they happen.
type Watcher interface {
	// Watch calls changed with each key that another process has just written. It may also report
	// the keys that this process writes, and it may miss keys or report them twice.
	//
	// Watch returns when ctx is done, with its error, or when the store fails, with the store's
	// error. It calls changed from one goroutine, and no longer after it has returned.
	Watch(ctx context.Context, changed func(key string)) error
}
