package breakerhttp

import (
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/keyed"
)

// A Transport is an [http.RoundTripper] with a circuit breaker for every host.
// Set it as http.Client.Transport. It must be made by [New].
//
// Its methods may be called concurrently. It needs no Close: it owns no goroutine, timer or
// connection that outlives a request. Calls of a [Store] are an exception: they end after
// ReadTimeout or WriteTimeout, if the Store respects its context.
type Transport struct {
	name        string
	base        http.RoundTripper
	key         KeyFunc    // nil means HostKey
	classifier  Classifier // nil means DefaultClassifier
	fallback    Fallback
	probeFilter func(*http.Request) bool
	dryRun      bool

	epoch     time.Time // the origin of the circuits' times
	policies  livePolicies
	hosts     *keyed.Map[host, *host]
	untracked atomic.Uint64
	unguarded atomic.Uint64
	journal   journal
	sympathy  sympathy
	metrics   *metrics
	sharing   *sharing // nil without a store
}

// New returns a Transport that sends admitted requests through base, or through
// [http.DefaultTransport] if base is nil. It fails if an option is invalid,
// naming every invalid field and the value it had.
func New(base http.RoundTripper, opts ...Option) (*Transport, error) {
	c, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	if base == nil {
		base = http.DefaultTransport
	}
	t := &Transport{
		name:        c.name,
		base:        base,
		key:         c.key,
		classifier:  c.classifier,
		fallback:    c.fallback,
		probeFilter: c.probeFilter,
		dryRun:      c.dryRun,
		epoch:       time.Now(),
		hosts:       keyed.New[host](c.maxCircuits),
		journal:     journal{hook: c.hook},
	}
	t.policies.Store(c.policies)
	t.sharing = newSharing(t, c)
	newMetrics(t, c)
	return t, nil
}

// RoundTrip sends a request, if the circuit of its host admits it. Otherwise it
// returns what the [Fallback] does, or an [OpenError]. Errors of the base
// RoundTripper are returned as they are.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.hosts == nil {
		return nil, t.refuseUnmade(req)
	}
	x := exchange{t: t, req: req}
	defer func() {
		if x.stage != over {
			x.abandon(recover())
		}
	}()
	if x.host = t.find(req); x.host != nil {
		x.host.refresh(req)
		c := &x.host.circuit
		// TryEnter, like TrySucceed below, is inlined: most requests need no other call.
		if admitted := c.TryEnter(&x.call) || c.Enter(&x.call); !admitted {
			if refusal := x.admit(); refusal != nil {
				return x.refuse(refusal)
			}
		}
	}
	if x.host == nil {
		x.stage = over
		return t.base.RoundTrip(req)
	}
	x.send()
	watched := canFailLate(req, x.resp)
	c := &x.host.circuit
	counted := x.good(watched) && (c.TrySucceed(&x.call, !watched) || c.Succeed(&x.call, !watched))
	if !counted {
		watched = x.judge(watched) && watched
	}
	if watched { // to its end, because a success may still fail
		x.resp.Body = x.watch()
	}
	x.stage = over
	return x.resp, x.err
}

// Name returns the name that [WithName] has set, or "default".
func (t *Transport) Name() string { return t.name }

var errUnmade = errors.New("breakerhttp: a Transport must be made by New")

func (t *Transport) refuseUnmade(req *http.Request) error {
	if req != nil && req.Body != nil {
		_ = req.Body.Close()
	}
	return errUnmade
}

// mustBeMade panics if t was not made by New, for methods that return no error.
func (t *Transport) mustBeMade() {
	if t.hosts == nil {
		panic(errUnmade)
	}
}

// CloseIdleConnections calls the method of that name of the base RoundTripper,
// if it has one.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// WrappedRoundTripper returns the base RoundTripper. Kubernetes' client-go looks for
// this method.
func (t *Transport) WrappedRoundTripper() http.RoundTripper { return t.base }

// now returns the time as circuits take it.
func (t *Transport) now() time.Duration { return time.Since(t.epoch) }

// A clock converts the times of circuits to wall-clock times.
type clock struct {
	at  time.Time
	now time.Duration
}

func (t *Transport) clock() clock {
	at := time.Now()
	return clock{at, at.Sub(t.epoch)}
}

// wall returns the wall-clock time of a circuit's time. It counts from the clock's own moment and
// not from the epoch, because since then the machine may have slept, or its clock may have been
// set.
func (c clock) wall(d time.Duration) time.Time { return c.at.Add(d - c.now) }
