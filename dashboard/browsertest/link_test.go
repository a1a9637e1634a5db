package browsertest

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/breakerhttp/breakerhttp/dashboard"
)

// TestPolling: where events cannot be streamed, the page polls.
func TestPolling(t *testing.T) {
	c := newCircuits(t).serveBy(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/events") {
				http.Error(w, "no", http.StatusNotImplemented)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	const host = "http://a.test"
	c.succeed(host)
	b := open(t, c.url, look{excused: "Failed to load resource"})
	b.wait(state(host, "Closed"))
	b.wait(says("#link", "Polling"))
	c.trip(host)
	b.wait(state(host, "Open"))
	b.wait(says("#log li .key", host))
	c.Reset(host)
	b.wait(state(host, "Closed"))
	b.wait(`document.querySelector("#rows path.failed").getAttribute("d") !== ""`)
}

// TestLostServer: the page says that it is out of date, and recovers.
func TestLostServer(t *testing.T) {
	c := newCircuits(t).serve()
	const host = "http://a.test"
	c.succeed(host)
	b := open(t, c.url, look{excused: "Failed to load resource"})
	b.wait(state(host, "Closed"))
	b.click("#rows .key")
	b.wait(`document.querySelector("#details").open`)
	address := c.server.Listener.Addr().String()
	c.server.CloseClientConnections()
	c.server.Config.Close()
	b.wait(says("body > .alarm", "No word from the server since"))
	b.wait(says("#details .alarm", "No word from the server since")) // the dialog hides all else, from a screen reader too
	if alerts := b.accessible()["alert"]; len(alerts) != 1 {
		t.Errorf("got alerts %q, want one", alerts)
	}
	b.press(escape)
	b.wait(says("#link", "No connection"))
	b.wait(`document.body.classList.contains("stale")`)

	c.trip(host)
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c.server = &httptest.Server{Listener: l, Config: &http.Server{Handler: http.StripPrefix("/ops/circuits", dashboard.Handler(c.Transport))}}
	c.server.Start()
	b.wait(state(host, "Open"))
	b.wait(says("#link", "Live"))
	b.wait(`[...document.querySelectorAll(".alarm")].every((e) => e.textContent === "") && !document.body.classList.contains("stale")`)
}

// TestStalledStream: a connection that stays and says nothing is noticed.
func TestStalledStream(t *testing.T) {
	var streams atomic.Int64
	c := newCircuits(t).serveBy(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/events") && streams.Add(1) == 1 {
				w.Header().Set("Content-Type", "text/event-stream")
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	c.succeed("http://a.test")
	b := open(t, c.url, look{})
	b.wait(state("http://a.test", "Closed"))
	b.wait(says("#link", "Polling"))
	b.wait(says("#link", "Live")) // by another stream
	if n := streams.Load(); n < 2 {
		t.Errorf("got %d streams, want another one", n)
	}
}
