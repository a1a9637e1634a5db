package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/breakerhttp/breakerhttp/store"
)

// errSilent is the error of a key whose server has not answered, while others may have.
var errSilent = errors.New("the key's server has not answered in time")

// A batch is what one server has replied to its calls. positions are their places among all calls.
type batch struct {
	positions []int
	replies   []reply
	err       error // of the store as a whole
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

// almost returns a channel that receives a little before the deadline of ctx, so that the caller
// still gets what the other servers have answered.
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
	parts, err := split(calls, serverOf)
	if err != nil {
		batches <- batch{err: err}
		return
	}
	ofSeveral := serverOf != nil
	if ofSeveral {
		close(done)
	}
	for server, p := range parts {
		go func() { batches <- ask(ctx, s.through(server), p, ofSeveral) }()
	}
}

// through returns the client that sends a server its calls. The client of a Cluster follows keys
// that have moved. That of a Ring is left out, because its pipelines run in goroutines of their own,
// in which they panic if the Ring is closed meanwhile.
func (s *Store) through(server *redis.Client) redis.UniversalClient {
	if _, ok := s.client.(ring); ok {
		return server
	}
	return s.client
}

// A part is the calls for one server. positions are their places among all calls.
type part struct {
	calls     []call
	positions []int
}

// split finds out which calls are for which server. A nil serverOf means that there is only one.
func split(calls []call, serverOf func(key string) (*redis.Client, error)) (parts map[*redis.Client]part, err error) {
	defer recoverClient(&err)
	parts = make(map[*redis.Client]part)
	for i, c := range calls {
		var server *redis.Client
		if serverOf != nil {
			if server, err = serverOf(c.key); err != nil { // no server is known
				return nil, err
			}
		}
		p := parts[server]
		parts[server] = part{append(p.calls, c), append(p.positions, i)}
	}
	return parts, nil
}

// recoverClient makes a panic of the client an error. A Ring panics if it is asked for the server
// of a key just when it has dropped that server, and if it is to subscribe when it has none.
func recoverClient(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("breakerhttp: redis: the client panicked: %v", v)
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

// ask runs the script for the calls of one server. ofSeveral says that there are others.
func ask(ctx context.Context, client redis.UniversalClient, p part, ofSeveral bool) (b batch) {
	defer recoverClient(&b.err)
	commands := run(ctx, client, p.calls, "evalsha", hash)
	if slices.ContainsFunc(commands, func(c command) bool { return redis.HasErrorPrefix(c.Err(), "NOSCRIPT") }) {
		commands = run(ctx, client, p.calls, "eval", script) // sends all again: several calls only read
	}
	b = batch{positions: p.positions, replies: make([]reply, len(p.calls))}
	for i, c := range commands {
		r, err := c.reply()
		if err != nil {
			if own := (unreadable{}); !ofSeveral && !errors.As(err, &own) {
				return batch{err: err}
			}
			r = reply{item: store.Item{Err: keyError(p.calls[i].key, err)}}
		}
		b.replies[i] = r
	}
	return b
}

func keyError(key string, err error) error { return fmt.Errorf("breakerhttp: redis: %q: %w", key, err) }

// run returns the commands that have run the script, each with its own error.
func run(ctx context.Context, client redis.UniversalClient, calls []call, eval, script string) []command {
	commands := make([]command, len(calls))
	_, _ = client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, c := range calls {
			commands[i] = c.by(ctx, eval, script)
			_ = p.Process(ctx, commands[i])
		}
		return nil
	})
	return commands
}
