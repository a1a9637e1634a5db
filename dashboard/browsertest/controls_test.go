package browsertest

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/dashboard"
)

func (c *circuits) wantState(key string, state breakerhttp.State, forced bool) {
	c.t.Helper()
	if s, _ := c.Snapshot(key); s.State != state || s.Forced != forced {
		c.t.Errorf("got %v, forced %t, want %v, %t", s.State, s.Forced, state, forced)
	}
}

func TestControls(t *testing.T) {
	const host = "http://a.test"
	c := newCircuits(t).serve(dashboard.WithControls())
	c.succeed(host)
	b := open(t, c.url, look{})
	b.wait(state(host, "Closed"))
	b.click("#rows .key")
	b.wait(`document.querySelector("#details").open`)

	// A hand that slips, an Enter too many and Esc do nothing.
	b.click(`[data-do="force-open"]`)
	b.wait(says("#question", "Refuse every request of "+host+" until it is reset, in this process only?"))
	b.wait(`document.activeElement.id === "cancel"`)
	b.press(enter)
	b.wait(`document.querySelector("#confirm").hidden && document.activeElement.dataset.do === "force-open"`)
	b.press(enter)
	b.wait(`document.activeElement.id === "cancel"`)
	b.press(escape)
	b.wait(`document.querySelector("#confirm").hidden && document.querySelector("#details").open`)
	c.wantState(host, breakerhttp.StateClosed, false)

	for _, tt := range []struct {
		do, name, shown string
		state           breakerhttp.State
		forced          bool
	}{
		{"force-open", "Force open", "Open", breakerhttp.StateOpen, true},
		{"force-closed", "Force closed", "Closed", breakerhttp.StateClosed, true},
		{"reset", "Reset", "Closed", breakerhttp.StateClosed, false},
	} {
		b.click(`[data-do="` + tt.do + `"]`)
		b.wait(says("#go", tt.name))
		b.click("#go")
		b.wait(says("#outcome", "Done"))
		c.wantState(host, tt.state, tt.forced)
		b.wait(says("#details .name", tt.shown))
		for _, verb := range []string{"force-open", "force-closed", "reset"} {
			done := tt.forced && verb == tt.do // and cannot be done again
			b.wait(fmt.Sprintf(`document.querySelector("[data-do=%s]").disabled === %t`, verb, done))
		}
		b.wait(`document.querySelector("#details").contains(document.activeElement) && !document.activeElement.disabled`)
		forced := ""
		if tt.forced {
			forced = "forced"
		}
		b.wait(`document.querySelector("#details .forced").textContent === "` + forced + `"`)
		b.wait(`document.querySelector("#rows .forced").textContent === "` + forced + `"`)
	}
	b.wait(`document.querySelectorAll("#details-log li").length === 2`)
	b.press(escape)
	b.wait(`!document.querySelector("#details").open && document.activeElement.matches("#rows .key")`)
}

func TestNoControls(t *testing.T) {
	c := newCircuits(t).serve()
	c.succeed("http://a.test")
	b := open(t, c.url, look{})
	b.wait(state("http://a.test", "Closed"))
	b.click("#rows .key")
	b.wait(`document.querySelector("#details").open`)
	if eval[bool](b, `[...document.querySelectorAll("[data-do]")].some((e) => e.checkVisibility())`) {
		t.Error("the page shows controls that the server does not have")
	}
}

// TestControlFails: what the server refuses is said, here that the circuit was evicted.
func TestControlFails(t *testing.T) {
	c := newCircuits(t, breakerhttp.WithMaxCircuits(1)).serveBy(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/reset") {
				h.ServeHTTP(w, r)
				return
			}
			r.Body = io.NopCloser(strings.NewReader("key=" + url.QueryEscape("http://gone.test")))
			h.ServeHTTP(w, r)
		})
	}, dashboard.WithControls())
	const host = "http://a.test"
	c.succeed(host)
	b := open(t, c.url, look{excused: "Failed to load resource"})
	b.wait(state(host, "Closed"))
	b.click("#rows .key")
	b.click(`[data-do="reset"]`)
	b.click("#go")
	b.wait(says("#outcome", `404: there is no circuit "http://gone.test"; the nearest: ["http://a.test"]`))
}

// TestAnswerOfAnotherCircuit: what a control has done is said of its own circuit
// only, however late the answer comes.
func TestAnswerOfAnotherCircuit(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	c := newCircuits(t).serveBy(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				close(asked)
				<-release
			}
			h.ServeHTTP(w, r)
		})
	}, dashboard.WithControls())
	c.succeed("http://a.test")
	c.succeed("http://b.test")
	b := open(t, c.url, look{})
	b.wait(state("http://b.test", "Closed"))
	b.click("#rows tr:nth-child(1) .key")
	b.click("[data-do=force-open]")
	b.click("#go")
	b.wait(says("#outcome", "Sent, no answer yet"))
	<-asked
	b.press(escape)
	b.click("#rows tr:nth-child(2) .key")
	b.wait(says("#details-key", "http://b.test"))
	close(release)
	b.wait(state("http://a.test", "Open"))
	if said := eval[string](b, `document.querySelector("#outcome").textContent`); said != "" {
		t.Errorf("got %q said of http://b.test", said)
	}
}
