package main

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/benchmarks/internal/report"
	"github.com/breakerhttp/breakerhttp/store/redisstore"
)

// A sharer is a way to share a circuit between processes, by Redis.
type sharer struct {
	contender
	join func(client *redis.Client, base http.RoundTripper) (http.RoundTripper, error) // as one process
}

// sharers are listed in the order of the table.
var sharers = []sharer{
	{contender{name: nameBase}, func(_ *redis.Client, base http.RoundTripper) (http.RoundTripper, error) { return base, nil }},
	{contender{name: nameOurs}, shareOurs},
	{contender{name: "sony/gobreaker", module: "github.com/sony/gobreaker/v2"}, shareGobreaker},
}

func shareOurs(client *redis.Client, base http.RoundTripper) (http.RoundTripper, error) {
	return breakerhttp.New(base, breakerhttp.WithStore(redisstore.New(client), breakerhttp.Sharing{
		OnError: func(error) {}, // Redis will be down
	}))
}

// workTime is what a request to the host takes.
const workTime = 10 * time.Millisecond

// A worker is the host: it takes workTime, and counts.
type worker struct{ sent atomic.Int64 }

// RoundTrip implements [http.RoundTripper].
func (w *worker) RoundTrip(req *http.Request) (*http.Response, error) {
	w.sent.Add(1)
	time.Sleep(workTime)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

// A team is some processes that share a circuit. Each has one caller.
type team struct {
	host    *worker
	calls   []http.RoundTripper
	clients []*redis.Client // of Redis, one for each process
}

func (s *sharer) hire(store string, callers int) (*team, error) {
	t := &team{host: new(worker)}
	for range callers {
		client := redis.NewClient(s.options(store))
		t.clients = append(t.clients, client)
		rt, err := s.join(client, t.host)
		if err != nil {
			t.dismiss()
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		t.calls = append(t.calls, rt)
	}
	return t, nil
}

// options are the defaults, except for ours, as the documentation of redisstore
// wants them.
func (s *sharer) options(store string) *redis.Options {
	if s.name == nameOurs {
		return &redis.Options{Addr: store, ContextTimeoutEnabled: true, DialerRetries: 1}
	}
	return &redis.Options{Addr: store}
}

// dismiss closes what the processes have opened.
func (t *team) dismiss() {
	for _, c := range t.clients {
		_ = c.Close()
	}
}

// A shift is what has come of a team's calls.
type shift struct {
	sent     int       // to the host
	asked    int       // by the callers
	answered []float64 // a second, by round
	took     []float64 // by each call, in milliseconds
}

// work lets all call, one request after the other, for a round. A call that
// takes longer is waited for, but does not count as answered.
func (t *team) work(round time.Duration, s *shift) {
	before := t.host.sent.Load()
	var mu sync.Mutex
	var answered int
	var wg sync.WaitGroup
	began := time.Now()
	for _, rt := range t.calls {
		wg.Go(func() {
			for time.Since(began) < round {
				took, err := call(rt)
				mu.Lock()
				s.asked++
				s.took = append(s.took, float64(took)/float64(time.Millisecond))
				if err == nil && time.Since(began) <= round {
					answered++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	s.answered = append(s.answered, float64(answered)/round.Seconds())
	s.sent += int(t.host.sent.Load() - before)
}

func call(rt http.RoundTripper) (took time.Duration, err error) {
	req, _ := http.NewRequest(http.MethodGet, "http://shared.example.com/", nil) // cannot fail
	began := time.Now()
	resp, err := rt.RoundTrip(req)
	took = time.Since(began)
	if err == nil {
		_ = resp.Body.Close()
	}
	return took, err
}

// shifts are those of a sharer.
type shifts struct {
	*sharer
	alone, team    *team // one caller, and ten
	one, ten, down shift // one caller, ten, and ten without Redis
}

// sharedRounds are what each is measured in, in turns.
const sharedRounds = 3

// measureShared takes about as long as budget.
func measureShared(budget time.Duration) (sharedReport, error) {
	store, err := startRedis()
	if err != nil {
		return nil, err
	}
	defer store.stop()
	var all sharedReport
	for i := range sharers {
		s := &shifts{sharer: &sharers[i]}
		if s.alone, err = s.hire(store.addr, 1); err != nil {
			return nil, err
		}
		defer s.alone.dismiss()
		if s.team, err = s.hire(store.addr, 10); err != nil {
			return nil, err
		}
		defer s.team.dismiss()
		all = append(all, s)
	}
	round := budget / time.Duration(3*sharedRounds*len(all))
	for range sharedRounds {
		for _, s := range all {
			s.alone.work(round, &s.one)
			s.team.work(round, &s.ten)
		}
	}
	store.stop()
	for range sharedRounds {
		for _, s := range all {
			s.team.work(round, &s.down)
		}
	}
	return all, nil
}

type sharedReport []*shifts

func (r sharedReport) String() string {
	var rows [][]string
	for _, s := range r {
		rows = append(rows, []string{
			s.title(),
			number(median(s.one.answered), ""),
			number(median(s.ten.answered), ""), number(slices.Max(s.ten.took), " ms"),
			fmt.Sprintf("%s of %s", number(float64(s.down.sent), ""), number(float64(s.down.asked), "")),
			number(median(s.down.answered), ""), number(slices.Max(s.down.took), " ms"),
		})
	}
	return report.Table(1, []string{
		"answers a second", "1 caller", "10 callers", "longest call",
		"without Redis: sent", "10 callers", "longest call",
	}, rows)
}
