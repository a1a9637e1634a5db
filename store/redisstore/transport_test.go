package redisstore_test

import (
	"errors"
	"fmt"
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

// A host answers each request of a test, with a status for each host name.
type hosts struct {
	mu     sync.Mutex
	status map[string]int // by Host; 0 is 200
}

func (h *hosts) RoundTrip(req *http.Request) (*http.Response, error) {
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

// process returns a Transport as a process of a fleet has it.
func (h *hosts) process(t *testing.T, client redis.UniversalClient, policy breakerhttp.Policy) *breakerhttp.Transport {
	t.Helper()
	transport, err := breakerhttp.New(h, breakerhttp.WithPolicy(policy), breakerhttp.WithStore(redisstore.New(client), breakerhttp.Sharing{
		Quorum:       1,
		ReadTimeout:  time.Second, // for busy machines
		WriteTimeout: time.Second,
		OnError:      func(error) {},
	}))
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

// With one server of three down, the hosts whose records the others have are shared as ever.
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
	first := h.process(t, client, breakerhttp.Policy{})
	second := h.process(t, c.connect(t, &redis.ClusterOptions{DialerRetries: 1}), breakerhttp.Policy{})
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

// When a thousand hosts fail at once, two processes with the client's default pool do not overrun the
// server: the records open, and afterwards each host is probed by two processes and not more.
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
