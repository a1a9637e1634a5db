package circuit_test

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// An owner has the time that a test says it is, or one that goes on by the way.
type owner struct {
	clock  atomic.Int64
	ticks  bool
	record func(circuit.Event)
}

func (o *owner) Now() time.Duration {
	if o.ticks {
		return time.Duration(o.clock.Add(int64(ms)))
	}
	return time.Duration(o.clock.Load())
}

func (o *owner) TimeLeft(ctx context.Context) (time.Duration, bool) {
	left, ok := ctx.Value(timeLeftKey{}).(time.Duration)
	return left, ok
}

// timeLeftKey is of what a request's context says of its deadline.
type timeLeftKey struct{}

func (o *owner) Record(_ context.Context, e circuit.Event) {
	if o.record != nil {
		o.record(e)
	}
}

// A clocked circuit is told the time with each call. It uses the circuit as a Transport does.
type clocked struct {
	*circuit.Circuit
	owner *owner
}

func newClocked(cfg *circuit.Config, record func(circuit.Event), now time.Duration) clocked {
	c := clocked{new(circuit.Circuit), &owner{record: record}}
	c.Init(cfg, c.at(now))
	return c
}

func (c clocked) at(now time.Duration) *owner {
	c.owner.clock.Store(int64(now))
	return c.owner
}

func (c clocked) Enter(now time.Duration, call *circuit.Call) bool {
	c.at(now)
	return c.TryEnter(call) || c.Circuit.Enter(call)
}

func (c clocked) Admit(by *circuit.Cause, now time.Duration, mayProbe bool) (call circuit.Call, r circuit.Refusal, d circuit.Decision) {
	c.at(now)
	if r, ok := c.Refuse(now); ok {
		return call, r, circuit.Refused
	}
	r, d = c.Circuit.Admit(by, &call, mayProbe)
	return call, r, d
}

func (c clocked) Elected(by *circuit.Cause, now time.Duration, mayProbe bool, until time.Duration) (call circuit.Call, r circuit.Refusal, d circuit.Decision) {
	c.at(now)
	r, d = c.Circuit.Elected(by, &call, circuit.Election{MayProbe: mayProbe, Until: until}, true)
	return call, r, d
}

func (c clocked) Succeed(now time.Duration, call *circuit.Call, whole bool) bool {
	c.at(now)
	return c.TrySucceed(call, whole) || c.Circuit.Succeed(call, whole)
}

func (c clocked) Done(by *circuit.Cause, now time.Duration, call *circuit.Call, v circuit.Verdict) bool {
	c.at(now)
	return c.Circuit.Done(by, call, v)
}

func (c clocked) Late(by *circuit.Cause, now time.Duration, r circuit.Receipt, v circuit.Verdict) bool {
	c.at(now)
	return c.Circuit.Late(by, r, v)
}

func (c clocked) Snapshot(by *circuit.Cause, now time.Duration) circuit.Snapshot {
	c.at(now)
	return c.Circuit.Snapshot(by)
}

func (c clocked) Ready(by *circuit.Cause, now time.Duration, mayProbe bool) (circuit.Refusal, time.Duration, <-chan struct{}, bool) {
	c.at(now)
	return c.Circuit.Ready(by, mayProbe)
}

func (c clocked) ForceOpen(by *circuit.Cause, now time.Duration) (first, ok bool) {
	c.at(now)
	return c.Circuit.ForceOpen(by)
}

func (c clocked) ForceClosed(by *circuit.Cause, now time.Duration) (first, ok bool) {
	c.at(now)
	return c.Circuit.ForceClosed(by)
}

func (c clocked) Reset(by *circuit.Cause, now time.Duration) bool {
	c.at(now)
	return c.Circuit.Reset(by)
}

func (c clocked) AdoptOpen(by *circuit.Cause, now, until time.Duration) {
	c.at(now)
	c.Circuit.AdoptOpen(by, circuit.Opening{At: now, Until: until, Detail: "opened by other processes"})
}

func (c clocked) AdoptClosed(by *circuit.Cause, now time.Duration) {
	c.at(now)
	c.Circuit.AdoptClosed(by, math.MaxInt64)
}

func (c clocked) Evict(now time.Duration, seen uint64) (circuit.Totals, uint64, bool) {
	c.at(now)
	return c.Circuit.Evict(seen, false)
}

// TestMain makes rapid do the same, and enough, in every run. Flags given on the
// command line win. In the end, no test may have written to what healthy circuits
// share.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{"rapid.checks": "2000", "rapid.steps": "80", "rapid.seed": "1"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if circuit.BlankIsWritten() {
			fmt.Fprintln(os.Stderr, "a circuit has written to the memory that it shares with others")
			code = 1
		}
		os.Exit(code)
	}))
}
