package redisstore_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/breakerhttp/breakerhttp/internal/servertest"
)

// startCluster starts two servers that have half of the slots each.
func startCluster(t *testing.T) []string {
	t.Helper()
	var addrs, buses []string
	var nodes []*redis.Client
	for _, slots := range [][2]int{{0, 8191}, {8192, 16383}} {
		_, bus, _ := net.SplitHostPort(servertest.FreeAddr(t))
		s := servertest.Redis(t, "--cluster-enabled", "yes", "--cluster-port", bus)
		node := connect(t, &redis.Options{Addr: s.Addr})
		if err := node.ClusterAddSlotsRange(t.Context(), slots[0], slots[1]).Err(); err != nil {
			t.Fatalf("giving slots to a node: %v", err)
		}
		addrs, buses, nodes = append(addrs, s.Addr), append(buses, bus), append(nodes, node)
	}
	host, port, _ := net.SplitHostPort(addrs[1])
	if err := nodes[0].Do(t.Context(), "cluster", "meet", host, port, buses[1]).Err(); err != nil {
		t.Fatalf("joining the nodes: %v", err)
	}
	for _, node := range nodes {
		servertest.Eventually(t, "the cluster to be whole", func() error {
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
