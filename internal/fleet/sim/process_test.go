package sim

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

const (
	origin = "http://api.example.com"
	rate   = 2 // requests per second that a process sends
)

// A process sends requests through a Transport, and is the Transport's base.
type process struct {
	*world
	number   int
	rand     *rand.Rand
	tr       *breakerhttp.Transport
	answer   http.Response
	broken   bool
	dead     bool
	recovery time.Duration
}

func newProcess(w *world, i int) *process {
	return &process{
		world:    w,
		number:   i,
		rand:     w.random(i),
		answer:   http.Response{Body: http.NoBody},
		broken:   i < w.broken,
		recovery: never,
	}
}

// live starts the clock of a process, and sends its requests until the scenario ends.
func (p *process) live(t *testing.T) {
	if p.stagger > 0 {
		time.Sleep(time.Duration(p.rand.Int64N(int64(p.stagger))))
	}
	opts := []breakerhttp.Option{
		breakerhttp.WithPolicy(p.policy()),
		breakerhttp.WithMaxMetricKeys(0),
	}
	if !p.alone {
		opts = append(opts, breakerhttp.WithStore(p.records, breakerhttp.Sharing{Instance: strconv.Itoa(p.number), Quorum: p.quorum, Refresh: p.refresh, OnError: func(error) {}}))
	}
	var err error
	if p.tr, err = breakerhttp.New(p, opts...); err != nil {
		t.Error(err)
		return
	}
	if p.number < p.changed {
		time.AfterFunc(time.Until(p.down.Add(p.outage/2)), func() {
			if err := p.tr.SetPolicies(breakerhttp.Policy{OpenFor: newOpenFor}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, origin, nil)
	if err != nil {
		t.Error(err)
		return
	}
	for next := time.Now().Add(p.pause()); next.Before(p.end) && !p.dead; next = next.Add(p.pause()) {
		time.Sleep(time.Until(next))
		p.send(req)
	}
}

func (p *process) policy() breakerhttp.Policy {
	if p.adaptive {
		return breakerhttp.Policy{Adaptive: true}
	}
	return breakerhttp.Policy{OpenFor: openFor}
}

// pause returns a time between two requests. It is random: the requests are independent of each
// other, as those of many users are.
func (p *process) pause() time.Duration {
	return time.Duration(p.rand.ExpFloat64() * float64(time.Second) / rate)
}

func (p *process) send(req *http.Request) {
	healthy := !p.isDown()
	_, err := p.tr.RoundTrip(req)
	if p.broken || p.dead {
		return
	}
	p.sent.Add(1)
	switch {
	case healthy && errors.Is(err, breakerhttp.ErrOpen):
		p.refused.Add(1)
	case err == nil && p.recovery == never && !time.Now().Before(p.up):
		p.recovery = time.Since(p.up)
	}
}

var errNoRoute = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.EHOSTUNREACH}

// RoundTrip plays the host, which answers after about 10 ms.
func (p *process) RoundTrip(*http.Request) (*http.Response, error) {
	if p.broken {
		time.Sleep(time.Millisecond)
		return nil, errNoRoute
	}
	p.answer.StatusCode = http.StatusOK
	if p.isDown() {
		p.answer.StatusCode = http.StatusServiceUnavailable
		p.hit()
		if p.probing() {
			p.probes.Add(1)
			p.dead = p.dying > 0 && p.world.dead.Add(1) <= int64(p.dying)
		}
	}
	if p.dead {
		time.Sleep(time.Until(p.end))
	}
	time.Sleep(8*time.Millisecond + time.Duration(p.rand.Int64N(int64(4*time.Millisecond))))
	return &p.answer, nil
}

func (p *process) probing() bool {
	s, _ := p.tr.Snapshot(origin)
	return s.State == breakerhttp.StateHalfOpen
}
