package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/benchmarks/internal/peers"
	"github.com/breakerhttp/breakerhttp/benchmarks/internal/report"
)

// A guard puts a breaker in front of the hosts that base reaches.
type guard func(base http.RoundTripper) http.RoundTripper

// A contender is a circuit breaker, or a policy of ours: one column of the table.
type contender struct {
	by     string              // the library
	name   string              // what of it
	module string              // of a peer
	policy *breakerhttp.Policy // of ours
	guard  guard               // of others
	leaves bool                // it leaves goroutines behind
	short  bool                // a column of the short table and of the picture
}

// Two of the contenders: the one that has bounds, and the one that some of these
// bounds refer to.
const (
	adaptive = "Adaptive"
	doubling = "1 s doubling"
)

const failsafe = "github.com/failsafe-go/failsafe-go"

// contenders are listed in the order of the table.
var contenders = []*contender{
	{name: "no breaker", short: true, guard: func(base http.RoundTripper) http.RoundTripper { return base }},
	{by: "gobreaker", module: "github.com/sony/gobreaker/v2", guard: peers.Gobreaker},
	{by: "failsafe-go", name: "breaker", module: failsafe, guard: peers.Failsafe},
	{by: "go-zero", module: "github.com/zeromicro/go-zero", guard: peers.GoZero},
	{by: "aegis", module: "github.com/go-kratos/aegis", guard: peers.Aegis},
	{by: "hystrix-go", module: "github.com/afex/hystrix-go", guard: peers.Hystrix, leaves: true},
	{by: "failsafe-go", name: "throttler", module: failsafe, short: true, guard: peers.Throttler},
	ours("zero Policy", breakerhttp.Policy{}),
	ours(doubling, breakerhttp.Policy{OpenFor: time.Second, OpenGrowth: 2, MaxOpenFor: time.Minute}),
	ours(adaptive, breakerhttp.Policy{Adaptive: true}),
}

// ours returns a contender that has a policy of breakerhttp.
func ours(name string, p breakerhttp.Policy) *contender {
	return &contender{by: "breakerhttp", name: name, short: true, policy: &p}
}

// fromFile returns a contender that has the policy in a file.
func fromFile(name string) (*contender, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var p breakerhttp.Policy
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &contender{name: filepath.Base(name), policy: &p}, nil
}

// guards returns the circuit breaker of one client in a scenario.
func (c *contender) guards(sc *scenario, base http.RoundTripper) http.RoundTripper {
	if c.policy == nil {
		return c.guard(base)
	}
	p := *c.policy
	if sc.noSilence && p.Adaptive {
		p.Silence = -1
	}
	t, err := breakerhttp.New(base, breakerhttp.WithPolicy(p), breakerhttp.WithMeterProvider(noop.NewMeterProvider()))
	if err != nil {
		panic(err)
	}
	return t
}

func find(all []*contender, name string) *contender {
	return all[slices.IndexFunc(all, func(c *contender) bool { return c.name == name })]
}

// title returns the name of a contender and, of a peer, the version.
func (c *contender) title() string {
	title := strings.TrimSpace(c.by + " " + c.name)
	if c.module != "" {
		title += " " + report.Version(c.module)
	}
	return title
}
