package breakerhttp_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/breakerhttp/breakerhttp"
)

func (mc *contractMachine) drawRequest(t *rapid.T) *http.Request {
	method := rapid.SampledFrom([]string{http.MethodGet, http.MethodGet, http.MethodPost, http.MethodHead}).Draw(t, "method")
	req, err := http.NewRequestWithContext(context.Background(), method, rapid.SampledFrom(mc.keys).Draw(t, "key")+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func (mc *contractMachine) newTrip(t *rapid.T) *trip {
	x := &trip{do: make(chan reply), deadline: never}
	ctx := context.WithValue(context.Background(), tripKey{}, x)
	switch rapid.IntRange(0, 9).Draw(t, "context") {
	case 9:
		x.deadline = drawMoment(t, mc.moments())
		ctx, x.cancel = context.WithDeadline(ctx, mc.epoch.Add(x.deadline))
	case 8:
		ctx, x.cancel = context.WithCancel(ctx)
		x.cancel()
	default:
		ctx, x.cancel = context.WithCancel(ctx)
	}
	x.expired = ctx.Err() != nil
	x.req = mc.drawRequest(t).WithContext(ctx)
	x.req.Body = &x.body
	mc.trips = append(mc.trips, x)
	return x
}

func drawIndex[T any](t *rapid.T, from []T) int {
	if len(from) == 0 {
		t.Skip("there is none")
	}
	return rapid.IntRange(0, len(from)-1).Draw(t, "which")
}

func drawReply(t *rapid.T, mood int) reply {
	kinds := [][][]reply{
		{goodReplies, badReplies, badReplies, neutralReplies},
		{goodReplies, goodReplies, goodReplies, goodReplies, neutralReplies},
		{badReplies, badReplies, badReplies, badReplies, badReplies, neutralReplies},
	}[mood]
	return rapid.SampledFrom(rapid.SampledFrom(kinds).Draw(t, "kind")).Draw(t, "reply")
}

var sameError = cmp.Comparer(func(a, b error) bool {
	var x, y *breakerhttp.OpenError
	if errors.As(a, &x) && errors.As(b, &y) {
		return *x == *y
	}
	return a == b //nolint:errorlint // the very same is wanted
})

func (mc *contractMachine) endBodyOf(t *rapid.T, x *trip, how string) {
	body := x.gaveBody
	body.end = io.EOF
	now, ctx := mc.now(), x.req.Context()
	switch {
	case how == "close":
		_ = x.resp.Body.Close()
		if !body.closed {
			t.Fatal("Close does not reach the body")
		}
	case how == "break":
		body.end = io.ErrUnexpectedEOF
		fallthrough
	default:
		if _, err := x.resp.Body.Read(make([]byte, 1)); err != body.end { //nolint:errorlint // the very same is wanted
			t.Fatalf("the body's error is %v, want %v", err, body.end)
		}
	}
	body.end = io.ErrClosedPipe
	_, _ = x.resp.Body.Read(make([]byte, 1))
	switch {
	case !x.judged:
	case how != "break":
		mc.model.bodyEnded(x.call)
	case now >= x.deadline || ctx.Err() == nil:
		mc.model.bodyFailed(x.call, now)
	}
}

// pass lets time pass: up to a moment at which something happens, or next to it.
func (mc *contractMachine) pass(t *rapid.T) { time.Sleep(drawMoment(t, mc.moments()) - mc.now()) }

func drawMoment(t *rapid.T, moments []time.Duration) time.Duration {
	slices.Sort(moments)
	return rapid.SampledFrom(moments).Draw(t, "moment") + time.Duration(rapid.IntRange(-1, 1).Draw(t, "next to"))
}

func (mc *contractMachine) moments() (moments []time.Duration) {
	now := mc.now()
	for _, h := range mc.sorted() {
		p, bucket := h.policy, h.policy.Window/10
		moments = append(moments, h.now().until, h.now().until, now+p.Window, now+bucket, (now/bucket+1)*bucket, now+p.OpenFor, now+p.Ramp/3, now+p.MaxOpenFor)
		for _, c := range h.calls {
			if c.waits() {
				moments = append(moments, c.at+p.SlowAfter, c.at+p.ProbeTimeout)
			}
		}
	}
	moments = slices.DeleteFunc(moments, func(at time.Duration) bool { return at < now })
	return append(moments, now, now+time.Millisecond, now+time.Second)
}

func sameTransition(a, b breakerhttp.Transition) bool {
	same := a.At.Equal(b.At)
	a.At, b.At = time.Time{}, time.Time{}
	return same && a == b
}
