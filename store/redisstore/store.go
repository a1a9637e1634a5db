// Package redisstore keeps the records that processes share in Redis or Valkey.
//
// # Records
//
// A record is one hash with the fields version, value, written and expires. One Lua script reads
// and writes it by its key alone, so a Cluster may keep each record where its key belongs. All
// times are the server's. A write gives a record the version old + 1, or the server's time in
// milliseconds if that is more, so a server that has lost its records does not give out their
// versions again. A record expires 24 hours after the open time that it is about, and the server
// deletes it an hour later.
//
// # Cost
//
// A Load is one round trip to each server that has one of its keys. A CompareAndSwap is one round
// trip. Both take another one when the server does not know the script yet. Each process that
// watches has one connection more.
//
// # Permissions
//
// The package needs Redis 5 or later, or Valkey. A user of the server needs these commands on the
// keys "<namespace>/*". <namespace> is the Namespace of breakerhttp.Sharing, with "%2F" for "/" and
// "%25" for "%":
//
//	EVALSHA EVAL TIME HMGET EXISTS HSET PEXPIRE
//
// For hints, the user also needs PUBLISH to write and these for [Store.Watch], all on the channel
// "breakerhttp:<namespace>":
//
//	SUBSCRIBE PING
//
// The client of a Cluster also needs CLUSTER SLOTS. For the namespace "checkout":
//
//	ACL SETUSER checkout on >password resetkeys ~checkout/* resetchannels
//	  &breakerhttp:checkout -@all +evalsha +eval +time +hmget +exists +hset +pexpire
//	  +publish +subscribe +ping +cluster|slots
//
// A user who may not PUBLISH still shares circuits: other processes find its writes at their next
// read. A Watch that starts before the Store is first asked for a key listens to all namespaces, if
// the user may PSUBSCRIBE to "breakerhttp:*". Otherwise it starts to listen when the Store is asked
// for its first key.
//
// # What an operator sees
//
// A server that refuses to write (MISCONF, OOM, READONLY, NOREPLICAS, NOPERM) fails the writes and
// answers the reads. A key that holds something that is not a record of this package has an error
// of its own, and is not written over. In a Cluster or a Ring, each server fails for its own keys
// alone.
package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/breakerhttp/breakerhttp/store"
)

// Store is a [store.Store] and a [store.Watcher] on Redis or Valkey. Its methods may be called
// concurrently, and return as soon as their context is done. They send no command twice, whatever
// MaxRetries the client has.
//
// Make one with [New].
type Store struct {
	client     redis.UniversalClient
	namespaces namespaces
}

// New returns a Store that uses client. The caller closes client.
//
// A go-redis client ignores the deadline of a context unless it was made with
// ContextTimeoutEnabled, and dials a server that refuses connections five times unless it was made
// with DialerRetries 1. The methods of Store return in time in any case. Without these two options
// they may leave a goroutine behind that waits for the client's own timeouts, which are seconds by
// default.
func New(client redis.UniversalClient) *Store {
	return &Store{client: client}
}

// Load implements [store.Store].
func (s *Store) Load(ctx context.Context, keys []string) ([]store.Item, error) {
	calls := make([]call, len(keys))
	for i, key := range keys {
		calls[i] = call{key: key}
	}
	replies, err := s.send(ctx, calls)
	if err != nil {
		return nil, fmt.Errorf("breakerhttp: redis: load: %w", err)
	}
	items := make([]store.Item, len(keys))
	for i, r := range replies {
		items[i] = r.item
	}
	return items, nil
}

// CompareAndSwap implements [store.Store].
func (s *Store) CompareAndSwap(ctx context.Context, key string, old uint64, value []byte, ttl time.Duration) (store.Item, bool, error) {
	replies, err := s.send(ctx, []call{{key: key, args: []any{
		strconv.FormatUint(old, 10),
		strconv.FormatUint(old+1, 10),
		string(value), // a copy: the command may be sent after this method has returned
		ttl.Milliseconds(),
		channel(namespace(key)),
	}}})
	if err != nil {
		return store.Item{}, false, fmt.Errorf("breakerhttp: redis: swap of %q: %w", key, err)
	}
	return replies[0].item, replies[0].swapped, nil
}

// namespace returns the namespace of a key, which is "<namespace>/<circuit>". It has no "/".
func namespace(key string) string {
	name, _, _ := strings.Cut(key, "/")
	return name
}

// channel returns the channel on which a swap publishes the keys of a namespace.
func channel(namespace string) string { return "breakerhttp:" + namespace }
