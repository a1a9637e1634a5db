package main

import (
	"net/http"
	"slices"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/benchmarks/internal/peers"
)

// A contender is a way to guard hosts.
type contender struct {
	name    string
	module  string // if it is a peer: its path
	most    int    // hosts, for it spends goroutines on each; 0 means any number
	refuses bool   // it can be open, which is to refuse every request
	guard   func(base http.RoundTripper) http.RoundTripper
}

const (
	nameBase  = "the base itself"
	nameLimit = "the limit"
	nameTimed = "the limit with one clock read"
	nameOurs  = "breakerhttp"
	nameBare  = "breakerhttp without the SDK"
)

// contenders are listed in the order of the table.
var contenders = []contender{
	{name: nameBase, guard: func(base http.RoundTripper) http.RoundTripper { return base }},
	{name: nameLimit, refuses: true, guard: func(base http.RoundTripper) http.RoundTripper { return newLimit(base) }},
	{name: nameTimed, refuses: true, guard: guardTimed},
	{name: nameOurs, refuses: true, guard: guardOurs()},
	{name: nameBare, refuses: true, guard: guardOurs(breakerhttp.WithMeterProvider(noop.NewMeterProvider()))},
	{name: "sony/gobreaker", module: "github.com/sony/gobreaker/v2", refuses: true, guard: peers.Gobreaker},
	{name: "rubyist/circuitbreaker", module: "github.com/rubyist/circuitbreaker", refuses: true, guard: peers.Rubyist},
	{name: "aegis", module: "github.com/go-kratos/aegis", guard: peers.Aegis},
	{name: "go-zero", module: "github.com/zeromicro/go-zero", guard: peers.GoZero},
	{name: "failsafe-go", module: "github.com/failsafe-go/failsafe-go", refuses: true, guard: peers.Failsafe},
	{name: "streadway/handy", module: "github.com/streadway/handy", refuses: true, guard: peers.Handy},
	{name: "hystrix-go", module: "github.com/afex/hystrix-go", most: 1000, refuses: true, guard: peers.Hystrix},
	{name: "otelhttp, for scale", module: "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp", guard: guardOtelhttp},
}

func named(name string) contender {
	return contenders[slices.IndexFunc(contenders, func(c contender) bool { return c.name == name })]
}

func guardTimed(base http.RoundTripper) http.RoundTripper {
	l := newLimit(base)
	l.timed = true
	return l
}

// manyHosts is more than any field has: the default bound is 10 000.
const manyHosts = 200_000

// guardOurs attaches the SDK, and tunes nothing but the bound.
func guardOurs(opts ...breakerhttp.Option) func(http.RoundTripper) http.RoundTripper {
	return func(base http.RoundTripper) http.RoundTripper {
		mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
		all := []breakerhttp.Option{breakerhttp.WithMeterProvider(mp), breakerhttp.WithMaxCircuits(manyHosts)}
		t, err := breakerhttp.New(base, append(all, opts...)...)
		if err != nil {
			panic(err)
		}
		return t
	}
}

func guardOtelhttp(base http.RoundTripper) http.RoundTripper {
	return otelhttp.NewTransport(base,
		otelhttp.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))),
		otelhttp.WithTracerProvider(sdktrace.NewTracerProvider()))
}
