package redisstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/breakerhttp/breakerhttp/internal/servertest"
	"github.com/breakerhttp/breakerhttp/store"
	"github.com/breakerhttp/breakerhttp/store/redisstore"
)

func TestServerKilled(t *testing.T) {
	server := servertest.Redis(t)
	s := redisstore.New(connect(t, &redis.Options{Addr: server.Addr, DialerRetries: 1}))
	before := swap(t, s, "key", 0, "before", time.Hour)
	server.Kill()
	for range 3 {
		// Nothing is retried, so both return soon.
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

// A brokenRing panics when it is asked for a server, or when it is asked to run commands.
type brokenRing struct {
	redis.UniversalClient
	server *redis.Client
}

func (r brokenRing) GetShardClientForKey(string) (*redis.Client, error) {
	if r.server == nil {
		panic("no such server")
	}
	return r.server, nil
}

// TestClientPanics: a panic of the client is an error.
func TestClientPanics(t *testing.T) {
	for name, client := range map[string]redis.UniversalClient{
		"while it looks for a server": brokenRing{},
		"while it runs commands":      brokenRing{server: &redis.Client{}},
	} {
		s := redisstore.New(client)
		if _, err := s.Load(t.Context(), []string{"a", "b"}); err == nil || !strings.Contains(err.Error(), "panicked") {
			t.Errorf("%s: Load: got error %v, want that the client panicked", name, err)
		}
		if _, _, err := s.CompareAndSwap(t.Context(), "a", 0, nil, time.Hour); err == nil || !strings.Contains(err.Error(), "panicked") {
			t.Errorf("%s: CompareAndSwap: got error %v, want that the client panicked", name, err)
		}
	}
}

// TestRingClosedMeanwhile: a pipeline of a Ring that is closed just then panics in a goroutine of its
// own, which nobody can recover.
func TestRingClosedMeanwhile(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	for range 100 {
		client := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": addr}})
		s := redisstore.New(client)
		if _, err := s.Load(t.Context(), []string{"key"}); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 10 {
					_, _ = s.Load(t.Context(), []string{"key"})
				}
			})
		}
		time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond) // somewhere amid the Loads
		_ = client.Close()
		wg.Wait()
		if _, err := s.Load(t.Context(), []string{"key"}); err == nil {
			t.Fatal("Load by a closed Ring returned no error")
		}
	}
}

// TestWatchOfARingWithoutServers: such a Ring panics when it is to subscribe.
func TestWatchOfARingWithoutServers(t *testing.T) {
	closed := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": miniredis.RunT(t).Addr()}})
	_ = closed.Close()
	empty := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{}})
	defer empty.Close()
	for name, client := range map[string]*redis.Ring{"closed": closed, "empty": empty} {
		for _, key := range []string{"", "orders/key"} { // all namespaces, and one
			s := redisstore.New(client)
			if key != "" {
				_, _ = s.Load(t.Context(), []string{key})
			}
			if err := s.Watch(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "panicked") {
				t.Errorf("%s, key %q: Watch returned %v, want that the client panicked", name, key, err)
			}
		}
	}
}

// A host that accepts connections and never answers, and a network that drops everything: the
// methods return in time, though the client ignores contexts.
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
			client := redis.NewClient(&redis.Options{Addr: l.Addr().String(), Dialer: dial(release), DialerRetries: 1, DialTimeout: 3 * time.Second, ReadTimeout: 3 * time.Second})
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
			const soon = time.Second // less than the client waits, even on a busy machine
			for method, call := range calls {
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				if err := servertest.Within(t, soon, method, func() error { return call(ctx) }); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: error %v, want %v", method, err, context.DeadlineExceeded)
				}
				cancel()
				ctx, cancel = context.WithCancel(t.Context())
				time.AfterFunc(50*time.Millisecond, cancel)
				if err := servertest.Within(t, soon, method, func() error { return call(ctx) }); !errors.Is(err, context.Canceled) {
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

// A server that refuses to write fails the swap, answers the reads, and has written nothing.
func TestWritesRefused(t *testing.T) {
	config := func(name, value string) func(*testing.T, *redis.Client) error {
		return func(t *testing.T, c *redis.Client) error { return c.ConfigSet(t.Context(), name, value).Err() }
	}
	for code, test := range map[string]struct {
		args   []string
		refuse func(*testing.T, *redis.Client) error
	}{
		"OOM":        {refuse: config("maxmemory", "1")},
		"NOREPLICAS": {refuse: config("min-replicas-to-write", "1")},
		"READONLY": {refuse: func(t *testing.T, c *redis.Client) error {
			return c.ReplicaOf(t.Context(), "127.0.0.1", "1").Err()
		}},
		"ERR The user executing the script can't run this command": {refuse: func(t *testing.T, c *redis.Client) error {
			return c.Do(t.Context(), "acl", "setuser", "default", "-hset").Err()
		}},
		"MISCONF": {[]string{"--save", "3600 1000"}, func(t *testing.T, c *redis.Client) error {
			dir, err := c.ConfigGet(t.Context(), "dir").Result()
			if err == nil {
				err = os.RemoveAll(dir["dir"]) // so the server cannot save
			}
			if err != nil {
				return err
			}
			_ = c.BgSave(t.Context()).Err()
			servertest.Eventually(t, "the server to fail to save", func() error {
				info, err := c.Info(t.Context(), "persistence").Result()
				if err == nil && !strings.Contains(info, "rdb_last_bgsave_status:err") {
					err = errors.New(info)
				}
				return err
			})
			return nil
		}},
	} {
		t.Run(code, func(t *testing.T) {
			server := servertest.Redis(t, test.args...)
			client := connect(t, &redis.Options{Addr: server.Addr})
			s := redisstore.New(client)
			before := swap(t, s, "key", 0, "before", time.Hour)
			if err := test.refuse(t, client); err != nil {
				t.Fatal(err)
			}
			if cur, swapped, err := s.CompareAndSwap(t.Context(), "key", before.Version, []byte("after"), time.Hour); err == nil || !strings.Contains(err.Error(), code) || swapped {
				t.Errorf("CompareAndSwap = %v, swapped %v, error %v, want %s", cur, swapped, err, code)
			}
			if cur, swapped, err := s.CompareAndSwap(t.Context(), "key", 0, []byte("after"), time.Hour); err != nil || swapped || cur.Version != before.Version {
				t.Errorf("CompareAndSwap of a stale version = %v, swapped %v, error %v, want it to lose", cur, swapped, err)
			}
			if got := load(t, s, "key"); string(got.Value) != "before" || got.Version != before.Version {
				t.Errorf("Load = %v, want what was there before", got)
			}
		})
	}
}

// A server that is loading its data, or that is no Redis, fails as a whole, even for one key.
func TestServerFails(t *testing.T) {
	for _, answer := range []string{"-LOADING Redis is loading the dataset in memory", "-MASTERDOWN Link with MASTER is down", "-BUSY a script runs", "+OK", ":1", "*0"} {
		t.Run(answer, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					go serve(conn, func([]string) string { return answer + "\r\n" })
				}
			}()
			s := redisstore.New(connect(t, &redis.Options{Addr: l.Addr().String(), Protocol: 2, DisableIdentity: true}))
			if items, err := s.Load(t.Context(), []string{"key"}); err == nil {
				t.Errorf("Load = %v, want an error", items)
			}
			if cur, swapped, err := s.CompareAndSwap(t.Context(), "key", 0, nil, time.Hour); err == nil {
				t.Errorf("CompareAndSwap = %v, swapped %v, want an error", cur, swapped)
			}
		})
	}
}

// One server of three is dead, or silent: its keys have errors, in time. The other keys are still
// read and written.
func TestOneOfThreeServersDown(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	client := c.connect(t, &redis.ClusterOptions{})
	s := redisstore.New(client)
	node, err := client.MasterForKey(t.Context(), "breakerhttp:checkout") // the client would watch there
	if err != nil {
		t.Fatal(err)
	}
	down, up := node.Options().Addr, c.addrs[0]
	if up == down {
		up = c.addrs[1]
	}
	var dead, living []string
	for i := 0; len(dead) < 10 || len(living) < 50; i++ {
		key := fmt.Sprintf("checkout/https://host%d.example.com", i)
		node, err := client.MasterForKey(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if node.Options().Addr == down {
			dead = append(dead, key)
		} else {
			living = append(living, key)
		}
	}
	dead, living = dead[:10], living[:50]
	mixed := slices.Concat(dead[:5], living, dead[5:])
	versions := map[string]uint64{}
	for _, key := range mixed {
		versions[key] = swap(t, s, key, 0, "before", time.Hour).Version
	}

	const patience = time.Second
	check := func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		items, err := s.Load(ctx, mixed)
		if err != nil {
			t.Fatalf("Load: %v, want the items of the living servers", err)
		}
		for i, key := range mixed {
			if isDead := slices.Contains(dead, key); isDead != (items[i].Err != nil) || !isDead && items[i].Version != versions[key] {
				t.Errorf("Load(%q) = %v, dead %v, version %d before", key, items[i], isDead, versions[key])
			}
		}
		for _, key := range living {
			versions[key] = swap(t, s, key, versions[key], "after", time.Hour).Version
		}
		ctx, cancel = context.WithTimeout(t.Context(), patience)
		defer cancel()
		if items, err := s.Load(ctx, dead[:1]); err != nil || items[0].Err == nil {
			t.Errorf("Load of one dead key = %v, error %v, want an error of the item", items, err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), patience)
		defer cancel()
		if cur, swapped, err := s.CompareAndSwap(ctx, dead[0], versions[dead[0]], nil, time.Hour); err != nil || swapped || cur.Err == nil {
			t.Errorf("CompareAndSwap of a dead key = %v, swapped %v, error %v, want an error of the item", cur, swapped, err)
		}
		// A caller who cancels gets the context's error at once, and no Items.
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		for range 20 {
			if items, err := s.Load(ctx, mixed); !errors.Is(err, context.Canceled) {
				t.Fatalf("Load with a context that is done = %d items, error %v, want %v", len(items), err, context.Canceled)
			}
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if err := servertest.Within(t, time.Second, "Load", func() error { // of 3s that the client waits
			_, err := s.Load(ctx, mixed)
			return err
		}); !errors.Is(err, context.Canceled) {
			t.Errorf("Load, cancelled: error %v, want %v", err, context.Canceled)
		}
	}
	t.Run("silent", func(t *testing.T) {
		if err := c.nodes[down].ClientPause(t.Context(), time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		check(t)
	})
	t.Run("dead", func(t *testing.T) {
		c.servers[down].Kill()
		check(t)
	})
	t.Run("hints of the living", func(t *testing.T) {
		hinted := make(chan struct{})
		stop := sync.OnceFunc(func() { close(hinted) })
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			for ctx.Err() == nil {
				_ = s.Watch(ctx, func(string) { stop() })
			}
		}()
		servertest.Eventually(t, "a hint", func() error {
			versions[living[0]] = swap(t, s, living[0], versions[living[0]], "after", time.Hour).Version
			select {
			case <-hinted:
				return nil
			case <-time.After(10 * time.Millisecond):
				return errors.New("none")
			}
		})
	})
	t.Run("found dead by the others", func(t *testing.T) {
		servertest.Eventually(t, "the cluster to notice", func() error {
			info, err := c.nodes[up].ClusterInfo(t.Context()).Result()
			if err == nil && strings.Contains(info, "cluster_slots_fail:0") {
				err = errors.New(info)
			}
			return err
		})
		check(t)
	})
	t.Run("unknown from the start", func(t *testing.T) {
		s = redisstore.New(c.connect(t, &redis.ClusterOptions{DialerRetries: 1}))
		check(t)
	})
}

// With one server of a Cluster down, a new client may ask that one first where the records are. A
// client that dials it once goes on to the next server in time. The default is five times, with
// 100 ms in between. The test logs the figures of docs/sharing.md.
func TestDialerRetries(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	const key = "checkout/https://api.example.com"
	node, err := c.connect(t, &redis.ClusterOptions{}).MasterForKey(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	down := c.addrs[0]
	if down == node.Options().Addr {
		down = c.addrs[1]
	}
	c.servers[down].Kill()
	const clients = 20
	inTime := func(retries int, pause, limit time.Duration) (n int) {
		for range clients {
			s := redisstore.New(c.connect(t, &redis.ClusterOptions{
				ContextTimeoutEnabled: true, DialerRetries: retries, DialerRetryTimeout: pause,
			}))
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			if items, err := s.Load(ctx, []string{key}); err == nil && items[0].Err == nil {
				n++
			}
			cancel()
		}
		return n
	}
	for _, retries := range []int{5, 1} {
		got := inTime(retries, 100*time.Millisecond, 50*time.Millisecond)
		t.Logf("DialerRetries %d: %d of %d new clients read a record within 50 ms", retries, got, clients)
	}
	if got := inTime(1, time.Minute, 10*time.Second); got != clients {
		t.Errorf("%d of %d new clients that dial once read a record without a pause between two dials, want all", got, clients)
	}
}

// A replica takes over. It has the latest record, whose version is ahead of the replica's clock, or
// it has nothing.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lag bool
	}{
		"with its records": {lag: false},
		"empty":            {lag: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			master := servertest.Redis(t)
			host, port, _ := net.SplitHostPort(master.Addr)
			replica := connect(t, &redis.Options{Addr: servertest.Redis(t, "--replicaof", host+" "+port, "--replica-read-only", "no").Addr})
			servertest.Eventually(t, "the replica to follow", func() error {
				info, err := replica.Info(t.Context(), "replication").Result()
				if err == nil && !strings.Contains(info, "master_link_status:up") {
					err = errors.New(info)
				}
				return err
			})
			sentinel := servertest.Sentinel(t, master.Addr)
			client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "primary", SentinelAddrs: []string{sentinel.Addr}, DialerRetries: 1})
			t.Cleanup(func() { client.Close() })
			s := redisstore.New(client)

			before := swap(t, s, "key", 0, "before", time.Hour)
			ahead := before.Version + uint64(time.Hour.Milliseconds())
			if err := client.HSet(t.Context(), "key", "version", ahead).Err(); err != nil {
				t.Fatal(err)
			}
			if err := client.Wait(t.Context(), 1, 10*time.Second).Err(); err != nil {
				t.Fatal(err)
			}
			if test.lag {
				if err := replica.FlushAll(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
			}
			master.Kill()
			var got store.Item
			servertest.Eventually(t, "the replica to take over", func() error {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				items, err := s.Load(ctx, []string{"key"})
				if err == nil {
					got = items[0]
					err = got.Err
				}
				if err == nil {
					_, _, err = s.CompareAndSwap(ctx, "other", 0, nil, time.Hour) // READONLY until then
				}
				return err
			})
			if test.lag {
				if got.Version != 0 {
					t.Errorf("version %d on the empty server, want 0", got.Version)
				}
				if next := swap(t, s, "key", 0, "after", time.Hour); next.Version <= before.Version {
					t.Errorf("version %d on the empty server, want its time, which is more than %d", next.Version, before.Version)
				}
				return
			}
			if got.Version != ahead || string(got.Value) != "before" {
				t.Errorf("Load = %v, want version %d", got, ahead)
			}
			if next := swap(t, s, "key", ahead, "after", time.Hour); next.Version != ahead+1 {
				t.Errorf("version %d after %d, which is ahead of the server's clock, want the next", next.Version, ahead)
			}
		})
	}
}

// A swap whose answer got lost has been made. If it were sent again, as the client does with other
// commands, it would find another version, and report that it has lost.
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
			// The connection works again.
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

// A proxy passes everything on to a server, until it sees the command that cut names for the first
// time: it closes that connection instead of passing on the answer.
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

// stacks lists the goroutines that run, for a message.
func stacks() string {
	buf := make([]byte, 1<<20)
	return strings.TrimSpace(string(buf[:runtime.Stack(buf, true)]))
}
