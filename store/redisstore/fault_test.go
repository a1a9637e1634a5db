package redisstore_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/breakerhttp/breakerhttp/internal/servertest"
	"github.com/breakerhttp/breakerhttp/store/redisstore"
)

func TestServerKilled(t *testing.T) {
	server := servertest.Redis(t)
	s := redisstore.New(connect(t, &redis.Options{Addr: server.Addr, DialerRetries: 1}))
	before := swap(t, s, "key", 0, "before", time.Hour)
	server.Kill()
	for range 3 {
		// Nothing is retried, and so both are soon over.
		if err := servertest.Within(t, prompt, "Load from a dead server", func() error {
			_, err := s.Load(t.Context(), []string{"key"})
			return err
		}); err == nil {
			t.Error("Load from a dead server returned no error")
		}
		if err := servertest.Within(t, prompt, "CompareAndSwap on a dead server", func() error {
			_, _, err := s.CompareAndSwap(t.Context(), "key", before.Version, nil, time.Hour)
			return err
		}); err == nil {
			t.Error("CompareAndSwap on a dead server returned no error")
		}
	}
	servertest.RedisAt(t, server.Addr)
	if got := load(t, s, "key"); got.Version != 0 {
		t.Errorf("Load from a new server: version %d, want 0", got.Version)
	}
	if after := swap(t, s, "key", 0, "after", time.Hour); after.Version <= before.Version {
		t.Errorf("version %d on the new server, want one higher than %d", after.Version, before.Version)
	}
}

// The black holes are a host that answers nothing and a network that does not
// even refuse; both for a client that ignores contexts.
func TestBlackHole(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, dial := range map[string]func(release <-chan struct{}) func(context.Context, string, string) (net.Conn, error){
		"no answer": func(<-chan struct{}) func(context.Context, string, string) (net.Conn, error) { return nil },
		"no connection": func(release <-chan struct{}) func(context.Context, string, string) (net.Conn, error) {
			return func(context.Context, string, string) (net.Conn, error) {
				<-release
				return nil, errors.New("no route")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			goroutines := runtime.NumGoroutine()
			release := make(chan struct{})
			client := redis.NewClient(&redis.Options{Addr: l.Addr().String(), Dialer: dial(release), DialerRetries: 1, DialTimeout: time.Second, ReadTimeout: time.Second})
			s := redisstore.New(client)
			calls := map[string]func(context.Context) error{
				"Load": func(ctx context.Context) error {
					_, err := s.Load(ctx, []string{"key"})
					return err
				},
				"CompareAndSwap": func(ctx context.Context) error {
					_, _, err := s.CompareAndSwap(ctx, "key", 0, nil, time.Hour)
					return err
				},
				"Watch": func(ctx context.Context) error { return s.Watch(ctx, func(string) {}) },
			}
			for method, call := range calls {
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				if err := servertest.Within(t, 50*time.Millisecond+prompt, method, func() error { return call(ctx) }); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: error %v, want %v", method, err, context.DeadlineExceeded)
				}
				cancel()
				ctx, cancel = context.WithCancel(t.Context())
				time.AfterFunc(50*time.Millisecond, cancel)
				if err := servertest.Within(t, 50*time.Millisecond+prompt, method, func() error { return call(ctx) }); !errors.Is(err, context.Canceled) {
					t.Errorf("%s: error %v, want %v", method, err, context.Canceled)
				}
			}
			close(release)
			client.Close()
			servertest.Eventually(t, "the goroutines that waited for the client to end", func() error {
				if n := runtime.NumGoroutine(); n > goroutines {
					return errors.New(stacks())
				}
				return nil
			})
		})
	}
}

// A swap whose answer got lost has been made. To send it again, as the client
// does with other commands, would find the version gone and report it as lost.
func TestAnswerLost(t *testing.T) {
	for name, method := range map[string]string{"the script": "evalsha", "its source": "eval\r"} {
		t.Run(name, func(t *testing.T) {
			server := servertest.Redis(t)
			p := startProxy(t, server.Addr)
			direct := connect(t, &redis.Options{Addr: server.Addr})
			s := redisstore.New(connect(t, &redis.Options{Addr: p.addr}))
			if method == "evalsha" {
				load(t, s, "key") // so that the server knows the script
			}
			p.cut.Store(&method)
			if cur, swapped, err := s.CompareAndSwap(t.Context(), "key", 0, []byte("mine"), time.Hour); err == nil {
				t.Errorf("CompareAndSwap = %q, swapped %v, want an error: nobody knows", cur.Value, swapped)
			}
			if got := load(t, redisstore.New(direct), "key"); string(got.Value) != "mine" {
				t.Errorf("Load after the lost answer: %q, want %q", got.Value, "mine")
			}
			if got := p.seen.Load(); got != 1 {
				t.Errorf("the swap was sent %d times, want once", got)
			}
			// What failed has left nothing behind.
			cur := load(t, s, "key")
			swap(t, s, "key", cur.Version, "next", time.Hour)
		})
	}
}

func TestReadNotRetried(t *testing.T) {
	server := servertest.Redis(t)
	p := startProxy(t, server.Addr)
	s := redisstore.New(connect(t, &redis.Options{Addr: p.addr}))
	load(t, s, "key")
	method := "evalsha"
	p.cut.Store(&method)
	if items, err := s.Load(t.Context(), []string{"key"}); err == nil {
		t.Errorf("Load = %v, want an error", items)
	}
	if got := p.seen.Load(); got != 1 {
		t.Errorf("the read was sent %d times, want once", got)
	}
}

// A proxy passes everything on to a server until it sees the command that cut
// names: the connection that brought the first one is closed in place of its
// answer.
type proxy struct {
	addr string
	cut  atomic.Pointer[string]
	seen atomic.Int64 // times that the command to cut was sent
}

func startProxy(t *testing.T, addr string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &proxy{addr: l.Addr().String()}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(client, addr)
		}
	}()
	return p
}

func (p *proxy) serve(client net.Conn, addr string) {
	defer client.Close()
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer server.Close()
	var drop atomic.Bool
	go func() {
		defer server.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := client.Read(buf)
			if err != nil {
				return
			}
			if cut := p.cut.Load(); cut != nil && bytes.Contains(buf[:n], []byte(*cut)) {
				drop.Store(p.seen.Add(1) == 1)
			}
			if _, err := server.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil || drop.Load() {
			return
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// stacks names the goroutines there are, for a message.
func stacks() string {
	buf := make([]byte, 1<<20)
	return strings.TrimSpace(string(buf[:runtime.Stack(buf, true)]))
}
