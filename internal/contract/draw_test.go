package contract

import (
	"context"
	"net/http"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/breakerhttp/breakerhttp"
)

func (mc *machine) drawRequest(t *rapid.T) *http.Request {
	method := rapid.SampledFrom([]string{http.MethodGet, http.MethodGet, http.MethodPost, http.MethodHead}).Draw(t, "method")
	req, err := http.NewRequestWithContext(context.Background(), method, rapid.SampledFrom(mc.keys).Draw(t, "key")+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func (mc *machine) newExchange(t *rapid.T) *exchange {
	x := &exchange{reply: make(chan reply), deadline: never}
	ctx := context.WithValue(context.Background(), exchangeKey{}, x)
	switch rapid.IntRange(0, 9).Draw(t, "context") {
	case 8, 9:
		x.deadline = drawMoment(t, mc.moments())
		cancellable, cancel := context.WithCancelCause(ctx)
		deadlined, stop := context.WithDeadline(cancellable, mc.epoch.Add(x.deadline))
		ctx, x.cancel = deadlined, func(cause error) { cancel(cause); stop() }
	case 7:
		ctx, x.cancel = context.WithCancelCause(ctx)
		x.cancel(nil)
		x.cancelled = true
	default:
		ctx, x.cancel = context.WithCancelCause(ctx)
	}
	x.expired = ctx.Err() != nil
	x.req = mc.drawRequest(t).WithContext(ctx)
	x.req.ContentLength = rapid.SampledFrom([]int64{-1, 2}).Draw(t, "length")
	x.upload = newStream(x.req.ContentLength)
	x.opinion = rapid.SampledFrom([]breakerhttp.Outcome{
		byDefault, byDefault, breakerhttp.Ignored, breakerhttp.Success, breakerhttp.Failure, breakerhttp.Limited, 77,
	}).Draw(t, "opinion")
	x.req.Body = x.upload
	mc.exchanges = append(mc.exchanges, x)
	return x
}

// plainExchange draws nothing.
func (mc *machine) plainExchange(t *rapid.T, key string) *exchange {
	x := &exchange{reply: make(chan reply), deadline: never, opinion: byDefault, upload: newStream(-1)}
	ctx, cancel := context.WithCancelCause(context.WithValue(context.Background(), exchangeKey{}, x))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, key+"/", x.upload)
	if err != nil {
		t.Fatal(err)
	}
	x.req, x.cancel = req, cancel
	mc.exchanges = append(mc.exchanges, x)
	return x
}

func drawIndex[T any](t *rapid.T, from []T) int {
	if len(from) == 0 {
		t.Skip("there is none")
	}
	return rapid.IntRange(0, len(from)-1).Draw(t, "which")
}

func (mc *machine) drawReply(t *rapid.T) reply {
	kinds := [][][]reply{
		{goodReplies, badReplies, badReplies, neutralReplies},
		{goodReplies, goodReplies, goodReplies, goodReplies, neutralReplies},
		{badReplies, badReplies, badReplies, badReplies, badReplies, neutralReplies},
	}[mc.mood]
	return rapid.SampledFrom(rapid.SampledFrom(kinds).Draw(t, "kind")).Draw(t, "reply")
}

func drawMoment(t *rapid.T, moments []time.Duration) time.Duration {
	slices.Sort(moments)
	return rapid.SampledFrom(moments).Draw(t, "moment") + time.Duration(rapid.IntRange(-1, 1).Draw(t, "next to"))
}

// moments are those at which something happens.
func (mc *machine) moments() (moments []time.Duration) {
	now := mc.now()
	for _, h := range mc.sorted() {
		p, bucket := h.policy, h.policy.Window/10
		moments = append(moments, h.now().until, h.now().until, now+p.Window, now+bucket, (now/bucket+1)*bucket, now+p.OpenFor, now+p.Ramp/3, now+p.MaxOpenFor)
		for _, c := range h.calls {
			if c.waits() {
				moments = append(moments, c.at+p.SlowAfter, c.at+p.ProbeTimeout)
			}
		}
		if a := h.adaptive; a != nil {
			moments = append(moments, a.due.to, a.since+150*time.Millisecond, a.mark.at+150*time.Millisecond, a.mark.at+time.Second, a.held+10*time.Second)
		}
	}
	moments = slices.DeleteFunc(moments, func(at time.Duration) bool { return at < now })
	return append(moments, now, now+time.Millisecond, now+time.Second)
}
