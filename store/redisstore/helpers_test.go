package redisstore_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/breakerhttp/breakerhttp/internal/servertest"
	"github.com/breakerhttp/breakerhttp/store"
	"github.com/breakerhttp/breakerhttp/store/redisstore"
)

// prompt is how long a method may take to notice that its context is done.
const prompt = 200 * time.Millisecond

// quiet drops what the client logs about connections that these tests cut.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{})
	m.Run()
}

// connect returns a client of one server, with a read timeout for busy machines.
func connect(t *testing.T, opt *redis.Options) *redis.Client {
	t.Helper()
	opt.ReadTimeout = 15 * time.Second
	client := redis.NewClient(opt)
	t.Cleanup(func() { client.Close() })
	return client
}

// A cluster is servers that share the slots. One that is down does not stop the others.
type cluster struct {
	addrs   []string
	servers map[string]*servertest.Server
	nodes   map[string]*redis.Client // each talks to one server, and follows no key to another
}

func startCluster(t *testing.T, servers int) cluster {
	t.Helper()
	c := cluster{servers: map[string]*servertest.Server{}, nodes: map[string]*redis.Client{}}
	var buses []string
	for i := range servers {
		_, bus, _ := net.SplitHostPort(servertest.FreeAddr(t))
		s := servertest.Redis(t, "--cluster-enabled", "yes", "--cluster-port", bus,
			"--cluster-require-full-coverage", "no", "--cluster-node-timeout", "5000") // for busy machines
		node := connect(t, &redis.Options{Addr: s.Addr})
		const slots = 16384
		if err := node.ClusterAddSlotsRange(t.Context(), i*slots/servers, (i+1)*slots/servers-1).Err(); err != nil {
			t.Fatalf("giving slots to a node: %v", err)
		}
		c.addrs, buses = append(c.addrs, s.Addr), append(buses, bus)
		c.servers[s.Addr], c.nodes[s.Addr] = s, node
	}
	for i := range servers - 1 {
		host, port, _ := net.SplitHostPort(c.addrs[i+1])
		if err := c.nodes[c.addrs[0]].Do(t.Context(), "cluster", "meet", host, port, buses[i+1]).Err(); err != nil {
			t.Fatalf("joining the nodes: %v", err)
		}
	}
	for _, node := range c.nodes {
		servertest.Eventually(t, "the cluster to be whole", func() error {
			info, err := node.ClusterInfo(t.Context()).Result()
			for _, want := range []string{"cluster_state:ok", "cluster_slots_ok:16384", fmt.Sprint("cluster_size:", servers)} {
				if err == nil && !strings.Contains(info, want) {
					err = fmt.Errorf("cluster info %q, want %s", info, want)
				}
			}
			return err
		})
	}
	return c
}

// connect returns a client of the whole cluster.
func (c cluster) connect(t *testing.T, opt *redis.ClusterOptions) *redis.ClusterClient {
	t.Helper()
	opt.Addrs = c.addrs
	client := redis.NewClusterClient(opt)
	t.Cleanup(func() { client.Close() })
	return client
}

func swap(t *testing.T, s *redisstore.Store, key string, old uint64, value string, ttl time.Duration) store.Item {
	t.Helper()
	cur, swapped, err := s.CompareAndSwap(t.Context(), key, old, []byte(value), ttl)
	if err != nil || cur.Err != nil || !swapped {
		t.Fatalf("CompareAndSwap(%q, version %d) = version %d, item error %v, swapped %v, error %v, want it to win", key, old, cur.Version, cur.Err, swapped, err)
	}
	return cur
}

func load(t *testing.T, s *redisstore.Store, key string) store.Item {
	t.Helper()
	items, err := s.Load(t.Context(), []string{key})
	if err != nil || len(items) != 1 || items[0].Err != nil {
		t.Fatalf("Load(%q) = %v, error %v, want one item without an error", key, items, err)
	}
	return items[0]
}
