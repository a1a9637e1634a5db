package dashboard_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/dashboard"
	"github.com/breakerhttp/breakerhttp/internal/pipetest"
)

func TestEvents(t *testing.T) {
	inBubble(t, respond(500), func(t *testing.T, tr *breakerhttp.Transport, server *pipetest.Server) {
		start := time.Now()
		request(t, tr, 1, "http://a.test")
		request(t, tr, 1, "http://b.test")
		s := listen(t, client(server), server.URL+"/events")
		all := s.want("all")
		if got, want := all.keys(), []string{"http://a.test", "http://b.test"}; !slices.Equal(got, want) {
			t.Errorf("got circuits %v first, want %v", got, want)
		}

		request(t, tr, 4, "http://b.test")
		change := s.want("change")
		if got := change.keys(); !slices.Equal(got, []string{"http://b.test"}) || change.Circuits[0].State != "open" {
			t.Errorf("got %+v, want the change of b to open", change)
		}
		if len(change.Transitions) != 1 || change.Transitions[0].To != "open" {
			t.Errorf("got transitions %v, want that of b to open", change.Transitions)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("the change took %v, want a second at most", took)
		}

		for _, want := range []time.Duration{6 * time.Second, 11 * time.Second} { // nothing happens
			beat := s.want("change")
			if len(beat.Circuits)+len(beat.Transitions) > 0 || time.Since(start) != want {
				t.Errorf("got %+v after %v, want a heartbeat after %v", beat, time.Since(start), want)
			}
		}

		beat := s.want("change")
		for len(beat.Circuits) == 0 {
			beat = s.want("change")
		}
		if took := beat.Now.Sub(start); beat.Circuits[0].State != "half_open" || took < time.Minute || took > 61*time.Second {
			t.Errorf("got %+v after %v, want b half-open within a second of its open time's end", beat, took)
		}
	})
}

// TestEventsOfQuietCircuits: on real clocks the same moment reads a little different each time,
// which is no change.
func TestEventsOfQuietCircuits(t *testing.T) {
	t.Parallel()
	tr := newTransport(t, respond(500))
	for i := range 1000 {
		request(t, tr, 1+i%6, fmt.Sprintf("http://h%d.test", i))
	}
	address, stop := serve(t, dashboard.Handler(tr))
	defer stop(context.Background())
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	s := listen(t, &http.Client{Transport: transport}, address+"/events")
	defer s.cancel()
	s.want("all")
	if e := s.want("change"); len(e.Circuits) > 0 {
		t.Errorf("got a change of %d circuits, want a heartbeat", len(e.Circuits))
	}
}

func TestEventsOfRemovedCircuits(t *testing.T) {
	inBubble(t, respond(200), func(t *testing.T, tr *breakerhttp.Transport, server *pipetest.Server) {
		request(t, tr, 1, "http://a.test")
		s := listen(t, client(server), server.URL+"/events")
		s.want("all")
		request(t, tr, 1, "http://b.test") // pushes a out
		if e := s.want("change"); !slices.Equal(e.Removed, []string{"http://a.test"}) || !slices.Equal(e.keys(), []string{"http://b.test"}) {
			t.Errorf("got %+v, want a removed and b new", e)
		}
	}, breakerhttp.WithMaxCircuits(1))
}

// TestEventsResume: a client that has lost its stream says what it got last, and gets what it has
// missed; all of it again if that is too much, or if another process answers.
func TestEventsResume(t *testing.T) {
	inBubble(t, respond(200), func(t *testing.T, tr *breakerhttp.Transport, server *pipetest.Server) {
		request(t, tr, 1, "http://a.test")
		s := listen(t, client(server), server.URL+"/events")
		first := s.want("all")
		request(t, tr, 1, "http://b.test")
		second := s.want("change")
		s.cancel()
		resume := func(id string) event {
			t.Helper()
			s := listen(t, client(server), server.URL+"/events", "Last-Event-ID", id)
			defer s.cancel()
			e, _ := s.next()
			return e
		}
		if beat := resume(second.id); beat.name != "change" || len(beat.Circuits) > 0 || beat.id != second.id {
			t.Errorf("after the latest event: got %+v, want a heartbeat", beat)
		}
		tr.ForceOpen("http://a.test")
		time.Sleep(time.Second)
		if e := resume(second.id); e.name != "change" || !slices.Equal(e.keys(), []string{"http://a.test"}) || len(e.Transitions) != 1 {
			t.Errorf("after the one before the latest: got %+v, want what has changed since", e)
		}
		if e := resume(first.id); e.name != "change" || !slices.Equal(e.keys(), []string{"http://b.test"}) {
			t.Errorf("after the first: got %+v, want the second", e)
		}
		feed, _, _ := strings.Cut(first.id, "-")
		for _, id := range []string{"", "another-2", feed + "-0", feed + "-4", feed + "--1", feed + "-x", feed} {
			if e := resume(id); e.name != "all" || len(e.Circuits) != 2 {
				t.Errorf("after %q: got %+v, want all", id, e)
			}
		}
		for range 9 {
			request(t, tr, 1, "http://b.test")
			time.Sleep(time.Second)
			resume("")
		}
		if e := resume(second.id); e.name != "all" {
			t.Errorf("after ten more events: got %+v, want all", e)
		}
	})
}

// TestEventsOfRemovedKeys: a key of any bytes goes by the name that it came by.
func TestEventsOfRemovedKeys(t *testing.T) {
	inBubble(t, respond(200), func(t *testing.T, tr *breakerhttp.Transport, server *pipetest.Server) {
		requestKey(t, tr, "\xff")
		s := listen(t, client(server), server.URL+"/events")
		came := s.want("all").keys()
		requestKey(t, tr, "b")
		if e := s.want("change"); !slices.Equal(e.Removed, came) || !slices.Equal(came, []string{`\xff`}) {
			t.Errorf("got %q removed, want %q, which is \\xff", e.Removed, came)
		}
	}, breakerhttp.WithMaxCircuits(1), breakerhttp.WithKey(byHeader))
}

// TestEventsOfManyTransitions: the Transport keeps the latest 256, and drops one
// for each new one.
func TestEventsOfManyTransitions(t *testing.T) {
	inBubble(t, respond(200), func(t *testing.T, tr *breakerhttp.Transport, server *pipetest.Server) {
		turn := func(n int) {
			for range n {
				tr.ForceOpen("http://a.test")
				tr.Reset("http://a.test")
			}
		}
		turn(200)
		s := listen(t, client(server), server.URL+"/events")
		if all := s.want("all"); len(all.Transitions) != 256 {
			t.Errorf("got %d transitions first, want 256", len(all.Transitions))
		}
		seen := uint64(400)
		for _, n := range []int{1, 2, 127, 128, 500} {
			turn(n)
			got := s.want("change").Transitions
			if want := min(2*n, 256); len(got) != want {
				t.Errorf("after %d transitions: got %d, want %d", 2*n, len(got), want)
			}
			for i, tr := range got {
				if want := got[0].Seq + uint64(i); tr.Seq != want || tr.Seq <= seen {
					t.Fatalf("got Seq %d, want %d, and above %d, which was sent before", tr.Seq, want, seen)
				}
			}
			seen = got[len(got)-1].Seq
		}
	})
}

// TestEventsShareReadings: a hundred streams that began at different moments all
// tell of the same few readings.
func TestEventsShareReadings(t *testing.T) {
	inBubble(t, respond(200), func(t *testing.T, tr *breakerhttp.Transport, server *pipetest.Server) {
		var streams []*stream
		for range 100 {
			request(t, tr, 1, "http://a.test")
			streams = append(streams, listen(t, client(server), server.URL+"/events"))
			time.Sleep(7 * time.Millisecond)
		}
		start := time.Now()
		readings := map[time.Time]bool{}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for time.Since(start) < 9*time.Second {
				request(t, tr, 1, "http://a.test")
				time.Sleep(10 * time.Millisecond)
			}
		}()
		for _, s := range streams {
			s.want("all")
		}
		var last [100]uint64
		for time.Since(start) < 10*time.Second {
			for i, s := range streams {
				if e := s.want("change"); len(e.Circuits) > 0 {
					readings[e.Now] = true
					last[i] = e.Circuits[0].Totals.Success
				}
			}
		}
		<-done
		if n := len(readings); n < 8 || n > 12 {
			t.Errorf("got %d readings in 10 s, want one a second", n)
		}
		snapshot, _ := tr.Snapshot("http://a.test")
		for i, n := range last {
			if n != snapshot.Totals.Success {
				t.Errorf("stream %d has seen %d requests at last, want %d", i, n, snapshot.Totals.Success)
			}
		}
	})
}

// TestEventsOfSlowClient: a client that cannot keep up gets everything once
// again, not what it has missed; one that takes nothing is given up.
func TestEventsOfSlowClient(t *testing.T) {
	inBubble(t, respond(200), func(t *testing.T, tr *breakerhttp.Transport, server *pipetest.Server) {
		request(t, tr, 1, "http://a.test")
		slow := listen(t, client(server), server.URL+"/events")
		slow.want("all")
		time.Sleep(500 * time.Millisecond) // the two never look at the same moment
		quick := listen(t, client(server), server.URL+"/events")
		quick.want("all")
		read := func(n int) {
			for range n {
				request(t, tr, 1, "http://a.test")
				quick.want("change")
			}
		}
		read(3) // slow takes nothing of it, and a pipe holds nothing
		for range 3 {
			slow.want("change")
		}
		read(10)
		slow.want("change") // the one that it was being sent
		if e := slow.want("all"); e.Circuits[0].Totals.Success != 14 {
			t.Errorf("got %+v, want all with 14 requests", e)
		}

		read(12)
		if e, ok := slow.next(); ok {
			t.Errorf("got event %q after 12 s in which the client took nothing, want the stream given up", e.name)
		}
	})
}
