package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/breakerhttp/breakerhttp/store"
)

// errSilent is the error of a key whose server has not answered, while others may have.
var errSilent = errors.New("the key's server has not answered in time")

// A batch is the calls for one server, by their positions, and what has become of them.
type batch struct {
	positions []int
	replies   []reply
	err       error // of the server as a whole
}

// send runs the script for each call and returns the replies in order. It returns as soon as ctx is
// done, because the client may wait for its own timeouts instead.
//
// If the keys are spread over servers, one that fails or is silent fails for its own keys alone.
func (s *Store) send(ctx context.Context, calls []call) ([]reply, error) {
	replies := make([]reply, len(calls))
	if len(calls) == 0 {
		return replies, nil
	}
	for _, c := range calls {
		s.namespaces.add(namespace(c.key))
	}
	spread, batches := make(chan struct{}), make(chan batch, len(calls))
	go s.spread(ctx, calls, spread, batches)

	var silence <-chan time.Time
	answered := make([]bool, len(calls))
	for waiting := len(calls); waiting > 0; {
		select {
		case b := <-batches:
			if err := cmp.Or(ctx.Err(), b.err); err != nil {
				return nil, err
			}
			for i, position := range b.positions {
				replies[position], answered[position] = b.replies[i], true
			}
			waiting -= len(b.positions)
		case <-spread:
			spread, silence = nil, almost(ctx)
		case <-silence:
			for i := range replies {
				if !answered[i] {
					replies[i].item.Err = keyError(calls[i].key, errSilent)
				}
			}
			return replies, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return replies, nil
}

// almost returns a channel that receives a little before the deadline of ctx, so that those who wait
// for ctx still hear of the servers that have answered.
func almost(ctx context.Context) <-chan time.Time {
	deadline, ok := ctx.Deadline()
	if !ok {
		return nil
	}
	return time.After(time.Until(deadline) * 4 / 5)
}

// spread sends each server its calls. It closes done once it knows which keys belong to which of
// several servers.
func (s *Store) spread(ctx context.Context, calls []call, done chan<- struct{}, batches chan<- batch) {
	serverOf := s.serverOf(ctx)
	if serverOf == nil {
		all := make([]int, len(calls))
		for i := range all {
			all[i] = i
		}
		batches <- s.ask(ctx, calls, all, false)
		return
	}
	servers := make(map[*redis.Client][]int)
	for i, c := range calls {
		server, err := serverOf(c.key)
		if err != nil { // no server is known
			batches <- batch{err: err}
			return
		}
		servers[server] = append(servers[server], i)
	}
	close(done)
	for _, positions := range servers {
		go func() { batches <- s.ask(ctx, calls, positions, true) }()
	}
}

// A cluster is a [redis.ClusterClient].
type cluster interface {
	MasterForKey(ctx context.Context, key string) (*redis.Client, error)
}

// A ring is a [redis.Ring].
type ring interface {
	GetShardClientForKey(key string) (*redis.Client, error)
}

// serverOf returns how to find the server of a key, or nil if there is one server.
func (s *Store) serverOf(ctx context.Context) func(key string) (*redis.Client, error) {
	switch client := s.client.(type) {
	case cluster:
		return func(key string) (*redis.Client, error) { return client.MasterForKey(ctx, key) }
	case ring:
		return client.GetShardClientForKey
	}
	return nil
}

// ask runs the script for the calls at these positions, which belong to one server: of several, or
// the only one.
func (s *Store) ask(ctx context.Context, calls []call, positions []int, ofSeveral bool) batch {
	b := batch{positions: positions, replies: make([]reply, len(positions))}
	for i, c := range s.run(ctx, calls, positions) {
		r, err := c.reply()
		if err != nil {
			if own := (unreadable{}); !ofSeveral && !errors.As(err, &own) {
				return batch{err: err}
			}
			r = reply{item: store.Item{Err: keyError(calls[positions[i]].key, err)}}
		}
		b.replies[i] = r
	}
	return b
}

func keyError(key string, err error) error { return fmt.Errorf("breakerhttp: redis: %q: %w", key, err) }

// run returns the commands that have run the script. It goes through the client, and not through the
// server's own, because the client follows a key that has moved.
func (s *Store) run(ctx context.Context, calls []call, positions []int) []command {
	commands := make([]command, len(positions))
	var all, again []int
	for i := range positions {
		all = append(all, i)
	}
	run := func(eval, script string, which []int) {
		_, _ = s.client.Pipelined(ctx, func(p redis.Pipeliner) error { // each command has its error
			for _, i := range which {
				commands[i] = calls[positions[i]].by(ctx, eval, script)
				_ = p.Process(ctx, commands[i])
			}
			return nil
		})
	}
	run("evalsha", hash, all)
	for i, c := range commands {
		if redis.HasErrorPrefix(c.Err(), "NOSCRIPT") {
			again = append(again, i)
		}
	}
	if len(again) > 0 {
		run("eval", script, again)
	}
	return commands
}
