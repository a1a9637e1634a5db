package dashboard

import (
	"context"
	"net/http"
	"sync"
	"time"
)

const (
	heartbeat    = 5 * time.Second  // the longest silence of a stream
	writeTimeout = 10 * time.Second // a client that takes nothing for so long is given up
)

// streams serves the feed to any number of clients.
type streams struct {
	feed    feed
	servers sync.Map // *http.Server to a context.Context that ends when it shuts down
}

// watch returns a context that ends when the server of a request shuts down:
// Shutdown waits for streams, and does not end their own contexts.
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

	running := s.watch(r)
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	version, sent := 0, time.Now()
	for {
		events, present := s.feed.next(version)
		if len(events) == 0 && time.Since(sent) >= heartbeat {
			events = [][]byte{event("change", newReport())}
		}
		if len(events) > 0 {
			_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // also in place of the server's WriteTimeout
			if !send(w, rc, events) {
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

// send reports whether the client is still there.
func send(w http.ResponseWriter, rc *http.ResponseController, events [][]byte) bool {
	for _, e := range events {
		if _, err := w.Write(e); err != nil {
			return false
		}
	}
	return rc.Flush() == nil
}
