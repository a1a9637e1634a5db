package browsertest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp"
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
	if n := eval[int](b, `document.querySelectorAll("#log li").length`); n != 2 {
		t.Errorf("got %d transitions, want two", n)
	}
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

// TestResume: a page that has lost its stream goes on where it was, and counts nothing twice that
// it has polled meanwhile.
func TestResume(t *testing.T) {
	var first atomic.Bool
	cut := make(chan struct{})
	resumed, polled := make(chan string, 10), make(chan struct{})
	c := newCircuits(t).serveBy(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/events") && r.Header.Get("Sec-Fetch-Mode") != "" { // a browser's
				if first.CompareAndSwap(false, true) {
					ctx, cancel := context.WithCancel(r.Context())
					defer cancel()
					go func() {
						select {
						case <-cut:
							cancel()
						case <-ctx.Done():
						}
					}()
					r = r.WithContext(ctx)
				} else {
					resumed <- r.Header.Get("Last-Event-ID")
					<-polled
				}
			}
			h.ServeHTTP(w, r)
		})
	})
	const host = "http://a.test"
	c.succeed(host)
	b := open(t, c.url, look{})
	b.wait(says("#link", "Live"))
	b.wait(state(host, "Closed"))
	other, err := http.Get(c.url + "events") // somebody else looks too, so that there are changes
	if err != nil {
		t.Fatal(err)
	}
	defer other.Body.Close()
	seen := func(n int) string {
		return fmt.Sprintf(`document.querySelector("#rows svg[role=img]").ariaLabel.endsWith("Seen from here: %d ok, 0 failed, 0 refused.")`, n)
	}
	c.succeed(host)
	b.wait(seen(1))
	close(cut)
	events := bufio.NewScanner(other.Body)
	for range 2 { // changes that the page has to catch up with
		c.succeed(host)
		total := fmt.Sprintf(`"success":%d`, totals(c, host))
		for events.Scan() && !strings.Contains(events.Text(), total) {
		}
	}
	b.wait(seen(3)) // by polls
	close(polled)
	if id := <-resumed; !regexp.MustCompile(`^\w+-\d+$`).MatchString(id) {
		t.Errorf("got Last-Event-ID %q, want that of an event", id)
	}
	b.wait(says("#link", "Live"))
	for range 10 {
		c.succeed(host)
	}
	b.wait(says("#rows .success", fmt.Sprint(totals(c, host))))
	if !eval[bool](b, seen(13)) {
		t.Errorf("got %q, want 13 ok", eval[string](b, `document.querySelector("#rows svg[role=img]").ariaLabel`))
	}
}

func totals(c *circuits, key string) uint64 {
	s, _ := c.Snapshot(key)
	return s.Totals.Success
}

// TestHidden: a tab that nobody sees holds no stream, since all tabs together have six connections.
// It polls, so that its title is true.
func TestHidden(t *testing.T) {
	var streams atomic.Int64
	c := newCircuits(t).serveBy(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/events") {
				streams.Add(1)
				defer streams.Add(-1)
			}
			h.ServeHTTP(w, r)
		})
	}, dashboard.WithControls())
	const host = "http://a.test"
	c.succeed(host)
	b := open(t, c.url, look{})
	b.wait(state(host, "Closed"))
	b.wait(says("#link", "Live"))
	wantStreams := func(when string, want int64) {
		t.Helper()
		for end := time.Now().Add(patience); streams.Load() != want; <-time.After(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: got %d streams, want %d", when, streams.Load(), want)
			}
		}
	}
	wantStreams("seen", 1)
	b.hide(true)
	wantStreams("hidden", 0)
	b.wait(says("#link", "Polling"))
	c.trip(host)
	b.wait(says("title", "(1 open)"))
	b.hide(false)
	wantStreams("seen again", 1)
	b.wait(says("#link", "Live"))

	// As many tabs as there are connections leave some for another one.
	for range 7 {
		tab := open(t, c.url, look{})
		tab.wait(state(host, "Open"))
		tab.hide(true)
	}
	wantStreams("with seven tabs behind it", 1)
	b.click("#rows .key")
	b.click(`[data-do="force-open"]`)
	b.click("#go")
	b.wait(says("#outcome", "Done"))
}

// hide tells the page that nobody sees it, or that somebody does. A browser without a screen does
// so for none of its tabs.
func (b *tab) hide(hidden bool) {
	b.t.Helper()
	eval[any](b, fmt.Sprintf(`(() => {
		Object.defineProperty(document, "hidden", {value: %t, configurable: true});
		document.dispatchEvent(new Event("visibilitychange"));
	})()`, hidden))
}

// TestAnotherProcess: a server that was started again is another one, whose circuits have a past of
// their own.
func TestAnotherProcess(t *testing.T) {
	before, after := newCircuits(t), newCircuits(t, breakerhttp.WithName("after"))
	before.trip("http://a.test")
	before.trip("http://before.test")
	after.trip("http://a.test")
	var restarted atomic.Bool
	first, second := dashboard.Handler(before.Transport), dashboard.Handler(after.Transport)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if restarted.Load() {
			second.ServeHTTP(w, r)
		} else {
			first.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	b := open(t, server.URL, look{excused: "Failed to load resource"})
	b.wait(state("http://before.test", "Open"))
	b.wait(fmt.Sprintf(`document.querySelector("#origin").textContent.startsWith("default on ") && document.querySelector("#origin").textContent.endsWith(", pid %d")`, os.Getpid()))
	b.wait(`document.querySelectorAll("#log li").length === 2`)
	restarted.Store(true)
	server.CloseClientConnections()
	b.wait(says("#origin", "after on "))
	b.wait(says("title", "(1 open) Circuits of after on "))
	b.wantShown("a")
	b.wait(`document.querySelectorAll("#log li").length === 1`)
	b.click("#rows .key")
	b.wait(`document.querySelectorAll("#details-log li").length === 1`)
}
