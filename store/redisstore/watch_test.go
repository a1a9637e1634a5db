package redisstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/breakerhttp/breakerhttp/internal/servertest"
	"github.com/breakerhttp/breakerhttp/store/redisstore"
)

// A write of one process is a hint for another, no matter to which servers they are connected.
func TestWatchAcrossCluster(t *testing.T) {
	c := startCluster(t, 2)
	var stores []*redisstore.Store
	for range 2 {
		stores = append(stores, redisstore.New(c.connect(t, &redis.ClusterOptions{})))
	}
	hints := make(chan string, 100)
	go func() { _ = stores[0].Watch(t.Context(), func(key string) { hints <- key }) }()
	for i := range 10 {
		key := fmt.Sprint("key", i)
		var version uint64
		servertest.Eventually(t, "a hint of "+key, func() error {
			version = swap(t, stores[1], key, version, "value", time.Hour).Version
			select {
			case got := <-hints:
				if got == key {
					return nil
				}
			case <-time.After(10 * time.Millisecond):
			}
			return errors.New("none")
		})
	}
}

// A Store hears of the namespaces that it has been asked for. Before it is asked for one, it hears
// of all.
func TestWatchNamespaces(t *testing.T) {
	server := servertest.Redis(t)
	client := connect(t, &redis.Options{Addr: server.Addr})
	writer, s := redisstore.New(client), redisstore.New(connect(t, &redis.Options{Addr: server.Addr}))
	hints := make(chan string, 10_000)
	go func() { _ = s.Watch(t.Context(), func(key string) { hints <- key }) }()
	versions := map[string]uint64{}
	write := func(key string) { versions[key] = swap(t, writer, key, versions[key], "value", time.Hour).Version }
	// hear writes keys until there is a hint of each, and checks that there is none of other keys.
	hear := func(keys ...string) {
		t.Helper()
		for len(hints) > 0 {
			<-hints // of earlier writes
		}
		heard := map[string]bool{}
		servertest.Eventually(t, fmt.Sprintf("hints of %q", keys), func() error {
			for _, key := range keys {
				write(key)
			}
			time.Sleep(10 * time.Millisecond)
			for len(hints) > 0 {
				key := <-hints
				if heard[key] = true; !slices.Contains(keys, key) {
					t.Errorf("a hint of %q, want hints of %q only", key, keys)
				}
			}
			for _, key := range keys {
				if !heard[key] {
					return fmt.Errorf("there are hints of %v", heard)
				}
			}
			return nil
		})
	}
	subscribed := func(channels ...string) {
		t.Helper()
		servertest.Eventually(t, fmt.Sprintf("the subscriptions to be %q", channels), func() error {
			got, err := client.PubSubChannels(t.Context(), "*").Result()
			if slices.Sort(got); err == nil && !slices.Equal(got, channels) {
				err = fmt.Errorf("they are %q", got)
			}
			return err
		})
	}
	hear("a/1", "b/1", "b%2Fc/1", "no namespace")
	load(t, s, "a/2")
	subscribed("breakerhttp:a")
	hear("a/1", "a/2/3")
	swap(t, s, "b/2", 0, "value", time.Hour)
	subscribed("breakerhttp:a", "breakerhttp:b")
	write("c/1")
	write("b%2Fc/1")
	hear("a/1", "b/1")
}

// startWatch returns once Watch has had its first hint, and calls hinted with it.
func startWatch(ctx context.Context, t *testing.T, s *redisstore.Store, hinted func()) (ended chan error) {
	t.Helper()
	var once sync.Once
	begun, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- s.Watch(ctx, func(string) {
			once.Do(func() {
				close(begun)
				hinted()
			})
		})
	}()
	version := load(t, s, "key").Version
	servertest.Eventually(t, "Watch to begin", func() error {
		version = swap(t, s, "key", version, "value", time.Hour).Version
		select {
		case <-begun:
			return nil
		case <-time.After(10 * time.Millisecond):
			return errors.New("no hint")
		}
	})
	return ended
}

// A Watch that has ended leaves neither a goroutine nor a connection, and returns why it ended,
// even if it was busy with a hint then.
func TestWatchLeavesNothing(t *testing.T) {
	server := servertest.Redis(t)
	client := connect(t, &redis.Options{Addr: server.Addr})
	s := redisstore.New(client)
	load(t, s, "key")
	goroutines := runtime.NumGoroutine()
	for range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := startWatch(ctx, t, s, func() {
			cancel()
			servertest.Eventually(t, "the subscription to end", func() error { return unsubscribed(client) })
		})
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch returned %v, want %v", err, context.Canceled)
		}
	}
	servertest.Eventually(t, "the goroutines of Watch to end", func() error {
		if n := runtime.NumGoroutine(); n > goroutines {
			return fmt.Errorf("%d more than before:\n%s", n-goroutines, stacks())
		}
		return nil
	})
}

// The client would connect again by itself. Watch returns all the same, because hints were lost in
// the meantime, and leaves no connection.
func TestWatchEndsWithConnection(t *testing.T) {
	server := servertest.Redis(t)
	client := connect(t, &redis.Options{Addr: server.Addr})
	ended := startWatch(t.Context(), t, redisstore.New(client), func() {})
	if err := client.ClientKillByFilter(t.Context(), "type", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("Watch returned no error although its connection was closed")
	}
	servertest.Eventually(t, "the subscription to end", func() error { return unsubscribed(client) })
}

// unsubscribed is an error while anybody listens for hints.
func unsubscribed(client *redis.Client) error {
	n, err := client.PubSubNumSub(context.Background(), "breakerhttp:").Result()
	if err == nil && n["breakerhttp:"] > 0 {
		err = fmt.Errorf("%d subscribers", n["breakerhttp:"])
	}
	return err
}

func TestWatchEndsWithServer(t *testing.T) {
	server := servertest.Redis(t)
	s := redisstore.New(connect(t, &redis.Options{Addr: server.Addr}))
	ended := startWatch(t.Context(), t, s, func() {})
	server.Kill()
	select {
	case err := <-ended:
		if err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("Watch of a dead server: error %v, want the connection's", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Watch of a dead server has not ended within 10s")
	}
}

// If a server stays connected but no longer answers, Watch ends after a minute. If a server has no
// messages but answers pings, Watch goes on.
func TestWatchSilence(t *testing.T) {
	for name, test := range map[string]struct {
		alive time.Duration
		want  time.Duration
	}{
		"dead from the start": {0, time.Minute},
		"dead after an hour":  {time.Hour, time.Hour + time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				client := redis.NewClient(&redis.Options{
					Addr: "127.0.0.1:6379", Protocol: 2, DisableIdentity: true, DialerRetries: 1,
					Dialer: func(context.Context, string, string) (net.Conn, error) {
						if time.Since(start) > test.alive+30*time.Second {
							return nil, errors.New("no route")
						}
						client, server := net.Pipe()
						go pong(server, start.Add(test.alive))
						return client, nil
					},
				})
				defer client.Close()
				err := redisstore.New(client).Watch(t.Context(), func(string) {})
				if took := time.Since(start); err == nil || took < test.want-30*time.Second || took > test.want {
					t.Errorf("Watch returned %v after %v, want an error after %v", err, took, test.want)
				}
			})
		})
	}
}

// pong accepts a subscription and answers pings for a time, and answers nothing from then on.
func pong(conn net.Conn, until time.Time) {
	serve(conn, func(words []string) string {
		switch {
		case words[0] == "subscribe":
			return fmt.Sprintf("*3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:1\r\n", len(words[1]), words[1])
		case words[0] == "ping" && time.Now().Before(until):
			return "*2\r\n$4\r\npong\r\n$0\r\n\r\n"
		case words[0] == "ping":
			return ""
		default:
			return "-ERR unknown command\r\n"
		}
	})
}

// serve answers each command in the given way.
func serve(conn net.Conn, answer func(words []string) string) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		n, _ := strconv.Atoi(strings.TrimPrefix(lines.Text(), "*"))
		var words []string
		for range n {
			lines.Scan() // the length
			lines.Scan()
			words = append(words, lines.Text())
		}
		if len(words) > 0 {
			fmt.Fprint(conn, answer(words))
		}
	}
}
