package breakerhttp_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/breakerhttp/breakerhttp"
)

// TestHookOrder: the hook sees the transitions of a circuit in order and one at
// a time, may use the Transport, and gets the context of the cause.
func TestHookOrder(t *testing.T) {
	type ctxKey struct{}
	var tr *breakerhttp.Transport
	var seen []string
	var depth int
	tr = newTransport(t, respond(500), breakerhttp.WithTransitionHook(func(ctx context.Context, tn breakerhttp.Transition) {
		depth++
		if depth > 1 {
			t.Error("the hook was called within itself")
		}
		seen = append(seen, fmt.Sprint(tn.From, ">", tn.To, " ", ctx.Value(ctxKey{})))
		if tn.Reason == "consecutive_failures" {
			tr.ForceClosed(tn.Key)
			tr.Reset(tn.Key)
			if s, _ := tr.Snapshot(tn.Key); s.State != breakerhttp.StateClosed {
				t.Errorf("within the hook: got %v, want closed", s.State)
			}
		}
		depth--
	}))
	for i := range 5 {
		req := newRequest(t, context.WithValue(context.Background(), ctxKey{}, i), host)
		_, _ = do(tr, req)
	}
	if got, want := fmt.Sprint(seen), "[closed>open 4 open>closed <nil>]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestHookPanic: if the hook panics, the transitions that wait for it are still delivered.
func TestHookPanic(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	var seen []breakerhttp.Reason
	tr := newTransport(t, respond(500), breakerhttp.WithTransitionHook(func(_ context.Context, tn breakerhttp.Transition) {
		if seen = append(seen, tn.Reason); len(seen) == 1 {
			close(entered)
			<-leave
			panic("hook")
		}
	}))
	ended := make(chan any)
	go func() {
		defer func() { ended <- recover() }()
		for range 5 {
			_, _ = get(tr, host)
		}
	}()
	<-entered
	tr.Reset(host)
	close(leave)
	if got := <-ended; got != "hook" {
		t.Errorf("the request ended with %v, want the panic", got)
	}
	if want := []breakerhttp.Reason{"consecutive_failures", "reset"}; !slices.Equal(seen, want) {
		t.Errorf("the hook saw %v, want %v", seen, want)
	}
}

// TestHookOfUnrecordedTransitions: a request that has opened an Adaptive circuit looks for calls of the
// hook, while another goroutine makes the circuit's first one.
func TestHookOfUnrecordedTransitions(t *testing.T) {
	var told atomic.Int64
	const rounds = 200
	for range rounds {
		tr := newTransport(t, respond(500), breakerhttp.WithPolicy(breakerhttp.Policy{Adaptive: true}),
			breakerhttp.WithTransitionHook(func(context.Context, breakerhttp.Transition) { told.Add(1) }))
		for range 11 {
			_, _ = get(tr, host)
		}
		var both sync.WaitGroup
		both.Go(func() { _, _ = get(tr, host) })
		both.Go(func() { tr.ForceOpen(host) })
		both.Wait()
	}
	if got := told.Load(); got != rounds {
		t.Errorf("the hook was called %d times, want %d", got, rounds)
	}
}

func TestTransitionsKeeps256(t *testing.T) {
	tr := newTransport(t, respond(200))
	for i := range 200 {
		tr.ForceOpen(fmt.Sprintf("http://%d.test", i))
		tr.Reset(fmt.Sprintf("http://%d.test", i))
	}
	got := tr.Transitions()
	if len(got) != 256 {
		t.Fatalf("got %d transitions, want 256", len(got))
	}
	if first, last := got[0].Key, got[255].Key; first != "http://72.test" || last != "http://199.test" {
		t.Errorf("got %s to %s, want http://72.test to http://199.test", first, last)
	}
}

// TestHookAndEviction: while the hook is called for a circuit, that is not evicted: the hook would
// hear of its successor meanwhile.
func TestHookAndEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leave := make(chan struct{})
		tr := newTransport(t, respond(200), breakerhttp.WithMaxCircuits(1), breakerhttp.WithTransitionHook(func(_ context.Context, tn breakerhttp.Transition) {
			if tn.Reason == breakerhttp.ReasonReset {
				<-leave
			}
		}))
		tr.ForceOpen(host)
		go tr.Reset(host)
		synctest.Wait()
		for _, evicted := range []bool{false, true} {
			_, _ = get(tr, "http://newcomer.test")
			if _, ok := tr.Snapshot(host); ok == evicted {
				t.Errorf("the circuit has been evicted: %t, want %t", !ok, evicted)
			}
			if !evicted {
				close(leave)
				synctest.Wait()
			}
		}
	})
}
