package breakerhttp

import (
	"context"
	"time"
)

// An Item is one record of a [Store].
type Item struct {
	Value   []byte
	Version uint64        // 0: absent
	Age     time.Duration // since it was written, on the store's clock
}

// A Store keeps the records that processes share. It is called concurrently.
//
// An error of a Store never reaches the caller of a request.
type Store interface {
	// Load returns one Item a key, in order: all of them or an error. No record
	// is an empty Value; an expired item has an empty Value too but keeps its
	// Version.
	Load(ctx context.Context, keys []string) ([]Item, error)

	// CompareAndSwap writes value, to expire after ttl, if key's version is old,
	// and returns what is stored afterwards. To lose is no error; after an error
	// the outcome is unknown and the caller must Load.
	CompareAndSwap(ctx context.Context, key string, old uint64, value []byte, ttl time.Duration) (cur Item, swapped bool, err error)
}

// A Watcher is a [Store] that tells of changes as they happen.
type Watcher interface {
	// Watch calls changed with the keys that others have just written, until
	// ctx is done. It returns ctx's error, or the store's own.
	Watch(ctx context.Context, changed func(key string)) error
}
