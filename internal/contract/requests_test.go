package contract

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/breakerhttp/breakerhttp"
)

// begin sends a request, which base does not answer yet.
func (mc *machine) begin(t *rapid.T) *exchange { return mc.beginWith(t, mc.newExchange(t)) }

func (mc *machine) beginWith(t *rapid.T, x *exchange) *exchange {
	key := strings.TrimSuffix(x.req.URL.String(), "/")
	now := mc.now()
	h := mc.model.hosts[key]
	newcomer := h == nil
	mc.user.during(func() { go x.run(mc.tr) })
	if mc.user.broke == "key func" {
		mc.wantBrokenOff(t, x)
		return x
	}
	if newcomer {
		h = mc.makeRoom(t, key, now)
	}
	if h == nil {
		mc.wantSent(t, x, "unguarded")
		return x
	}
	if mc.user.broke == "probe filter" {
		mc.wantBrokenOff(t, x)
		mc.tr.Snapshot(key) // it was asked before anything was noticed
		mc.model.notice(h, now)
		return x
	}
	mc.model.notice(h, now)
	mc.model.askTripWhen(h)
	if mc.user.broke == "TripWhen" {
		mc.wantBrokenOff(t, x)
		return x
	}
	left := never
	if x.deadline != never {
		left = x.deadline - now
	}
	refusal, byChance := mc.model.admissible(h, now, mc.probes(x.req), left)
	if byChance && mc.totals(t, key).Refused == h.totals.Refused {
		refusal = nil
	}
	if refusal == nil || refusal.State != breakerhttp.StateOpen {
		h.used = now
	}
	if refusal == nil {
		x.call = mc.model.admit(h, now)
		mc.wantTransitions(t)
		if mc.user.broke != "" {
			mc.model.finish(x.call, now, ignored)
			mc.wantBrokenOff(t, x)
			return x
		}
		mc.unlessGated(x.sent == 0 && !x.over, func() { mc.wantSent(t, x, "admitted") })
		return x
	}
	h.totals.Refused++
	mc.wantTransitions(t)
	if mc.user.broke != "" {
		mc.wantBrokenOff(t, x)
		return x
	}
	if mc.dryRun {
		mc.unlessGated(x.sent == 0 && !x.over, func() { mc.wantSent(t, x, "refused in a dry run") })
		return x
	}
	mc.unlessGated(!x.over, func() { mc.wantRefused(t, h, x, now, refusal) })
	return x
}

// send sends a request, which base answers at once.
func (mc *machine) send(t *rapid.T) {
	mc.answerAtOnce(t, func() *exchange { return mc.begin(t) }, mc.drawReply)
}

func (mc *machine) answerAtOnce(t *rapid.T, begin func() *exchange, r func(*rapid.T) reply) {
	n := len(mc.pending)
	if x := begin(); len(mc.pending) > n {
		mc.pending = mc.pending[:n]
		mc.reply(t, x, r(t))
	}
}

// crowd sends many requests to one host.
func (mc *machine) crowd(t *rapid.T) { mc.crowdAt(t, rapid.SampledFrom(mc.keys).Draw(t, "key"), 1) }

func (mc *machine) crowdAt(t *rapid.T, key string, least int) {
	for range rapid.IntRange(least, 25).Draw(t, "requests") {
		mc.beginWith(t, mc.plainExchange(t, key))
	}
}

// lose breaks the connections to all hosts.
func (mc *machine) lose(t *rapid.T) {
	r := badReplies[slices.IndexFunc(badReplies, func(r reply) bool { return r.name == "reset" })]
	for _, key := range mc.keys {
		for range rapid.IntRange(1, 5).Draw(t, "requests") {
			mc.answerAtOnce(t, func() *exchange { return mc.beginWith(t, mc.plainExchange(t, key)) }, func(*rapid.T) reply { return r })
		}
	}
}

// hang lets a host answer at first, and then no more.
func (mc *machine) hang(t *rapid.T) {
	key := rapid.SampledFrom(mc.keys).Draw(t, "key")
	for range rapid.IntRange(14, 20).Draw(t, "answers") {
		mc.answerAtOnce(t,
			func() *exchange { return mc.beginWith(t, mc.plainExchange(t, key)) },
			func(*rapid.T) reply { return goodReplies[0] })
	}
	mc.crowdAt(t, key, 15)
	time.Sleep(rapid.SampledFrom([]time.Duration{100, 150, 500, 1000}).Draw(t, "silence") * time.Millisecond)
	mc.crowdAt(t, key, 1)
}

// crowdAnswered answers many of the pending requests alike.
func (mc *machine) crowdAnswered(t *rapid.T) {
	r := mc.drawReply(t)
	for range min(len(mc.pending), rapid.IntRange(1, 25).Draw(t, "requests")) {
		x := mc.pending[0]
		mc.pending = mc.pending[1:]
		mc.reply(t, x, r)
	}
}

// finish answers one of the pending requests.
func (mc *machine) finish(t *rapid.T) {
	i := drawIndex(t, mc.pending)
	x := mc.pending[i]
	mc.pending = slices.Delete(mc.pending, i, i+1)
	mc.reply(t, x, mc.drawReply(t))
}

func (mc *machine) reply(t *rapid.T, x *exchange, r reply) {
	now := mc.now()
	if r.name == ownBody && x.upload.got.err == nil {
		if !x.upload.reading {
			x.upload.begin(x.asSent.Body, now)
		}
		x.upload.next <- chunk{0, errOwn}
		synctest.Wait()
	}
	x.starved = x.upload.reading && x.upload.passed(x.deadline, now)
	mc.user.during(func() { x.reply <- r })
	if mc.user.broke != "" {
		mc.brokenOff(t, x, r)
		return
	}
	if x.call != nil {
		x.judged = mc.model.finish(x.call, now, x.verdictOn(r, mc.opinionated, now))
	}
	mc.unlessGated(!x.over, func() { mc.wantReply(t, x, r) })
}

func (mc *machine) wantReply(t *rapid.T, x *exchange, r reply) {
	if !x.over || x.sent != 1 || !x.upload.closed {
		t.Fatalf("after %q the request is over: %t, sent %d times, its body closed: %t", r.name, x.over, x.sent, x.upload.closed)
	}
	if x.gotResp != x.gaveResp || x.gotErr != x.gaveErr || (x.panicked != nil) != (r.name == "panic") { //nolint:errorlint // the very same is wanted
		t.Fatalf("after %q got %v, %v, panic %v; base returned %v, %v", r.name, x.gotResp, x.gotErr, x.panicked, x.gaveResp, x.gaveErr)
	}
	if x.gotResp != nil && x.gotResp.Request != x.req {
		t.Fatalf("after %q the response is to another request", r.name)
	}
	if x.download != nil {
		mc.bodies = append(mc.bodies, x)
	}
}

// brokenOff is the end of a request where the user's code has broken off.
func (mc *machine) brokenOff(t *rapid.T, x *exchange, r reply) {
	if !x.over || x.sent != 1 || !x.upload.closed || x.download != nil && !x.download.closed {
		t.Fatalf("after %q, the %s has broken off: the request is over: %t, sent %d times, its body closed: %t, the response %+v",
			r.name, mc.user.broke, x.over, x.sent, x.upload.closed, x.gaveResp)
	}
	if x.gotResp != nil || x.gotErr != nil || r.name != "panic" && !mc.user.brokenOff(x.panicked) {
		t.Fatalf("after %q, the %s has broken off: got %v, %v, panic %v", r.name, mc.user.broke, x.gotResp, x.gotErr, x.panicked)
	}
	v := x.verdictOn(r, mc.opinionated, mc.now())
	if mc.user.broke == "classifier" {
		v = ignored
	}
	if x.call != nil {
		mc.model.finish(x.call, mc.now(), v)
	}
}

// slowHook does a few things at one time, while the hook does not return: the requests that called
// it wait.
func (mc *machine) slowHook(t *rapid.T) {
	mc.look(t) // so that no other look calls the hook
	mc.heardBefore = map[string]int{}
	for key, events := range mc.heard {
		mc.heardBefore[key] = len(events)
	}
	mc.user.next, mc.gate = "", make(chan struct{})
	for range rapid.IntRange(1, 6).Draw(t, "requests") {
		switch {
		case rapid.Bool().Draw(t, "send"):
			mc.send(t)
		case len(mc.pending) > 0:
			mc.finish(t)
		}
	}
	close(mc.gate)
	synctest.Wait()
	mc.gate = nil
	for _, compare := range mc.afterGate {
		compare()
	}
	mc.afterGate = nil
	mc.wantTransitions(t)
}

// unlessGated compares at once, or once the hook that a request waits for has returned.
func (mc *machine) unlessGated(waits bool, compare func()) {
	if mc.gate != nil && waits {
		mc.afterGate = append(mc.afterGate, compare)
		return
	}
	compare()
}

func (mc *machine) cancel(t *rapid.T) {
	x := mc.exchanges[drawIndex(t, mc.exchanges)]
	if mc.now() == x.deadline {
		t.Skip("which of the two comes first is another question")
	}
	x.cancelled = x.cancelled || mc.now() < x.deadline
	x.cancel(rapid.SampledFrom([]error{nil, errors.New("a reason"), context.DeadlineExceeded}).Draw(t, "cause"))
}
