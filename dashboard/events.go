package dashboard

import (
	"context"
	"net/http"
	"sync"
	"time"
)

const (
	heartbeat = 5 * time.Second  // the longest time without an event
	patience  = 10 * time.Second // a client that takes no bytes for so long is given up
	slowest   = 16 << 10         // bytes per second; a client may be so slow
)

// streams serves the feed to any number of clients.
type streams struct {
	feed    *feed
	servers sync.Map // *http.Server to a context.Context that ends when it shuts down
}

// watch returns a context that ends when the server of a request shuts down: Shutdown waits for
// streams, and does not end their own contexts.
func (s *streams) watch(r *http.Request) context.Context {
	server, ok := r.Context().Value(http.ServerContextKey).(*http.Server)
	if !ok {
		return context.Background()
	}
	if running, ok := s.servers.Load(server); ok {
		return running.(context.Context)
	}
	running, cancel := context.WithCancel(context.Background())
	if first, known := s.servers.LoadOrStore(server, running); known {
		cancel()
		return first.(context.Context)
	}
	server.RegisterOnShutdown(cancel)
	return running
}

func (s *streams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	rc := http.NewResponseController(w)
	if err := rc.Flush(); err != nil {
		http.Error(w, "this server cannot stream: "+err.Error(), http.StatusNotImplemented)
		return
	}
	if r.Method == http.MethodHead {
		return
	}
	_ = rc.SetReadDeadline(time.Time{}) // the server's ReadTimeout would end the request's context

	out := stream{w: w, rc: rc}
	running := s.watch(r)
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	version, sent := s.feed.versionOf(r.Header.Get("Last-Event-ID")), time.Now()
	for {
		events, present := s.feed.next(version)
		if len(events) == 0 && time.Since(sent) >= heartbeat {
			events = [][]byte{s.feed.event("change", newReport(), present)}
		}
		if len(events) > 0 {
			if !out.send(events) {
				return
			}
			sent = time.Now()
		}
		version = present
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		case <-running.Done():
			return
		}
	}
}

// A stream is the response to one client.
type stream struct {
	w   http.ResponseWriter
	rc  *http.ResponseController
	due time.Time // when the slowest client has taken all bytes that were written
}

// send sends events, and reports whether the client is still there. It gives up a client that makes
// no progress, not one that is slow. So its deadlines allow for all bytes that are still on their
// way: Linux buffers 4 MB of a stream, and then takes nothing until a third of that is sent, which
// takes 12 s at 1 Mbit/s.
func (s *stream) send(events [][]byte) bool {
	for _, e := range events {
		if now := time.Now(); s.due.Before(now) {
			s.due = now
		}
		s.due = s.due.Add(time.Duration(len(e)) * time.Second / slowest)
		_ = s.rc.SetWriteDeadline(s.due.Add(patience)) // also in place of the server's WriteTimeout
		if _, err := s.w.Write(e); err != nil {
			return false
		}
	}
	return s.rc.Flush() == nil
}
