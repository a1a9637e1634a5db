package redisstore_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A server is a redis-server process on a free port of the loopback interface.
type server struct {
	addr string
	cmd  *exec.Cmd
}

// startServer starts the binary that REDIS_SERVER names, or else redis-server
// from PATH, and stops it when t ends. Without one it skips t, or fails it if
// BREAKERHTTP_REQUIRE_SERVERS is 1.
func startServer(t *testing.T, args ...string) *server {
	t.Helper()
	return startServerAt(t, freeAddr(t), args...)
}

func startServerAt(t *testing.T, addr string, args ...string) *server {
	t.Helper()
	name := os.Getenv("REDIS_SERVER")
	if name == "" {
		name = "redis-server"
	}
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("BREAKERHTTP_REQUIRE_SERVERS") == "1" {
		t.Fatalf("no Redis server: %v; REDIS_SERVER names one", err)
	}
	if err != nil {
		t.Skipf("no Redis server: %v; REDIS_SERVER names one", err)
	}
	host, port, _ := net.SplitHostPort(addr)
	args = append([]string{"--bind", host, "--port", port, "--save", "", "--dir", t.TempDir()}, args...)
	s := &server{addr: addr, cmd: exec.Command(path, args...)}
	var out strings.Builder
	s.cmd.Stdout, s.cmd.Stderr = &out, &out
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	t.Cleanup(s.kill)

	client := connect(t, &redis.Options{Addr: addr})
	eventually(t, "redis-server to answer", func() error { return client.Ping(t.Context()).Err() })
	return s
}

// kill stops the server without letting it say goodbye.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// startCluster starts two servers that have half of the slots each.
func startCluster(t *testing.T) []string {
	t.Helper()
	var addrs, buses []string
	var nodes []*redis.Client
	for _, slots := range [][2]int{{0, 8191}, {8192, 16383}} {
		_, bus, _ := net.SplitHostPort(freeAddr(t))
		s := startServer(t, "--cluster-enabled", "yes", "--cluster-port", bus)
		node := connect(t, &redis.Options{Addr: s.addr})
		if err := node.ClusterAddSlotsRange(t.Context(), slots[0], slots[1]).Err(); err != nil {
			t.Fatalf("giving slots to a node: %v", err)
		}
		addrs, buses, nodes = append(addrs, s.addr), append(buses, bus), append(nodes, node)
	}
	host, port, _ := net.SplitHostPort(addrs[1])
	if err := nodes[0].Do(t.Context(), "cluster", "meet", host, port, buses[1]).Err(); err != nil {
		t.Fatalf("joining the nodes: %v", err)
	}
	for _, node := range nodes {
		eventually(t, "the cluster to be whole", func() error {
			info, err := node.ClusterInfo(t.Context()).Result()
			if err == nil && !strings.Contains(info, "cluster_state:ok") {
				err = fmt.Errorf("cluster info %q", info)
			}
			return err
		})
	}
	return addrs
}

func connect(t *testing.T, opt *redis.Options) *redis.Client {
	t.Helper()
	opt.ReadTimeout = 15 * time.Second // for busy machines
	client := redis.NewClient(opt)
	t.Cleanup(func() { client.Close() })
	return client
}

// freeAddr returns an address that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func eventually(t *testing.T, what string, met func() error) {
	t.Helper()
	start := time.Now()
	for err := met(); err != nil; err = met() {
		if time.Since(start) > 10*time.Second {
			t.Fatalf("still waiting for %s: %v", what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
