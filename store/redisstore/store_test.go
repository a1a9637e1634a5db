package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/breakerhttp/breakerhttp/internal/servertest"
	"github.com/breakerhttp/breakerhttp/store"
	"github.com/breakerhttp/breakerhttp/store/redisstore"
	"github.com/breakerhttp/breakerhttp/store/storetest"
)

var (
	_ store.Store   = (*redisstore.Store)(nil)
	_ store.Watcher = (*redisstore.Store)(nil)
)

func TestMiniredis(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		return redisstore.New(connect(t, &redis.Options{Addr: miniredis.RunT(t).Addr()}))
	})
}

func TestServer(t *testing.T) {
	t.Parallel()
	s := servertest.Redis(t)
	storetest.Run(t, func(t *testing.T) store.Store {
		return redisstore.New(connect(t, &redis.Options{Addr: s.Addr}))
	})
}

func TestValkey(t *testing.T) {
	t.Parallel()
	s := servertest.Valkey(t)
	storetest.Run(t, func(t *testing.T) store.Store {
		return redisstore.New(connect(t, &redis.Options{Addr: s.Addr}))
	})
}

// TestServerRESP2 uses the other protocol, and a client that ends with its context.
func TestServerRESP2(t *testing.T) {
	t.Parallel()
	s := servertest.Redis(t)
	storetest.Run(t, func(t *testing.T) store.Store {
		return redisstore.New(connect(t, &redis.Options{Addr: s.Addr, Protocol: 2, ContextTimeoutEnabled: true}))
	})
}

func TestCluster(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	storetest.Run(t, func(t *testing.T) store.Store { return redisstore.New(c.connect(t, &redis.ClusterOptions{})) })
}

func TestRing(t *testing.T) {
	t.Parallel()
	servers := map[string]string{"a": servertest.Redis(t).Addr, "b": servertest.Redis(t).Addr}
	storetest.Run(t, func(t *testing.T) store.Store {
		client := redis.NewRing(&redis.RingOptions{Addrs: servers, ReadTimeout: 15 * time.Second})
		t.Cleanup(func() { client.Close() })
		return struct{ store.Store }{redisstore.New(client)} // without Watch, which hears only one of the servers
	})
}

// A process's own clock does not matter: the clock of the server is an hour ahead here.
func TestServerClock(t *testing.T) {
	mini := miniredis.RunT(t)
	now := time.Now().Add(time.Hour)
	mini.SetTime(now)
	s := redisstore.New(connect(t, &redis.Options{Addr: mini.Addr()}))
	first := swap(t, s, "key", 0, "value", 24*time.Hour)
	if want := uint64(now.UnixMilli()); first.Version != want {
		t.Errorf("first version %d, want the server's time in milliseconds, %d", first.Version, want)
	}
	for _, step := range []struct {
		after time.Duration
		value string
		age   time.Duration
	}{
		{1500 * time.Millisecond, "value", 1500 * time.Millisecond},
		{24*time.Hour - time.Millisecond, "value", 24*time.Hour - time.Millisecond},
		{24 * time.Hour, "", 24 * time.Hour},
		{-time.Minute, "value", 0}, // a replica with a slow clock took over
	} {
		mini.SetTime(now.Add(step.after))
		got := load(t, s, "key")
		if string(got.Value) != step.value || got.Age != step.age || got.Version != first.Version {
			t.Errorf("%v after the write: Load = {%q, %d, %v}, want {%q, %d, %v}",
				step.after, got.Value, got.Version, got.Age, step.value, first.Version, step.age)
		}
	}
}

// The next version is old + 1, or the server's time if that is more: a server that has lost a
// version does not give it out again, and a clock that goes back does not make versions go back.
func TestNextVersion(t *testing.T) {
	mini := miniredis.RunT(t)
	s := redisstore.New(connect(t, &redis.Options{Addr: mini.Addr()}))
	start := time.Now()
	at := func(d time.Duration) uint64 { return uint64(start.Add(d).UnixMilli()) }
	var cur store.Item
	for _, step := range []struct {
		after time.Duration
		want  uint64
	}{
		{0, at(0)},
		{0, at(0) + 1},
		{0, at(0) + 2},
		{time.Hour, at(time.Hour)},
		{-time.Hour, at(time.Hour) + 1},
		{time.Hour + time.Millisecond, at(time.Hour) + 2},
		{2 * time.Hour, at(2 * time.Hour)},
	} {
		mini.SetTime(start.Add(step.after))
		cur = swap(t, s, "key", cur.Version, "value", 24*time.Hour)
		if got := load(t, s, "key").Version; cur.Version != step.want || got != step.want {
			t.Fatalf("with the server's clock %v after the start: version %d, and %d in Load, want %d", step.after, cur.Version, got, step.want)
		}
	}
	// A number of Lua would round this version.
	const high = 1<<62 + 1
	mini.HSet("key", "version", fmt.Sprint(high))
	if next := swap(t, s, "key", high, "value", time.Hour); next.Version != high+1 {
		t.Errorf("version %d after %d, want the next", next.Version, uint64(high))
	}
}

// A replica takes over that has not received the latest write.
func TestFailoverLosesVersion(t *testing.T) {
	master, replica := servertest.Redis(t), servertest.Redis(t)
	from, to := connect(t, &redis.Options{Addr: master.Addr}), connect(t, &redis.Options{Addr: replica.Addr})
	first := swap(t, redisstore.New(from), "key", 0, "first", time.Hour)
	dump, err := from.Dump(t.Context(), "key").Result()
	if err != nil {
		t.Fatal(err)
	}
	if err := to.Restore(t.Context(), "key", time.Hour, dump).Err(); err != nil {
		t.Fatal(err)
	}
	lost := swap(t, redisstore.New(from), "key", first.Version, "lost", time.Hour)
	time.Sleep(5 * time.Millisecond)
	if other := swap(t, redisstore.New(to), "key", first.Version, "other", time.Hour); other.Version <= lost.Version {
		t.Errorf("version %d on the new master, want one higher than the lost %d", other.Version, lost.Version)
	}
}

// The server keeps an expired record for another hour, and then deletes it.
func TestExpiredRecordIsDeleted(t *testing.T) {
	mini := miniredis.RunT(t)
	s := redisstore.New(connect(t, &redis.Options{Addr: mini.Addr()}))
	swap(t, s, "key", 0, "value", 24*time.Hour)
	if got, want := mini.TTL("key"), 25*time.Hour; got != want {
		t.Errorf("the server deletes the record after %v, want %v", got, want)
	}
	mini.FastForward(25 * time.Hour)
	if got := load(t, s, "key"); got.Version != 0 {
		t.Errorf("version %d once the server has deleted the record, want 0", got.Version)
	}
}

// A flushed server does not give out a version twice.
func TestFlushed(t *testing.T) {
	server := servertest.Redis(t)
	client := connect(t, &redis.Options{Addr: server.Addr})
	s := redisstore.New(client)
	before := swap(t, s, "key", 0, "before", time.Hour)
	before = swap(t, s, "key", before.Version, "before", time.Hour)
	time.Sleep(5 * time.Millisecond)
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if cur, swapped, err := s.CompareAndSwap(t.Context(), "key", before.Version, []byte("late"), time.Hour); swapped || cur.Version != 0 || err != nil {
		t.Errorf("swap on a version of before the flush = %v, swapped %v, error %v, want it to lose to nothing", cur, swapped, err)
	}
	if after := swap(t, s, "key", 0, "after", time.Hour); after.Version <= before.Version {
		t.Errorf("version %d after the flush, want one higher than %d", after.Version, before.Version)
	}
}

// A server that has lost its scripts gets them again, from whichever method is called first.
func TestScriptLost(t *testing.T) {
	server := servertest.Redis(t)
	client := connect(t, &redis.Options{Addr: server.Addr})
	s := redisstore.New(client)
	var cur store.Item
	for range 2 {
		cur = swap(t, s, "key", cur.Version, "value", time.Hour)
		if err := client.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		items, err := s.Load(t.Context(), []string{"key", "other", "key"})
		if err != nil || items[0].Version != cur.Version || items[1].Version != 0 || items[2].Version != cur.Version {
			t.Fatalf("Load after the server lost the script = %v, error %v, want version %d first and last", items, err, cur.Version)
		}
		if err := client.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// A Store returns any value. Whether it makes sense is for the protocol to decide.
func TestPoisonedValue(t *testing.T) {
	mini := miniredis.RunT(t)
	s := redisstore.New(connect(t, &redis.Options{Addr: mini.Addr()}))
	first := swap(t, s, "key", 0, "value", time.Hour)
	for _, poison := range []string{`{"s":99,"d":9e99}`, "\x00\xff", strings.Repeat("x", 1<<20)} {
		mini.HSet("key", "value", poison)
		if got := load(t, s, "key"); string(got.Value) != poison || got.Version != first.Version {
			t.Errorf("Load = {%.20q, %d}, want {%.20q, %d}", got.Value, got.Version, poison, first.Version)
		}
	}
}

// A key that holds something other than a record has an error of its own, and is not written over.
func TestForeignKey(t *testing.T) {
	const future = "9999999999999"
	for name, plant := range map[string]func(context.Context, *redis.Client) error{
		"another type": func(ctx context.Context, c *redis.Client) error { return c.Set(ctx, "key", "text", 0).Err() },
		"another version": func(ctx context.Context, c *redis.Client) error {
			return c.HSet(ctx, "key", "version", "v1.2", "value", "text", "written", "1", "expires", future).Err()
		},
		"another time": func(ctx context.Context, c *redis.Client) error {
			return c.HSet(ctx, "key", "version", "7", "value", "text", "written", "now", "expires", future).Err()
		},
		"a version without a next": func(ctx context.Context, c *redis.Client) error {
			return c.HSet(ctx, "key", "version", "18446744073709551615", "value", "text", "written", "1", "expires", future).Err()
		},
		"another hash":   func(ctx context.Context, c *redis.Client) error { return c.HSet(ctx, "key", "name", "value").Err() },
		"only a version": func(ctx context.Context, c *redis.Client) error { return c.HSet(ctx, "key", "version", "7").Err() },
		"no version": func(ctx context.Context, c *redis.Client) error {
			return c.HSet(ctx, "key", "value", "text", "written", "1", "expires", future).Err()
		},
		"no value": func(ctx context.Context, c *redis.Client) error {
			return c.HSet(ctx, "key", "version", "7", "written", "1", "expires", future).Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			for server, addr := range map[string]string{"miniredis": miniredis.RunT(t).Addr(), "redis": servertest.Redis(t).Addr} {
				client := connect(t, &redis.Options{Addr: addr})
				s := redisstore.New(client)
				good := swap(t, s, "good", 0, "value", time.Hour)
				if err := plant(t.Context(), client); err != nil {
					t.Fatal(err)
				}
				before := client.Dump(t.Context(), "key").Val()
				items, err := s.Load(t.Context(), []string{"absent", "key", "good"})
				if err != nil || items[0].Err != nil || items[1].Err == nil || items[2].Err != nil || items[2].Version != good.Version {
					t.Errorf("%s: Load = %v, error %v, want an error of the second item alone", server, items, err)
				} else if !strings.Contains(items[1].Err.Error(), `"key"`) {
					t.Errorf("%s: Load: item error %q, want one that names the key", server, items[1].Err)
				}
				if cur, swapped, err := s.CompareAndSwap(t.Context(), "key", 0, []byte("mine"), time.Hour); err != nil || swapped || cur.Err == nil {
					t.Errorf("%s: CompareAndSwap = %v, swapped %v, error %v, want an error of the item", server, cur, swapped, err)
				}
				if got := client.Dump(t.Context(), "key").Val(); got != before {
					t.Errorf("%s: the key was written over", server)
				}
			}
		})
	}
}

// documented are the permissions of the package's documentation, without the channels.
var documented = []any{
	"on", ">secret", "resetkeys", "~checkout/*", "resetchannels",
	"-@all", "+evalsha", "+eval", "+time", "+hmget", "+exists", "+hset", "+pexpire", "+publish", "+subscribe", "+ping", "+cluster|slots",
}

// allow creates a user of the server with these permissions.
func allow(t *testing.T, server *redis.Client, rules ...any) {
	t.Helper()
	if err := server.Do(t.Context(), append([]any{"acl", "setuser", "sharer"}, rules...)...).Err(); err != nil {
		t.Fatal(err)
	}
}

// sharing checks that a user of these servers may read, write and watch. It begins to watch before
// the Store is asked for a key, though the user may not listen to all namespaces.
func sharing(t *testing.T, client redis.UniversalClient, servers ...*redis.Client) {
	t.Helper()
	s := redisstore.New(client)
	hints, ended := make(chan string, 100), make(chan error, 1)
	go func() { ended <- s.Watch(t.Context(), func(key string) { hints <- key }) }()
	servertest.Eventually(t, "the server to refuse PSUBSCRIBE", func() error {
		for _, server := range servers {
			if slices.Contains(refusals(t, server), "psubscribe") {
				return nil
			}
		}
		return errors.New("it has not")
	})
	var cur store.Item
	servertest.Eventually(t, "a hint", func() error {
		cur = swap(t, s, "checkout/key", cur.Version, "value", time.Hour)
		select {
		case <-hints:
			return nil
		case err := <-ended:
			t.Fatalf("Watch returned %v", err)
		case <-time.After(10 * time.Millisecond):
		}
		return errors.New("none")
	})
	if got := load(t, s, "checkout/key"); got.Version != cur.Version {
		t.Errorf("Load: version %d, want %d", got.Version, cur.Version)
	}
	for _, server := range servers {
		user := connect(t, &redis.Options{Addr: server.Options().Addr, Username: "sharer", Password: "secret"})
		if err := user.Ping(t.Context()).Err(); err != nil {
			t.Errorf("PING, which a Watch sends after half a minute: %v", err)
		}
	}
}

// refusals returns the commands and channels that a server has refused to its users.
func refusals(t *testing.T, server *redis.Client) (what []string) {
	t.Helper()
	log, err := server.ACLLog(t.Context(), 100).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range log {
		what = append(what, entry.Object)
	}
	return what
}

// A user with the documented permissions, and no others, may do all that this package does.
func TestPermissions(t *testing.T) {
	check := func(t *testing.T, server *redis.Client) {
		t.Helper()
		for _, what := range refusals(t, server) {
			// The client tries the last two when it connects, and does not need them.
			if what != "psubscribe" && what != "client|setinfo" && what != "client|maint_notifications" {
				t.Errorf("the server refused %s", what)
			}
		}
	}
	t.Run("server", func(t *testing.T) {
		server := servertest.Redis(t)
		admin := connect(t, &redis.Options{Addr: server.Addr})
		allow(t, admin, append(documented, "&breakerhttp:checkout")...)
		sharing(t, connect(t, &redis.Options{Addr: server.Addr, Username: "sharer", Password: "secret"}), admin)
		check(t, admin)
	})
	t.Run("cluster", func(t *testing.T) {
		c := startCluster(t, 2)
		for _, node := range c.nodes {
			allow(t, node, append(documented, "&breakerhttp:checkout")...)
		}
		nodes := slices.Collect(maps.Values(c.nodes))
		sharing(t, c.connect(t, &redis.ClusterOptions{Username: "sharer", Password: "secret"}), nodes...)
		for _, node := range nodes {
			check(t, node)
		}
	})
	t.Run("other keys", func(t *testing.T) {
		server := servertest.Redis(t)
		allow(t, connect(t, &redis.Options{Addr: server.Addr}), documented...)
		s := redisstore.New(connect(t, &redis.Options{Addr: server.Addr, Username: "sharer", Password: "secret"}))
		if items, err := s.Load(t.Context(), []string{"payments/key"}); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("Load of another namespace = %v, error %v, want NOPERM", items, err)
		}
	})
	t.Run("no hints", func(t *testing.T) {
		server := servertest.Redis(t)
		allow(t, connect(t, &redis.Options{Addr: server.Addr}), append(documented, "-publish")...)
		s := redisstore.New(connect(t, &redis.Options{Addr: server.Addr, Username: "sharer", Password: "secret"}))
		cur := swap(t, s, "checkout/key", 0, "value", time.Hour)
		if got := load(t, s, "checkout/key"); got.Version != cur.Version {
			t.Errorf("version %d, want %d", got.Version, cur.Version)
		}
	})
}
