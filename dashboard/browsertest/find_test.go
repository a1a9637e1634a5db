package browsertest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp/kb"

	"github.com/breakerhttp/breakerhttp"
)

const (
	enter  = kb.Enter
	escape = kb.Escape
)

// shown is the list, from top to bottom.
func (b *tab) shown() []string {
	b.t.Helper()
	return eval[[]string](b, `[...document.querySelectorAll("#rows tr")].map((r) => r.querySelector(".key").textContent.replace("http://", "").replace(".test", ""))`)
}

func (b *tab) wantShown(want ...string) {
	b.t.Helper()
	b.wait(fmt.Sprintf(`document.querySelectorAll("#rows tr").length === %d`, len(want)))
	if got := b.shown(); !slices.Equal(got, want) {
		b.t.Errorf("got %v, want %v", got, want)
	}
}

func (b *tab) choose(selector, value string) {
	b.t.Helper()
	eval[any](b, fmt.Sprintf(`(() => {
		const e = document.querySelector(%q);
		e.value = %q;
		e.dispatchEvent(new Event("input", {bubbles: true}));
	})()`, selector, value))
	b.settle()
}

// slash types a slash, which the page may take for itself: press sends its
// character in any case.
func (b *tab) slash() {
	b.t.Helper()
	call(b, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: "/", Text: "/"})
	call(b, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyUp, Key: "/"})
}

// settle waits until the page has drawn what it knows.
func (b *tab) settle() {
	b.t.Helper()
	eval[any](b, "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
}

// TestFind: four circuits, each first in some order.
func TestFind(t *testing.T) {
	c := newCircuits(t, breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: time.Minute}),
		breakerhttp.WithHostPolicy("half.test", breakerhttp.Policy{OpenFor: time.Millisecond})).serve()
	c.succeed("http://a.test")
	<-time.After(2 * time.Millisecond) // the page tells times apart that differ by as much
	for range 9 {
		c.succeed("http://busy.test")
	}
	defer c.hang("http://busy.test")()
	c.trip("http://half.test")
	<-time.After(5 * time.Millisecond)
	c.succeed("http://open.test")
	c.trip("http://open.test")
	c.succeed("http://open.test") // refused
	c.ForceClosed("http://a.test")
	b := open(t, c.url, look{})
	b.wait(state("http://half.test", "Half-open"))
	b.wantShown("open", "half", "a", "busy")

	for _, tt := range []struct {
		sort string
		want []string
	}{
		{"key", []string{"a", "busy", "half", "open"}},
		{"since", []string{"open", "half", "busy", "a"}},
		{"until", []string{"open", "a", "busy", "half"}},
		{"share", []string{"half", "open", "a", "busy"}},
		{"in_flight", []string{"busy", "a", "half", "open"}},
		{"failure", []string{"half", "open", "a", "busy"}},
		{"refused", []string{"open", "a", "busy", "half"}},
		{"state", []string{"open", "half", "a", "busy"}},
	} {
		b.choose("#sort", tt.sort)
		if got := b.shown(); !slices.Equal(got, tt.want) {
			t.Errorf("by %s: got %v, want %v", tt.sort, got, tt.want)
		}
	}
	b.click(`[data-sort="key"]`)
	b.wait(`document.querySelector("th[aria-sort=ascending] .by").textContent === "Circuit"`)
	b.click(`[data-sort="key"]`)
	b.wait(`document.querySelector("th[aria-sort=descending] .by").textContent === "Circuit"`)
	b.wantShown("open", "half", "busy", "a")

	for _, tt := range []struct {
		state string
		want  []string
	}{{"open", []string{"open"}}, {"half_open", []string{"half"}}, {"closed", []string{"busy", "a"}}, {"forced", []string{"a"}}, {"all", []string{"open", "half", "busy", "a"}}} {
		b.click(`.tile:has([value="` + tt.state + `"])`)
		b.settle()
		b.wantShown(tt.want...)
		b.wait(fmt.Sprintf(`document.querySelector("#count-%s").textContent === "%d"`, tt.state, len(tt.want)))
	}

	b.slash()
	b.press("FAILURES row")
	b.wantShown("open", "half")
	eval[any](b, "location.reload()")
	b.wait(state("http://open.test", "Open"))
	b.wantShown("open", "half") // as it was
	b.choose("#search", "nothing has this name")
	b.wait(says("#none", "No circuit is like that"))
}

// focus is a condition: the keyboard is at the row of a circuit.
func focus(name string) string {
	return fmt.Sprintf(`document.activeElement.matches("#rows .key") && document.activeElement.textContent === "http://%s.test"`, name)
}

func TestKeyboard(t *testing.T) {
	c := newCircuits(t).serve()
	for i := range 60 {
		c.succeed(fmt.Sprintf("http://h%02d.test", i))
	}
	b := open(t, c.url, look{})
	b.wait(state("http://h00.test", "Closed"))
	b.slash()
	b.wait(`document.activeElement.id === "search" && document.activeElement.value === ""`)
	for range 20 { // the list is one stop of the Tab key
		if eval[bool](b, focus("h00")) {
			break
		}
		b.press(kb.Tab)
	}
	b.wait(focus("h00"))
	b.press(kb.ArrowDown + kb.ArrowDown)
	b.wait(focus("h02"))
	b.press(kb.ArrowUp)
	b.wait(focus("h01"))
	b.press(kb.End)
	b.wait(focus("h59"))
	inSight := `(() => { const r = document.activeElement.getBoundingClientRect(); return r.top >= 40 && r.bottom <= innerHeight; })()`
	b.wait(inSight)
	b.press(kb.Home)
	b.wait(focus("h00") + " && " + inSight)
	b.press(kb.PageDown)
	b.wait("!(" + focus("h00") + ") && " + inSight)
	b.press(kb.Home + kb.ArrowDown)
	b.wait(focus("h01"))

	// The focus stays with its circuit, wherever that goes.
	c.trip("http://h30.test")
	b.wait(state("http://h30.test", "Open"))
	b.wait(focus("h01"))
	c.ForceOpen("http://h01.test")
	b.wait(state("http://h01.test", "Open"))
	b.wait(focus("h01"))
	eval[any](b, "scrollTo(0, document.body.scrollHeight)")
	b.settle()
	b.wait(focus("h01"))
	b.press(kb.ArrowDown)
	b.wait(focus("h30") + " && " + inSight)

	// A circuit that leaves the list hands it to the next one.
	b.click(`.tile:has([value="open"])`)
	b.wantShown("h01", "h30")
	eval[any](b, `document.querySelector("#rows .key").focus()`)
	b.wait(focus("h01"))
	c.Reset("http://h01.test")
	b.wait(focus("h30"))

	b.press(enter)
	b.wait(`document.querySelector("#details").open`)
	b.press(escape)
	b.wait(`!document.querySelector("#details").open`)
	b.wait(focus("h30"))
}

// TestScreenReader: the page is a table to those who do not see it, and all
// that can be operated has a name.
func TestScreenReader(t *testing.T) {
	c := newCircuits(t).serve()
	for i := range 50 {
		c.succeed(fmt.Sprintf("http://h%02d.test", i))
	}
	for _, width := range []int64{1280, 390} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			b := open(t, c.url, look{width: width, height: 800})
			b.wait(state("http://h00.test", "Closed"))
			roles := b.accessible()
			if got := roles["table"]; !slices.Equal(got, []string{"Circuits"}) {
				t.Errorf("got tables %q, want one of circuits", got)
			}
			if got := roles["columnheader"]; len(got) != 7 || slices.Contains(got, "") {
				t.Errorf("got column headers %q, want seven with names", got)
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
