package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// A redisServer is a process on a free port of the loopback interface.
type redisServer struct {
	addr string
	stop func()
}

// startRedis starts the program that REDIS_SERVER names, or else redis-server.
func startRedis() (*redisServer, error) {
	path, err := exec.LookPath(cmp.Or(os.Getenv("REDIS_SERVER"), "redis-server"))
	if err != nil {
		return nil, fmt.Errorf("no Redis server, REDIS_SERVER names one: %w", err)
	}
	redis.SetLogger(silence{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &redisServer{addr: l.Addr().String()}
	_ = l.Close() // the port is free
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, "--bind", host, "--port", port, "--save", "", "--dir", os.TempDir())
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	})
	if err := s.ready(); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// ready waits until the server answers.
func (s *redisServer) ready() error {
	client := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: 20, MaxRetryBackoff: 100 * time.Millisecond})
	defer client.Close()
	return client.Ping(context.Background()).Err()
}

// silence is for what go-redis says of a server that is down.
type silence struct{}

// Printf implements the logger of go-redis.
func (silence) Printf(context.Context, string, ...any) {}
