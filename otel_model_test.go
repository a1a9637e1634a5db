package breakerhttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"pgregory.net/rapid"

	"github.com/breakerhttp/breakerhttp"
)

// A metricsModel counts by the book: what a caller saw goes to the series of the
// host, and nothing is ever taken back.
type metricsModel struct {
	tr        *breakerhttp.Transport
	maxKeys   int
	addresses map[string]string // of the hosts met, in whose order they get series of their own
	counts    points
	late      []lateBody
}

// A lateBody is yet to be read, and will fail.
type lateBody struct {
	io.ReadCloser
	host string
}

// met returns the address of a host that has, or had, a circuit.
func (m *metricsModel) met(host string) string {
	address, ok := m.addresses[host]
	if !ok {
		address = other
		if len(m.addresses) < m.maxKeys {
			address = port80(host)
		}
		m.addresses[host] = address
		m.counts = requestsOf(address, 0, 0, 0).and(transitionsOf(address, 0, 0, 0, 0)).and(m.counts)
	}
	return address
}

func (m *metricsModel) count(metric, host string, attrs ...string) {
	m.counts[series(metric, append(attrs, m.met(host))...)]++
}

// hook is for [breakerhttp.WithTransitionHook].
func (m *metricsModel) hook(_ context.Context, tr breakerhttp.Transition) {
	host := strings.TrimPrefix(tr.Key, "http://")
	m.count("transitions", host, "previous_state="+tr.From.String(), "state="+tr.To.String())
}

// want is all that a collection must show.
func (m *metricsModel) want() points {
	want := m.counts
	for s := range m.tr.Snapshots() {
		address := m.met(strings.TrimPrefix(s.Key, "http://"))
		want = statusOf(address, 0, 0, 0).and(want)
		want[series("status", address, "state="+s.State.String())]++
	}
	return want
}

func (m *metricsModel) send(ctx context.Context, host, path string) {
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/"+path, nil)
	resp, err := m.tr.RoundTrip(req)
	switch _, tracked := m.tr.Snapshot("http://" + host); {
	case !tracked:
		m.counts["untracked "]++
	case errors.Is(err, breakerhttp.ErrOpen):
		m.count("requests", host, "outcome=refused")
	case ctx.Err() != nil:
		m.count("requests", host, "outcome=ignored")
	case err != nil:
		m.count("requests", host, "outcome=failure", "error.type=connection")
	case resp.StatusCode >= 500:
		m.count("requests", host, "outcome=failure", "error.type="+path)
	default:
		m.count("requests", host, "outcome=success")
		m.late = append(m.late, lateBody{resp.Body, host})
	}
}

// lateByPath is respondByPath with bodies that fail.
func lateByPath(req *http.Request) (*http.Response, error) {
	resp, err := respondByPath()(req)
	if err == nil {
		resp.Body = io.NopCloser(errorReader{io.ErrUnexpectedEOF})
	}
	return resp, err
}

// TestMetricsModel collects after whatever has happened to a few hosts, while
// their circuits come and go, and compares every series with the model.
func TestMetricsModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, func(t *rapid.T) { // which would ask a *testing.T for what a bubble forbids
			reader, mp := newMeter()
			m := &metricsModel{addresses: map[string]string{}, counts: points{"untracked ": 0}}
			m.maxKeys = rapid.IntRange(0, 4).Draw(t, "maxKeys")
			tr, err := breakerhttp.New(roundTripFunc(lateByPath), breakerhttp.WithMeterProvider(mp),
				breakerhttp.WithMaxMetricKeys(m.maxKeys),
				breakerhttp.WithMaxCircuits(rapid.IntRange(1, 4).Draw(t, "maxCircuits")),
				breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: 2, Window: time.Second, OpenFor: 2 * time.Second}),
				breakerhttp.WithTransitionHook(m.hook))
			if err != nil {
				t.Fatal(err)
			}
			m.tr = tr
			host := func(t *rapid.T) string { return fmt.Sprintf("host%d.test", rapid.IntRange(0, 6).Draw(t, "host")) }
			t.Repeat(map[string]func(*rapid.T){
				"send": func(t *rapid.T) {
					path := rapid.SampledFrom([]string{"200", "200", "500", "503", "0"}).Draw(t, "path")
					for range rapid.IntRange(1, 3).Draw(t, "times") {
						m.send(context.Background(), host(t), path)
					}
				},
				"cancel": func(t *rapid.T) {
					ctx, cancel := context.WithCancel(context.Background())
					cancel()
					m.send(ctx, host(t), "0")
				},
				"read": func(t *rapid.T) {
					if len(m.late) > 0 {
						b := m.late[0]
						m.late = m.late[1:]
						m.count("requests", b.host, "outcome=failure", "error.type=body")
						_, _ = io.ReadAll(b)
					}
				},
				"force": func(t *rapid.T) {
					host := host(t)
					m.met(host)
					rapid.SampledFrom([]func(string){tr.ForceOpen, tr.ForceClosed}).Draw(t, "to")("http://" + host)
				},
				"reset": func(t *rapid.T) { tr.Reset("http://" + host(t)) },
				"wait":  func(t *rapid.T) { time.Sleep(time.Duration(rapid.IntRange(1, 3000).Draw(t, "ms")) * time.Millisecond) },
				"":      func(t *rapid.T) { wantPoints(t, "metrics", collectPoints(t, reader), m.want()) },
			})
		})
	})
}

// TestConcurrentCollection: with two readers at work, no counter falls while
// circuits come and go, and in the end every request is there once.
func TestConcurrentCollection(t *testing.T) {
	first, second := sdkmetric.NewManualReader(), sdkmetric.NewManualReader()
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(first), sdkmetric.WithReader(second))
	tr := newTransport(t, roundTripFunc(lateByPath), breakerhttp.WithMeterProvider(mp),
		breakerhttp.WithMaxMetricKeys(3), breakerhttp.WithMaxCircuits(6),
		breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: 1 << 30, Window: time.Microsecond}))
	var late atomic.Int64
	var senders, readers sync.WaitGroup
	for i := range 4 {
		senders.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for range 1500 {
				url := fmt.Sprintf("http://host%d.test/%d", random.IntN(20), []int{200, 500 + random.IntN(40)}[random.IntN(2)])
				req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
				if resp, err := tr.RoundTrip(req); err == nil && resp.StatusCode == 200 {
					_, _ = io.ReadAll(resp.Body)
					late.Add(1)
				}
			}
		})
	}
	done := make(chan struct{})
	for _, reader := range []sdkmetric.Reader{first, second} {
		readers.Go(func() {
			var last points
			for stop := false; !stop; {
				select {
				case <-done:
					stop = true
				default:
				}
				now := collectPoints(t, reader)
				neverFalls(t, last, now)
				last = now
			}
			var sum int64
			for _, n := range last.of("requests") {
				sum += n
			}
			untracked := last["untracked "]
			if want := 4*1500 + late.Load(); sum < want-2*untracked || sum > want-untracked {
				t.Errorf("got %d requests in all, want %d but for %d untracked", sum, want, untracked)
			}
		})
	}
	senders.Wait()
	close(done)
	readers.Wait()
	runtime.KeepAlive(tr)
}
