package circuit_test

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

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

func TestCircuitAgainstModel(t *testing.T) { rapid.Check(t, againstModel) }

func FuzzCircuitAgainstModel(f *testing.F) {
	for seed := range byte(8) {
		input := make([]byte, 1<<14)
		_, _ = rand.NewChaCha8([32]byte{seed}).Read(input)
		f.Add(input)
	}
	f.Fuzz(rapid.MakeFuzz(againstModel))
}

func againstModel(t *rapid.T) {
	p := drawPolicy(t)
	now := rapid.SampledFrom([]time.Duration{0, 1, 12345 * time.Microsecond}).Draw(t, "origin")
	mc := &machine{model: newModel(p.config(), now), now: now, watchful: rapid.Bool().Draw(t, "watchful")}
	mc.model.rand = p.chance(&mc.drawn.want)
	cfg := p.config()
	cfg.Rand = p.chance(&mc.drawn.got)
	cfg.TripWhen = mc.spy(cfg.TripWhen)
	mc.circuit = newClocked(&cfg, mc.told.add, now)
	actions := map[string]func(*rapid.T){
		"":            mc.check,
		"begin":       mc.begin,
		"body ended":  mc.bodyEnded,
		"body failed": mc.bodyFailed,
		"finish":      mc.finish,
		"pass":        mc.pass,
		"pass again":  mc.pass,
		"read":        mc.read,
		"ready":       mc.ready,
		"send":        mc.send,
		"send again":  mc.send,
		"turn":        mc.turn,
	}
	if rapid.IntRange(0, 2).Draw(t, "meddle") == 2 {
		actions["evict"] = mc.evict
		actions["finish twice"] = mc.finishTwice
		actions["force closed"] = mc.forceClosed
		actions["force open"] = mc.forceOpen
		actions["reset"] = mc.reset
	}
	t.Repeat(actions)
	if !mc.model.evicted {
		mc.read(t)
	}
}

// machine does the same to a circuit and to a model of it, and compares.
type machine struct {
	model    *model
	circuit  clocked
	now      time.Duration
	mood     int  // of the host
	watchful bool // reads after each action, which leaves nothing to be noticed later
	pending  []*exchange
	done     []*exchange // to be given a second verdict
	bodies   []*exchange // of successful responses, unread
	told     recorder
	caused   []circuit.Event
	asked    []circuit.Counts
	drawn    struct{ got, want int } // random numbers

	changed <-chan struct{} // of the latest Ready that said no
	probing bool            // what it was asked
}

type exchange struct {
	call    circuit.Call
	request *request
}

// recorder keeps what it is told.
type recorder []circuit.Event

func (r *recorder) add(e circuit.Event) { *r = append(*r, e) }

func (mc *machine) spy(tripWhen func(circuit.Counts) bool) func(circuit.Counts) bool {
	if tripWhen == nil {
		return nil
	}
	return func(n circuit.Counts) bool {
		mc.asked = append(mc.asked, n)
		return tripWhen(n)
	}
}

// act does something on behalf of a cause.
func (mc *machine) act(do func(by *circuit.Cause)) {
	by := circuit.Cause{Context: context.Background()}
	do(&by)
	mc.caused = append(mc.caused, by.Events...)
}

func (mc *machine) begin(t *rapid.T) {
	mayProbe := rapid.IntRange(0, 4).Draw(t, "may probe") > 0
	request, wantRefusal, want := mc.model.begin(mc.now, mayProbe)
	var call circuit.Call
	var refusal circuit.Refusal
	var got circuit.Decision
	if !rapid.Bool().Draw(t, "go the short way") || !mc.circuit.Enter(mc.now, &call) {
		mc.act(func(by *circuit.Cause) { call, refusal, got = mc.circuit.Admit(by, mc.now, mayProbe) })
	}
	wantRefusal.Detail = mc.detail(want == circuit.Refused)
	if got != want || refusal != wantRefusal {
		t.Fatalf("at %v admission is %v %+v, want %v %+v", mc.now, got, refusal, want, wantRefusal)
	}
	if got == circuit.Admitted {
		mc.pending = append(mc.pending, &exchange{call, request})
	}
}

// detail is that of the latest opening.
func (mc *machine) detail(wanted bool) string {
	for _, e := range slices.Backward(mc.told) {
		if wanted && e.To == circuit.Open {
			return e.Detail
		}
	}
	return ""
}

// take draws one of the exchanges and takes it out. It returns nil if there is
// none: an action that skipped would fail an input of the fuzzer that draws it
// again and again.
func take(t *rapid.T, from *[]*exchange) *exchange {
	if len(*from) == 0 {
		return nil
	}
	i := rapid.IntRange(0, len(*from)-1).Draw(t, "which")
	x := (*from)[i]
	*from = slices.Delete(*from, i, i+1)
	return x
}

func (mc *machine) finish(t *rapid.T) {
	if x := take(t, &mc.pending); x != nil {
		mc.answer(t, x)
	}
}

// send is a request that is answered at once, if it is admitted.
func (mc *machine) send(t *rapid.T) {
	n := len(mc.pending)
	if mc.begin(t); len(mc.pending) > n {
		x := mc.pending[n]
		mc.pending = mc.pending[:n]
		mc.answer(t, x)
	}
}

func (mc *machine) answer(t *rapid.T, x *exchange) {
	v := mc.drawVerdict(t)
	want := mc.model.finish(mc.now, x.request, v)
	if v.Outcome != circuit.Success || !rapid.Bool().Draw(t, "go the short way") || !mc.succeed(x, v.Whole) {
		if got := mc.tell(x, v); got != want {
			t.Fatalf("at %v the verdict counts: %v, want %v", mc.now, got, want)
		}
		mc.done = append(mc.done, x)
	}
	if want && v.Outcome == circuit.Success && !v.Whole {
		mc.bodies = append(mc.bodies, x)
	}
}

func (mc *machine) succeed(x *exchange, whole bool) bool {
	return mc.circuit.Succeed(mc.now, &x.call, whole)
}

func (mc *machine) tell(x *exchange, v circuit.Verdict) (ok bool) {
	mc.act(func(by *circuit.Cause) { ok = mc.circuit.Done(by, mc.now, &x.call, v) })
	return ok
}

// finishTwice gives a second verdict, which must not count.
func (mc *machine) finishTwice(t *rapid.T) {
	if x := take(t, &mc.done); x != nil && mc.tell(x, mc.drawVerdict(t)) {
		t.Fatalf("a second verdict counts")
	}
}

func (mc *machine) bodyEnded(t *rapid.T) {
	if x := take(t, &mc.bodies); x != nil {
		mc.model.bodyEnded(x.request)
		mc.circuit.Ended(x.call.Receipt)
	}
}

func (mc *machine) bodyFailed(t *rapid.T) {
	x := take(t, &mc.bodies)
	if x == nil {
		return
	}
	v := mc.drawVerdict(t)
	v.Outcome = circuit.Failure
	want := mc.model.bodyFailed(mc.now, x.request, v)
	mc.act(func(by *circuit.Cause) {
		if got := mc.circuit.Late(by, mc.now, x.call.Receipt, v); got != want {
			t.Fatalf("Late returned %v, want %v", got, want)
		}
	})
}

func (mc *machine) forceOpen(t *rapid.T) { mc.force(t, circuit.Open, mc.circuit.ForceOpen) }

func (mc *machine) forceClosed(t *rapid.T) { mc.force(t, circuit.Closed, mc.circuit.ForceClosed) }

func (mc *machine) force(t *rapid.T, to circuit.State, f func(*circuit.Cause, time.Duration) (bool, bool)) {
	wantFirst, wantOK := mc.model.force(mc.now, to)
	mc.act(func(by *circuit.Cause) {
		if first, ok := f(by, mc.now); first != wantFirst || ok != wantOK {
			t.Fatalf("forcing returned %v, %v, want %v, %v", first, ok, wantFirst, wantOK)
		}
	})
}

func (mc *machine) reset(t *rapid.T) {
	want := mc.model.reset(mc.now)
	mc.act(func(by *circuit.Cause) {
		if got := mc.circuit.Reset(by, mc.now); got != want {
			t.Fatalf("Reset returned %v, want %v", got, want)
		}
	})
}

func (mc *machine) evict(t *rapid.T) {
	if mc.model.evicted {
		return
	}
	lastResort := rapid.Bool().Draw(t, "last resort")
	want := mc.model.evict(mc.now, lastResort)
	_, used, _ := mc.circuit.Evict(mc.now, math.MaxUint64)
	mc.circuit.at(mc.now)
	totals, _, got := mc.circuit.Circuit.Evict(used, lastResort)
	if got != want {
		t.Fatalf("at %v evicted: %v, want %v", mc.now, got, want)
	}
	if diff := cmp.Diff(mc.model.totals(), totals); got && diff != "" {
		t.Fatalf("totals of an evicted circuit (-want +got):\n%s", diff)
	}
}
