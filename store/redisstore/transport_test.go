package redisstore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/servertest"
	"github.com/breakerhttp/breakerhttp/store/redisstore"
)

// hosts answer the requests of a test, after some time and with a status for each host.
type hosts struct {
	takes  time.Duration
	mu     sync.Mutex
	status map[string]int // by Host; 0 is 200
}

func (h *hosts) RoundTrip(req *http.Request) (*http.Response, error) {
	time.Sleep(h.takes)
	h.mu.Lock()
	defer h.mu.Unlock()
	status := h.status[req.URL.Host]
	if status == 0 {
		status = http.StatusOK
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

func (h *hosts) set(host string, status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status[host] = status
}

// process returns the Transport of a process of a fleet.
func (h *hosts) process(t *testing.T, client redis.UniversalClient, openFor time.Duration, sharing breakerhttp.Sharing) *breakerhttp.Transport {
	t.Helper()
	sharing.ReadTimeout, sharing.WriteTimeout = 5*time.Second, 5*time.Second // for busy machines
	sharing.Instance = rand.Text()
	sharing.OnError = func(error) {}
	transport, err := breakerhttp.New(h,
		breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: openFor}), breakerhttp.WithStore(redisstore.New(client), sharing))
	if err != nil {
		t.Fatal(err)
	}
	return transport
}

// refused sends a request and reports whether the circuit refused it.
func refused(t *testing.T, transport *breakerhttp.Transport, host string) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = transport.RoundTrip(req)
	if err != nil && !errors.Is(err, breakerhttp.ErrOpen) {
		t.Fatal(err)
	}
	return err != nil
}

// With one server of three down, the circuits whose records are on the others are still shared.
func TestShareWithOneOfThreeServersDown(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	client := c.connect(t, &redis.ClusterOptions{DialerRetries: 1})
	const living = 50
	var names []string
	onLiving := map[string]bool{}
	for i := 0; len(onLiving) < living; i++ {
		name := fmt.Sprintf("host%d.example.com", i)
		node, err := client.MasterForKey(t.Context(), "default/http://"+name)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
		if node.Options().Addr != c.addrs[1] {
			onLiving[name] = true
		}
	}
	c.servers[c.addrs[1]].Kill()
	h := &hosts{status: map[string]int{}}
	first := h.process(t, client, time.Minute, breakerhttp.Sharing{Quorum: 1})
	second := h.process(t, c.connect(t, &redis.ClusterOptions{DialerRetries: 1}), time.Minute, breakerhttp.Sharing{Quorum: 1})
	shared := 0
	for _, name := range names {
		h.set(name, http.StatusServiceUnavailable)
		for range 5 {
			refused(t, first, name)
		}
		if !refused(t, first, name) {
			t.Errorf("the first process sent a request to %s after five failures", name)
		}
		if refused(t, second, name) {
			shared++
			if !onLiving[name] {
				t.Errorf("%s is shared, and its server is down", name)
			}
		}
	}
	if shared != living {
		t.Errorf("%d of %d hosts on living servers are shared, want all", shared, living)
	}
}

// When a thousand hosts fail at once, two processes with the client's default pool do not overload
// the server: the records open, and afterwards each host gets two probes in a round, and not more.
func TestBurst(t *testing.T) {
	t.Parallel()
	const many = 1000
	server := servertest.Redis(t)
	h := &hosts{status: map[string]int{}}
	var processes []*breakerhttp.Transport
	for i := range 2 {
		client := redis.NewClient(&redis.Options{Addr: server.Addr})
		t.Cleanup(func() { client.Close() })
		transport, err := breakerhttp.New(h, breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: 10 * time.Second}),
			breakerhttp.WithStore(redisstore.New(client), breakerhttp.Sharing{
				Instance:     fmt.Sprint("process ", i),
				ReadTimeout:  5 * time.Second, // for busy machines
				WriteTimeout: 5 * time.Second,
				OnError:      func(err error) { t.Log(err) },
			}))
		if err != nil {
			t.Fatal(err)
		}
		processes = append(processes, transport)
	}
	call := func() (sent int64) {
		var wg sync.WaitGroup
		var n atomic.Int64
		for i := range many {
			for _, p := range processes {
				wg.Go(func() {
					if !refused(t, p, fmt.Sprintf("host%d.example.com", i)) {
						n.Add(1)
					}
				})
			}
		}
		wg.Wait()
		return n.Load()
	}
	call() // the first requests, which wait for the store
	for i := range many {
		h.set(fmt.Sprintf("host%d.example.com", i), http.StatusServiceUnavailable)
	}
	began := time.Now()
	for range 5 {
		call()
	}
	keys := make([]string, many)
	for i := range keys {
		keys[i] = fmt.Sprintf("default/http://host%d.example.com", i)
	}
	store := redisstore.New(connect(t, &redis.Options{Addr: server.Addr}))
	open := 0
	for range 20 { // some votes are cast when the record is read next
		call()
		items, err := store.Load(t.Context(), keys)
		if err != nil {
			t.Fatal(err)
		}
		open = 0
		for _, item := range items {
			if strings.Contains(string(item.Value), `"st":"open"`) {
				open++
			}
		}
		if open == many {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if open < 950 {
		t.Errorf("%d records are open, want 950 of %d", open, many)
	}
	t.Logf("%d of %d records are open %v after the hosts failed", open, many, time.Since(began))
	time.Sleep(time.Until(began.Add(8 * time.Second)))
	probes := int64(0)
	for time.Since(began) < 18*time.Second {
		probes += call()
		time.Sleep(200 * time.Millisecond)
	}
	if probes > 2*many*11/10 {
		t.Errorf("got %d probes of %d hosts, want two each and 10%%", probes, many)
	}
	t.Logf("%d probes", probes)
}

// Two processes have opened a circuit, and then the server answers reads and refuses writes. When
// the host has recovered, the record that is still there does not open the circuit again and again.
func TestShareWithoutWrites(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(*testing.T, *redis.Client) error{
		"OOM": func(t *testing.T, c *redis.Client) error { return c.ConfigSet(t.Context(), "maxmemory", "1").Err() },
		"NOREPLICAS": func(t *testing.T, c *redis.Client) error {
			return c.ConfigSet(t.Context(), "min-replicas-to-write", "1").Err()
		},
		"READONLY": func(t *testing.T, c *redis.Client) error { return c.ReplicaOf(t.Context(), "127.0.0.1", "1").Err() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := servertest.Redis(t)
			h, host := &hosts{takes: 50 * time.Millisecond, status: map[string]int{}}, "host.example.com"
			var processes []*breakerhttp.Transport
			for range 2 {
				processes = append(processes, h.process(t, connect(t, &redis.Options{Addr: server.Addr}), 500*time.Millisecond,
					breakerhttp.Sharing{Refresh: 100 * time.Millisecond}))
			}
			h.set(host, http.StatusServiceUnavailable)
			servertest.Eventually(t, "both processes to refuse", func() error {
				if !refused(t, processes[0], host) || !refused(t, processes[1], host) {
					return errors.New("one does not")
				}
				return nil
			})
			if err := refuse(t, connect(t, &redis.Options{Addr: server.Addr})); err != nil {
				t.Fatal(err)
			}
			h.set(host, http.StatusOK)
			for i, p := range processes {
				servertest.Eventually(t, fmt.Sprintf("process %d to send requests again", i), func() error {
					if refused(t, p, host) {
						return errors.New("it refuses them")
					}
					return nil
				})
			}
			const requests = 600 // over 3s, six open times
			var wg sync.WaitGroup
			var no atomic.Int64
			for range requests {
				for _, p := range processes {
					wg.Go(func() {
						if refused(t, p, host) {
							no.Add(1)
						}
					})
				}
				time.Sleep(5 * time.Millisecond)
			}
			wg.Wait()
			if limit := int64(2 * requests * 3 / 100); no.Load() > limit {
				t.Errorf("%d of %d requests to a healthy host refused, want at most %d", no.Load(), 2*requests, limit)
			}
		})
	}
}

// A server is emptied during an outage, and a new process votes. Neither closes a circuit.
func TestShareFlushedInOutage(t *testing.T) {
	t.Parallel()
	const many = 20
	server := servertest.Redis(t)
	admin := connect(t, &redis.Options{Addr: server.Addr})
	h := &hosts{status: map[string]int{}}
	var processes []*breakerhttp.Transport
	join := func() {
		p := h.process(t, connect(t, &redis.Options{Addr: server.Addr}), time.Minute, breakerhttp.Sharing{Refresh: 100 * time.Millisecond})
		go func() { _ = p.Watch(t.Context()) }()
		processes = append(processes, p)
	}
	join()
	join()
	// sent counts the requests of all processes that reached a host.
	sent := func() (n int) {
		for i := range many {
			host := fmt.Sprintf("host%d.example.com", i)
			h.set(host, http.StatusServiceUnavailable)
			for _, p := range processes {
				if !refused(t, p, host) {
					n++
				}
			}
		}
		return n
	}
	for range 5 {
		sent()
	}
	if err := admin.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	join()
	for range 5 {
		sent() // those of the new process
	}
	for start := time.Now(); time.Since(start) < time.Second; time.Sleep(5 * time.Millisecond) {
		if n := sent(); n > 0 {
			t.Fatalf("%d requests to dead hosts after the server was emptied, want none", n)
		}
	}
}

// An empty server with a slow clock takes over: its versions are lower than those that a process
// has seen. The process believes it after a while, and follows what others write there.
func TestShareAfterFailover(t *testing.T) {
	t.Parallel()
	master, next := servertest.Redis(t), servertest.Redis(t)
	var addr atomic.Pointer[string]
	addr.Store(&master.Addr)
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, *addr.Load())
	}
	const host = "host.example.com"
	healthy, failing := &hosts{status: map[string]int{}}, &hosts{status: map[string]int{}}
	one := healthy.process(t, connect(t, &redis.Options{Dialer: dial}), time.Second, breakerhttp.Sharing{Quorum: 1, Refresh: 100 * time.Millisecond})
	other := failing.process(t, connect(t, &redis.Options{Dialer: dial}), time.Second, breakerhttp.Sharing{Quorum: 1, Refresh: 100 * time.Millisecond})
	trip := func() {
		failing.set(host, http.StatusServiceUnavailable)
		for !refused(t, other, host) {
		}
		failing.set(host, http.StatusOK)
	}
	until := func(what string, want bool) {
		t.Helper()
		servertest.Eventually(t, what, func() error {
			if refused(t, one, host) != want {
				return errors.New("it does not")
			}
			return nil
		})
	}
	trip()
	until("the other process to refuse, too", true)
	until("the circuit to close", false)

	client := connect(t, &redis.Options{Addr: master.Addr})
	record := "default/http://" + host
	if err := client.HIncrBy(t.Context(), record, "version", time.Hour.Milliseconds()).Err(); err != nil {
		t.Fatal(err)
	}
	for range 50 { // so that both have read it
		refused(t, one, host)
		refused(t, other, host)
		time.Sleep(10 * time.Millisecond)
	}
	addr.Store(&next.Addr)
	master.Kill()
	servertest.Eventually(t, "both processes to find the new server", func() error {
		trip()
		if refused(t, one, host) {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
		return errors.New("one does not refuse what the other does")
	})
	until("the circuit to close", false)
}
