package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// idle is how long Watch waits for a message before it pings the server, and then how long it waits
// for the answer.
const idle = 30 * time.Second

// Watch implements [store.Watcher] by publish and subscribe. It listens to the namespaces of all
// keys that this Store has been asked for, by any Transport. It also calls changed for the keys
// that this Store writes. In a [redis.Ring] it hears only one of the servers.
//
// It returns ctx's error as soon as ctx is done. It returns the client's error when the server
// cannot be reached, or has been silent for a minute. Hints that are published while no Watch runs
// are lost.
func (s *Store) Watch(ctx context.Context, changed func(key string)) error {
	for {
		names, more := s.namespaces.all()
		err := s.watch(ctx, names, more, changed)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("breakerhttp: redis: watch: %w", err)
		}
	}
}

// watch is Watch for these namespaces. It returns nil when there are more.
func (s *Store) watch(ctx context.Context, names []string, more <-chan struct{}, changed func(key string)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keys, ended := make(chan string), make(chan error, 1)
	go func() { ended <- s.listen(ctx, names, keys) }()
	for {
		select {
		case key := <-keys:
			changed(key)
		case err := <-ended:
			return err
		case <-more:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// listen sends the keys that are published until ctx is done or the server fails. It may outlive
// ctx while the client connects.
func (s *Store) listen(ctx context.Context, names []string, keys chan<- string) error {
	subscription, err := s.subscribe(ctx, names)
	if err != nil {
		return err
	}
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
		if err != nil && (len(names) > 0 || !refusesPattern(err)) {
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

// subscribe subscribes to these namespaces, or to all if there are none.
func (s *Store) subscribe(ctx context.Context, names []string) (subscription *redis.PubSub, err error) {
	defer recoverClient(&err)
	var client interface {
		Subscribe(ctx context.Context, channels ...string) *redis.PubSub
		PSubscribe(ctx context.Context, patterns ...string) *redis.PubSub
	} = s.client
	if c, ok := s.client.(cluster); ok {
		// Each master has all messages. The client would always choose the same master, even if
		// that one is down.
		if client, err = c.MasterForKey(ctx, rand.Text()); err != nil {
			return nil, err
		}
	}
	if len(names) == 0 {
		return client.PSubscribe(ctx, channel("*")), nil
	}
	channels := make([]string, len(names))
	for i, name := range names {
		channels[i] = channel(name)
	}
	return client.Subscribe(ctx, channels...), nil
}

// refusesPattern reports whether err says that this user may not listen to all namespaces. The
// connection stays open, and Watch waits for the first namespace.
func refusesPattern(err error) bool {
	return redis.HasErrorPrefix(err, "NOPERM") || redis.HasErrorPrefix(err, "unknown command")
}

// namespaces are those that a Store has been asked for. A process needs no hints from others.
type namespaces struct {
	mu    sync.RWMutex
	known map[string]bool
	more  chan struct{} // closed when there is another one; nil while no Watch waits for that
}

func (n *namespaces) add(name string) {
	n.mu.RLock()
	known := n.known[name]
	n.mu.RUnlock()
	if known {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil {
		n.known = make(map[string]bool)
	}
	n.known[name] = true
	if n.more != nil {
		close(n.more)
		n.more = nil
	}
}

// all returns the namespaces, and a channel that is closed when there are more.
func (n *namespaces) all() (names []string, more <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.more == nil {
		n.more = make(chan struct{})
	}
	for name := range n.known {
		names = append(names, name)
	}
	return names, n.more
}
