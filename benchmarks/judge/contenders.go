package main

import (
	"net/http"
	"time"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/benchmarks/internal/peers"
)

// A guard puts a breaker in front of the hosts that base reaches.
type guard func(base http.RoundTripper) http.RoundTripper

// A contender is one column of the table.
type contender struct {
	name   string
	ours   bool
	module string // of a peer
	guard  guard
}

// The contenders that others are compared with.
const (
	nameNone     = "no breaker"
	nameTextbook = "textbook"
	nameDoubling = "1 s doubling"
)

// contenders are listed in the order of the table.
var contenders = []*contender{
	{name: nameNone, guard: func(base http.RoundTripper) http.RoundTripper { return base }},
	ours(nameTextbook, breakerhttp.Policy{}),
	ours(nameDoubling, breakerhttp.Policy{OpenFor: time.Second, OpenGrowth: 2, MaxOpenFor: time.Minute}),
	{name: "gobreaker", module: "github.com/sony/gobreaker/v2", guard: peers.Gobreaker},
	{name: "failsafe-go breaker", module: "github.com/failsafe-go/failsafe-go", guard: peers.Failsafe},
	{name: "failsafe-go throttler", module: "github.com/failsafe-go/failsafe-go", guard: peers.Throttler},
	{name: "go-zero", module: "github.com/zeromicro/go-zero", guard: peers.GoZero},
	{name: "aegis", module: "github.com/go-kratos/aegis", guard: peers.Aegis},
}

// ours is a Transport with a policy. To judge another policy takes a line above.
func ours(name string, p breakerhttp.Policy) *contender {
	return &contender{name: name, ours: true, guard: func(base http.RoundTripper) http.RoundTripper {
		t, err := breakerhttp.New(base, breakerhttp.WithPolicy(p), breakerhttp.WithMeterProvider(noop.NewMeterProvider()))
		if err != nil {
			panic(err)
		}
		return t
	}}
}

// title is the name of a contender, and its version.
func (c *contender) title() string { return c.name }
