package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// channel is where a swap publishes the key that it wrote.
const channel = "breakerhttp"

// idle is how long Watch listens to silence before it asks whether the server
// is still there, and then how long it waits for the answer.
const idle = 30 * time.Second

// Watch implements [store.Watcher] by publish and subscribe. It calls
// changed for every swap, also for those of this Store: several Transports may
// share it. A [redis.Ring] brings the hints of one of its servers only.
//
// It returns ctx's error as soon as ctx is done, or else the client's when the
// server cannot be reached or has been silent for a minute. Hints of what is
// written until the caller calls it again are lost.
func (s *Store) Watch(ctx context.Context, changed func(key string)) error {
	keys, ended := make(chan string), make(chan error, 1)
	go func() { ended <- s.listen(ctx, keys) }()
	for {
		select {
		case key := <-keys:
			changed(key)
		case err := <-ended:
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("breakerhttp: redis: watch: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// listen sends the keys that are published until ctx is done or the server
// fails. It may outlive ctx while the client connects.
func (s *Store) listen(ctx context.Context, keys chan<- string) error {
	subscription := s.client.Subscribe(ctx, channel)
	defer subscription.Close()
	defer context.AfterFunc(ctx, func() { subscription.Close() })()
	for asked := false; ; {
		message, err := subscription.ReceiveTimeout(ctx, idle)
		var timeout net.Error
		if !asked && errors.As(err, &timeout) && timeout.Timeout() {
			asked = true
			err = subscription.Ping(ctx)
		} else {
			asked = false
		}
		if err != nil {
			return err
		}
		if m, ok := message.(*redis.Message); ok {
			select {
			case keys <- m.Payload:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}
