package contract

import (
	"context"
	"net/http"
	"runtime"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/breakerhttp/breakerhttp"
)

// userCode can be told to break off, by a panic or by runtime.Goexit, when it is called next.
type userCode struct {
	next  string // what breaks off
	exits bool   // by runtime.Goexit
	live  bool   // it can break off in what is being done
	broke string // what has broken off in what was done
}

const userPanic = "the user's code panics"

func (u *userCode) called(what string) {
	if !u.live || u.next != what {
		return
	}
	u.next, u.broke = "", what
	if u.exits {
		runtime.Goexit()
	}
	panic(userPanic)
}

// during does something in which the user's code can break off. The goroutine that f starts tells
// how it ended.
func (u *userCode) during(f func()) {
	u.live, u.broke = true, ""
	f()
	synctest.Wait()
	u.live = false
}

// brokenOff reports whether a goroutine of the caller's ended as the user's code made it.
func (u *userCode) brokenOff(panicked any) bool {
	return u.broke != "" && (u.exits && panicked == nil || !u.exits && panicked == userPanic)
}

// do calls f in a goroutine of its own, which the user's code can break off.
func (mc *machine) do(t *rapid.T, f func()) {
	var returned bool
	var panicked any
	mc.user.during(func() {
		go func() {
			defer func() { panicked = recover() }()
			f()
			returned = true
		}()
	})
	if returned != (mc.user.broke == "") || !returned && !mc.user.brokenOff(panicked) {
		t.Fatalf("has returned: %t, panic %v; %q was broken off", returned, panicked, mc.user.broke)
	}
}

// arm lets some of the user's code break off when it is called next.
func (mc *machine) arm(t *rapid.T) {
	mc.user.next = rapid.SampledFrom([]string{
		"hook", "hook", "hook", "TripWhen", "TripWhen", "fallback", "probe filter", "key func", "classifier",
	}).Draw(t, "what")
	mc.user.exits = rapid.Bool().Draw(t, "exits")
}

func (mc *machine) tripWhen(f func(breakerhttp.Counts) bool) func(breakerhttp.Counts) bool {
	if f == nil {
		return nil
	}
	return func(n breakerhttp.Counts) bool {
		mc.user.called("TripWhen")
		return f(n)
	}
}

func (mc *machine) hook(_ context.Context, e breakerhttp.Transition) {
	mc.hearing.Lock()
	mc.heard[e.Key] = append(mc.heard[e.Key], e)
	mc.hearing.Unlock()
	if mc.gate != nil {
		<-mc.gate
	}
	mc.user.called("hook")
}

func (mc *machine) probeFilter(req *http.Request) bool {
	mc.user.called("probe filter")
	return mc.probes(req)
}

const fallbackStatus = 599

func (mc *machine) answer(req *http.Request, refusal *breakerhttp.OpenError) (*http.Response, error) {
	mc.user.called("fallback")
	req.Context().Value(exchangeKey{}).(*exchange).refused = refusal
	return &http.Response{StatusCode: fallbackStatus, Body: http.NoBody}, nil
}

func (mc *machine) key(req *http.Request) string {
	mc.user.called("key func")
	return breakerhttp.HostKey(req)
}

func (mc *machine) classify(a breakerhttp.Attempt) breakerhttp.Outcome {
	mc.user.called("classifier")
	if x := a.Request.Context().Value(exchangeKey{}).(*exchange); a.Ended && x.opinion != byDefault {
		return x.opinion
	}
	return limited(a)
}

var limited = breakerhttp.LimitedStatus(429)
