package browsertest

import (
	"fmt"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// state is a condition: the row of a circuit says that it is in a state.
func state(key, state string) string {
	return fmt.Sprintf("[...document.querySelectorAll('#rows tr')].some((r) => r.querySelector('.key').textContent === %q && r.querySelector('.name').textContent === %q)", key, state)
}

// says is a condition: the element of a selector contains a text.
func says(selector, text string) string {
	return fmt.Sprintf("document.querySelector(%q)?.textContent.includes(%q)", selector, text)
}

// TestLive follows a circuit through all its states, without a reload.
func TestLive(t *testing.T) {
	const host = "http://a.test"
	c := newCircuits(t, breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: 4 * time.Second})).serve()
	b := open(t, c.url, look{})
	b.wait(says("#none", "no circuit yet"))
	b.wait(says("#link", "Live"))

	c.succeed(host)
	b.wait(state(host, "Closed"))
	release := c.hang(host)
	b.wait(says("#rows td.in_flight", "1"))
	release()
	b.wait(says("#rows td.in_flight", "0"))
	b.wait(says("#rows .totals .ignored", "1"))

	c.trip(host)
	b.wait(state(host, "Open"))
	b.wait(says("#rows .reason", "5 failures in a row"))
	b.wait(says("#rows .percent", "83%")) // of six
	b.wait(says("#rows .of", "5 of 6"))
	b.wait(says("#rows .until", "probe in "))
	for _, then := range []string{"3s", "2s", "1s"} {
		b.wait(says("#rows .until", "probe in "+then))
	}
	for _, now := range []string{
		says("#count-open", "1"),
		says("title", "(1 open)"),
		says("#log li .to", "Open for 4s"),
		says("#log li .key", host),
		`document.querySelector("#icon").getAttribute("href") === "icon-open.svg"`,
		`document.querySelector("#rows path.open").getAttribute("d") !== ""`,
		`document.querySelector("#rows path.failed").getAttribute("d") !== ""`,
	} {
		b.wait(now)
	}
	b.wait(says("#announcer", host+" is open"))

	b.wait(state(host, "Half-open"))
	b.wait(says("#rows .until", "next request"))
	c.succeed(host)
	b.wait(state(host, "Closed"))
	b.wait(says("#rows .reason", "opened before: 5 failures in a row"))
	b.wait(`document.querySelector("#icon").getAttribute("href") === "icon.svg" && document.title === "Circuits"`)
	b.wait(says("#announcer", host+" is closed"))
}

// TestEvicted: a circuit that is gone leaves the page, and a look at it says so.
func TestEvicted(t *testing.T) {
	c := newCircuits(t, breakerhttp.WithMaxCircuits(1)).serve()
	c.succeed("http://a.test")
	b := open(t, c.url, look{})
	b.wait(state("http://a.test", "Closed"))
	b.click("#rows .key")
	b.wait(says("#details-key", "http://a.test"))
	c.succeed("http://b.test")
	b.wait(says("#details .reason", "This circuit is gone"))
	b.press(escape)
	b.wait(state("http://b.test", "Closed"))
	b.wait(`document.querySelectorAll("#rows tr").length === 1`)
}

// TestHistory: what happened before the page was opened is in the strip as far
// as the Transport remembers, and requests only from then on.
func TestHistory(t *testing.T) {
	c := newCircuits(t, breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: time.Millisecond})).serve()
	const host = "http://a.test"
	c.trip(host)
	<-time.After(10 * time.Millisecond)
	c.succeed(host)
	b := open(t, c.url, look{})
	b.wait(state(host, "Closed"))
	for _, drawn := range []string{"open", "half_open", "closed"} {
		b.wait(`document.querySelector("#rows path.` + drawn + `").getAttribute("d") !== ""`)
	}
	b.wait(`["ok", "failed", "refused"].every((name) => document.querySelector("#rows path." + name).getAttribute("d") === "")`)
	b.wait(`document.querySelectorAll("#log li").length === 3`)
	if said := eval[string](b, `document.querySelector("#announcer").textContent`); said != "" {
		t.Errorf("got %q announced, want nothing of what is past", said)
	}
	c.succeed(host)
	b.wait(`document.querySelector("#rows path.ok").getAttribute("d") !== ""`)
	b.wait(`document.querySelector("#rows svg[role=img]").ariaLabel.includes("1 ok, 0 failed, 0 refused")`)
}
