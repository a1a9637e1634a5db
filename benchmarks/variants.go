package main

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// A variant is a way to use breakerhttp.
type variant struct {
	name     string
	policy   breakerhttp.Policy
	body     bool   // responses have one
	deadline bool   // requests have one
	limit    string // the contender to compare it with
	allocs   float64
}

const (
	nameClassic  = "default policy"
	nameAdaptive = "Adaptive"
)

var variants = []variant{
	{name: nameClassic, limit: nameLimit},
	{name: nameAdaptive, limit: nameLimit, policy: breakerhttp.Policy{Adaptive: true}},
	{name: "response with a body", limit: nameLimit, body: true, allocs: 1},
	{name: "context with a deadline", limit: nameTimed, deadline: true},
	{name: "failure ratio", limit: nameTimed, policy: breakerhttp.Policy{FailureRatio: 0.5}},
	{name: "failure ratio and slow ratio", limit: nameTimed, policy: breakerhttp.Policy{
		FailureRatio: 0.5, SlowRatio: 0.5, SlowAfter: time.Second,
	}},
}

// guards are breakerhttp as the variant has it, and what to compare it with.
func (v *variant) guards() [3]contender {
	return [3]contender{
		{name: v.name, guard: guardOurs(breakerhttp.WithPolicy(v.policy))},
		{name: v.of(v.limit), guard: named(v.limit).guard},
		{name: v.of(nameBase), guard: named(nameBase).guard},
	}
}

// of is the name of another contender that has the requests and responses of the
// variant.
func (v *variant) of(contender string) string { return contender + ", " + v.name }

// load sends the requests of the variant until ctx is over, to a base that has
// its responses.
func (v *variant) load(ctx context.Context, hosts []string) (*load, http.RoundTripper, context.CancelFunc) {
	body, cancel := io.ReadCloser(http.NoBody), context.CancelFunc(func() {})
	if v.body {
		body = emptyBody{}
	}
	if v.deadline {
		ctx, cancel = context.WithTimeout(ctx, time.Hour)
	}
	l := newLoad(ctx, hosts)
	if v.body {
		l.req.Response.ContentLength = -1
	}
	return l, &stub{body}, cancel
}

// varied measures the variants.
func varied(budget time.Duration) *field {
	f := &field{quiet: true}
	names := hostNames("varied", 1)
	for _, v := range variants {
		l, base, cancel := v.load(context.Background(), names)
		defer cancel()
		for _, c := range v.guards() {
			rt := c.guard(base)
			meet(rt, names)
			f.addLoad(c.name, rt, l)
		}
	}
	f.measure(budget, slice)
	return f
}
