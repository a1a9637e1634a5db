package redisstore_test

import (
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

// TestServerRESP2 has the other protocol and a client that heeds contexts.
func TestServerRESP2(t *testing.T) {
	t.Parallel()
	s := servertest.Redis(t)
	storetest.Run(t, func(t *testing.T) store.Store {
		return redisstore.New(connect(t, &redis.Options{Addr: s.Addr, Protocol: 2, ContextTimeoutEnabled: true}))
	})
}

func TestCluster(t *testing.T) {
	t.Parallel()
	addrs := startCluster(t)
	storetest.Run(t, func(t *testing.T) store.Store {
		client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs})
		t.Cleanup(func() { client.Close() })
		return redisstore.New(client)
	})
}

// A process's own clock does not matter: that of the server is an hour ahead here.
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

// An expired record is there for another hour, and the server then deletes it.
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

// A server that lost its scripts gets them again, whichever method is first.
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

// Whatever the value is, it is the protocol's to judge.
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

// What is no record of this package is an error, and is not written over.
func TestForeignKey(t *testing.T) {
	mini := miniredis.RunT(t)
	s := redisstore.New(connect(t, &redis.Options{Addr: mini.Addr()}))
	for name, plant := range map[string]func(){
		"another type": func() { _ = mini.Set("key", "text") },
		"another version": func() {
			mini.HSet("key", "version", "v1.2", "value", "text", "written", "1", "expires", "9999999999999")
		},
		"another hash": func() { mini.HSet("key", "version", "7") },
		"no value":     func() { mini.HSet("key", "version", "7", "written", "1", "expires", "9999999999999") },
	} {
		t.Run(name, func(t *testing.T) {
			mini.FlushAll()
			plant()
			before := mini.Dump()
			if items, err := s.Load(t.Context(), []string{"other", "key"}); err == nil || !strings.Contains(err.Error(), `"key"`) {
				t.Errorf("Load = %v, error %v, want one that names the key", items, err)
			}
			if cur, swapped, err := s.CompareAndSwap(t.Context(), "key", 0, []byte("mine"), time.Hour); err == nil {
				t.Errorf("CompareAndSwap = %v, swapped %v, want an error", cur, swapped)
			}
			if got := mini.Dump(); got != before {
				t.Errorf("the server has\n%s, want as before\n%s", got, before)
			}
		})
	}
}

// A user of the server who may not publish has no hints, but may share.
func TestMayNotPublish(t *testing.T) {
	server := servertest.Redis(t)
	admin := connect(t, &redis.Options{Addr: server.Addr})
	if err := admin.Do(t.Context(), "acl", "setuser", "sharer", "on", ">secret", "~*", "resetchannels",
		"+evalsha", "+eval", "+time", "+hmget", "+hget", "+hset", "+hincrby", "+pexpire", "+publish").Err(); err != nil {
		t.Fatal(err)
	}
	s := redisstore.New(connect(t, &redis.Options{Addr: server.Addr, Username: "sharer", Password: "secret"}))
	cur := swap(t, s, "key", 0, "value", time.Hour)
	if got := load(t, s, "key"); got.Version != cur.Version {
		t.Errorf("version %d, want %d", got.Version, cur.Version)
	}
}

func swap(t *testing.T, s *redisstore.Store, key string, old uint64, value string, ttl time.Duration) store.Item {
	t.Helper()
	cur, swapped, err := s.CompareAndSwap(t.Context(), key, old, []byte(value), ttl)
	if err != nil || !swapped {
		t.Fatalf("CompareAndSwap(%q, version %d) = version %d, swapped %v, error %v, want it to win", key, old, cur.Version, swapped, err)
	}
	return cur
}

func load(t *testing.T, s *redisstore.Store, key string) store.Item {
	t.Helper()
	items, err := s.Load(t.Context(), []string{key})
	if err != nil || len(items) != 1 {
		t.Fatalf("Load(%q) = %d items, error %v, want one", key, len(items), err)
	}
	return items[0]
}
