package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"github.com/breakerhttp/breakerhttp/benchmarks/internal/peers"
)

// shareGobreaker guards by a gobreaker.DistributedCircuitBreaker.
func shareGobreaker(client *redis.Client, base http.RoundTripper) (http.RoundTripper, error) {
	locks := redsync.New(goredis.NewPool(client))
	b, err := gobreaker.NewDistributedCircuitBreaker[*http.Response](
		&lockingStore{client: client, locks: locks}, gobreaker.Settings{Name: "shared"})
	if err != nil {
		return nil, err
	}
	return peers.RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		return peers.Unjudge(b.Execute(func() (*http.Response, error) {
			resp, err := base.RoundTrip(req)
			return resp, peers.Judge(resp, err)
		}))
	}), nil
}

// A lockingStore does to Redis what gobreaker's own store does: a lock of redsync
// that lasts 5 s, GET, and SET. The Go module proxy has no release of that which
// fits the breaker's latest. It is for one goroutine.
type lockingStore struct {
	client *redis.Client
	locks  *redsync.Redsync
	held   *redsync.Mutex
}

// Lock implements [gobreaker.SharedDataStore].
func (s *lockingStore) Lock(name string) error {
	lock := s.locks.NewMutex(name, redsync.WithExpiry(5*time.Second))
	if err := lock.Lock(); err != nil {
		return err
	}
	s.held = lock
	return nil
}

var errNotUnlocked = errors.New("the lock was lost meanwhile")

// Unlock implements [gobreaker.SharedDataStore].
func (s *lockingStore) Unlock(string) error {
	ok, err := s.held.Unlock()
	if err == nil && !ok {
		err = errNotUnlocked
	}
	return err
}

// GetData implements [gobreaker.SharedDataStore].
func (s *lockingStore) GetData(name string) ([]byte, error) {
	return s.client.Get(context.Background(), name).Bytes()
}

// SetData implements [gobreaker.SharedDataStore].
func (s *lockingStore) SetData(name string, data []byte) error {
	return s.client.Set(context.Background(), name, data, 0).Err()
}
