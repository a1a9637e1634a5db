// Package redisstore keeps the records that processes share in Redis or Valkey.
//
// A record is one hash, which one script reads and writes by its key alone, so
// that a cluster may keep each where its key belongs. The server's clock is the
// only one that counts. A record expires 24 hours after the open time that it is
// about, and is deleted an hour later.
//
// It takes Redis 5 or later, and the permission for EVALSHA, EVAL, TIME, HMGET,
// HGET, HSET, HINCRBY and PEXPIRE on the keys "<namespace>/*", with the Namespace
// of breakerhttp.Sharing; for [Store.Watch] also for PUBLISH and SUBSCRIBE on
// the channel "breakerhttp".
package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/breakerhttp/breakerhttp/store"
)

// Store is a [store.Store] and a [store.Watcher] on Redis or Valkey.
// Its methods may be called concurrently and return as soon as their context is
// done. No command is sent twice, whatever MaxRetries the client has.
//
// Make one with [New].
type Store struct {
	client redis.UniversalClient
}

// New returns a Store that uses client, which stays the caller's to close.
//
// A go-redis client ignores the deadline of a context unless it was made with
// ContextTimeoutEnabled, and dials a server that refuses connections five times
// unless it was made with DialerRetries 1. The methods of Store return in time
// all the same, but without those may leave a goroutine behind that waits for
// the client's own timeouts, seconds by default.
func New(client redis.UniversalClient) *Store {
	return &Store{client: client}
}

// Load implements [store.Store], in one round trip to each server, and
// another if one does not know the script yet.
func (s *Store) Load(ctx context.Context, keys []string) ([]store.Item, error) {
	items, err := bounded(ctx, func() ([]store.Item, error) { return s.load(ctx, keys) })
	if err != nil {
		return nil, fmt.Errorf("breakerhttp: redis: load: %w", err)
	}
	return items, nil
}

func (s *Store) load(ctx context.Context, keys []string) ([]store.Item, error) {
	items := make([]store.Item, len(keys))
	if len(keys) == 0 {
		return items, nil
	}
	calls, err := s.pipeline(ctx, keys, "evalsha", hash)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		calls, err = s.pipeline(ctx, keys, "eval", script)
	}
	for i, c := range calls {
		r, err := c.reply()
		if err != nil {
			return nil, fmt.Errorf("%q: %w", keys[i], err)
		}
		items[i] = r.item
	}
	return items, err
}

func (s *Store) pipeline(ctx context.Context, keys []string, eval, script string) ([]call, error) {
	calls := make([]call, len(keys))
	_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, key := range keys {
			calls[i] = newCall(ctx, eval, script, key)
			if err := p.Process(ctx, calls[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return calls, err
}

// CompareAndSwap implements [store.Store], in one round trip, and another
// if the server does not know the script yet.
func (s *Store) CompareAndSwap(ctx context.Context, key string, old uint64, value []byte, ttl time.Duration) (store.Item, bool, error) {
	// The command may be sent after ctx is done and the caller has its value back.
	args := []any{strconv.FormatUint(old, 10), string(value), ttl.Milliseconds()}
	r, err := bounded(ctx, func() (reply, error) {
		c := newCall(ctx, "evalsha", hash, key, args...)
		err := s.client.Process(ctx, c)
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			c = newCall(ctx, "eval", script, key, args...)
			err = s.client.Process(ctx, c)
		}
		if err != nil {
			return reply{}, err
		}
		return c.reply()
	})
	if err != nil {
		return store.Item{}, false, fmt.Errorf("breakerhttp: redis: swap of %q: %w", key, err)
	}
	return r.item, r.swapped, nil
}

// bounded returns what f returns, or ctx's error as soon as ctx is done: the
// client waits for its own timeouts unless it was made to heed the context's.
func bounded[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	var none T
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}
