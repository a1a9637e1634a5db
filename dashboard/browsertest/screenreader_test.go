package browsertest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/chromedp/cdproto/accessibility"

	"github.com/breakerhttp/breakerhttp/dashboard"
)

// TestScreenReader: the page is a table to those who do not see it, and all
// that can be operated has a name.
func TestScreenReader(t *testing.T) {
	c := newCircuits(t).serve()
	for i := range 50 {
		c.succeed(fmt.Sprintf("http://h%02d.test", i))
	}
	for width, columns := range map[int64]int{1280: 7, 820: 5, 390: 6} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			b := open(t, c.url, look{width: width, height: 800})
			b.wait(state("http://h00.test", "Closed"))
			roles := b.accessible()
			if got := roles["table"]; !slices.Equal(got, []string{"Circuits"}) {
				t.Errorf("got tables %q, want one of circuits", got)
			}
			if got := roles["columnheader"]; len(got) != columns || slices.Contains(got, "") {
				t.Errorf("got column headers %q, want %d with names", got, columns)
			}
			if got := roles["rowheader"]; len(got) < 3 || got[0] != "http://h00.test" {
				t.Errorf("got row headers %q, want keys", got)
			}
			for _, role := range []string{"button", "radio", "checkbox", "combobox", "searchbox", "image", "list"} {
				if got := roles[role]; len(got) == 0 || slices.Contains(got, "") {
					t.Errorf("got %ss %q, want some, and all with names", role, got)
				}
			}
			if n := eval[string](b, `document.querySelector("#circuits").getAttribute("aria-rowcount")`); n != "51" {
				t.Errorf("got %s rows, want 51", n)
			}
		})
	}
}

// TestScreenReaderDialog: the dialog says what it is about, and so does a
// question, and nothing else is to be found meanwhile.
func TestScreenReaderDialog(t *testing.T) {
	const host = "http://a.test"
	c := newCircuits(t).serve(dashboard.WithControls())
	c.trip(host)
	b := open(t, c.url, look{})
	b.wait(state(host, "Open"))
	b.click("#rows .key")
	b.wait(`document.querySelector("#details").open`)
	b.click("[data-do=reset]")
	b.wait(`document.activeElement.id === "cancel"`)
	roles := b.accessible()
	if got := roles["dialog"]; !slices.Equal(got, []string{host}) {
		t.Errorf("got dialogs %q, want one of %s", got, host)
	}
	const question = "Close the circuit of " + host + " now, forget its counts, and no longer force it, in this process only?"
	if got := roles["group"]; !slices.Contains(got, question) {
		t.Errorf("got groups %q, want %q", got, question)
	}
	if got, want := roles["button"], []string{"Close", "Force open\u2026", "Force closed\u2026", "Reset\u2026", "Cancel", "Reset"}; !slices.Equal(got, want) {
		t.Errorf("got buttons %q, want %q", got, want)
	}
	if got := roles["table"]; len(got) > 0 {
		t.Errorf("got tables %q behind the dialog", got)
	}
}

// TestLiveRegions: what happens is said by itself, and only what matters: the
// numbers that change every second are silent.
func TestLiveRegions(t *testing.T) {
	const host = "http://a.test"
	c := newCircuits(t).serve()
	c.succeed(host)
	b := open(t, c.url, look{})
	b.wait(state(host, "Closed"))
	b.wait(says("#link", "Live"))
	c.trip(host)
	b.wait(says("#announcer", host+" is open"))
	want := map[string]string{host + " is open": "polite", "Live": "polite", "": "assertive"} // nothing is wrong
	if got := b.live(); !maps.Equal(got, want) {
		t.Errorf("got live regions %q, want %q", got, want)
	}
}

// live returns the texts of the live regions, and how each is said.
func (b *tab) live() map[string]string {
	b.t.Helper()
	nodes := map[accessibility.NodeID]*accessibility.Node{}
	for _, n := range call(b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
		nodes[n.NodeID] = n
	}
	var textOf func(n *accessibility.Node) string
	textOf = func(n *accessibility.Node) (text string) {
		if n.Role != nil && string(n.Role.Value) == `"StaticText"` {
			_ = json.Unmarshal(n.Name.Value, &text)
			return text
		}
		for _, child := range n.ChildIDs {
			text += textOf(nodes[child])
		}
		return text
	}
	regions := map[string]string{}
	for _, n := range nodes {
		for _, p := range n.Properties {
			if how := ""; p.Name == accessibility.PropertyNameLive && json.Unmarshal(p.Value.Value, &how) == nil {
				regions[textOf(n)] = how
			}
		}
	}
	return regions
}
