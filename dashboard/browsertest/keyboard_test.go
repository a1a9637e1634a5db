package browsertest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp/kb"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/dashboard"
)

const (
	enter  = kb.Enter
	escape = kb.Escape
)

// slash types a slash, which the page may take for itself: press sends its
// character in any case.
func (b *tab) slash() {
	b.t.Helper()
	call(b, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: "/", Text: "/"})
	call(b, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyUp, Key: "/"})
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

// stops presses Tab until it comes round, and returns where it stops. Who does
// so must see where.
func (b *tab) stops() (names []string) {
	b.t.Helper()
	for {
		b.press(kb.Tab)
		name := eval[string](b, "("+nameOf+")(document.activeElement)")
		if slices.Contains(names, name) {
			return names
		}
		names = append(names, name)
		if !eval[bool](b, seen) {
			b.t.Errorf("Tab stops at %q, which cannot be seen", name)
		}
	}
}

// operable returns what can be operated of what a selector finds, with one name
// for all of a group of radio buttons, for they are one stop.
func (b *tab) operable(selector string) []string {
	b.t.Helper()
	return eval[[]string](b, fmt.Sprintf(`(() => {
		const all = document.querySelector(%q).querySelectorAll("a, button, input, select, summary, [tabindex]");
		return [...new Set([...all].filter((e) => e.checkVisibility() && (e.tabIndex >= 0 || !e.closest("#rows"))).map(%s))];
	})()`, selector, nameOf))
}

const seen = `(() => {
	const e = document.activeElement;
	const {x, y, width, height} = e.getBoundingClientRect();
	return e === document.body || e.contains(document.elementFromPoint(x + width / 2, y + height / 2));
})()`

const nameOf = `(e) => e.matches("#rows .key") ? "row" : e.type === "radio" ? e.name : e.id || e.dataset.do
	|| (e.dataset.sort ? "by " + e.dataset.sort : e === document.body ? "body" : e.textContent.trim())`

// TestTab: all that can be operated is a stop of the Tab key. In the list that is
// one row, from which the arrows lead on.
func TestTab(t *testing.T) {
	const host = "http://a.test"
	for _, width := range []int64{1280, 390} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			c := newCircuits(t).serve(dashboard.WithControls())
			c.succeed(host)
			c.succeed("http://b.test")
			b := open(t, c.url, look{width: width, height: 800})
			b.wait(state(host, "Closed"))
			wantStops := func(where, selector string, atLeast int) {
				t.Helper()
				got, want := b.stops(), b.operable(selector)
				if len(want) < atLeast {
					t.Errorf("%s: got %q to operate, want at least %d", where, want, atLeast)
				}
				for _, name := range want {
					if !slices.Contains(got, name) {
						t.Errorf("%s: Tab stops at %q, not at %q", where, got, name)
					}
				}
			}
			wantStops("page", "body", 13)
			b.checkLayout()

			eval[any](b, `document.querySelector("#rows .key").focus()`)
			b.press(enter)
			b.wait(`document.querySelector("#details").open`)
			wantStops("dialog", "#details", 4)
			eval[any](b, `document.querySelector("[data-do=reset]").focus()`)
			b.press(enter)
			b.wait(`document.activeElement.id === "cancel"`)
			wantStops("question", "#details", 6)
			b.press(escape + escape)
			b.wait(`!document.querySelector("#details").open && document.activeElement.matches("#rows .key")`)

			eval[any](b, `document.querySelector("[popovertarget=help]").focus()`)
			b.press(enter)
			b.wait(`document.querySelector("#help").checkVisibility()`)
			b.press(kb.Tab)
			b.wait(`document.activeElement.closest("#help") !== null`) // at once, not after all else
			b.press(escape)
			b.wait(`!document.querySelector("#help").checkVisibility() && document.activeElement.textContent === "Help"`)
		})
	}
}

// TestKeyboardOperates finds, sorts and forces without a mouse.
func TestKeyboardOperates(t *testing.T) {
	c := newCircuits(t).serve(dashboard.WithControls())
	c.succeed("http://a.test")
	c.succeed("http://b.test")
	c.ForceOpen("http://c.test")
	b := open(t, c.url, look{})
	b.wait(state("http://a.test", "Closed"))
	b.wantShown("c", "a", "b")
	at := func(selector string) {
		t.Helper()
		eval[any](b, fmt.Sprintf("document.querySelector(%q).focus()", selector))
	}
	for _, tt := range []struct {
		at, press string
		want      []string
	}{
		{"[name=state]:checked", kb.ArrowRight, []string{"c"}},                           // open
		{"[name=state]:checked", kb.ArrowRight + kb.ArrowRight, []string{"a", "b"}},      // closed
		{"[name=state]:checked", kb.ArrowRight + kb.ArrowRight, []string{"c", "a", "b"}}, // forced, all
		{"#sort", "C", []string{"a", "b", "c"}},                                          // circuit
		{"#reverse", " ", []string{"c", "b", "a"}},
		{`[data-sort="key"]`, enter, []string{"a", "b", "c"}},
		{`[data-sort="state"]`, " ", []string{"c", "a", "b"}},
		{"#search", "b.te", []string{"b"}},
		{"#search", kb.Backspace + kb.Backspace + kb.Backspace + kb.Backspace, []string{"c", "a", "b"}},
	} {
		at(tt.at)
		b.press(tt.press)
		b.wantShown(tt.want...)
	}

	at("[name=state]:checked")
	for range 20 {
		if eval[bool](b, `document.activeElement.matches("#rows .key")`) {
			break
		}
		b.press(kb.Tab)
	}
	b.press(kb.Home + kb.ArrowDown)
	b.wait(focus("a"))
	b.press(enter)
	b.wait(`document.querySelector("#details").open`)
	for range 4 {
		if eval[string](b, `document.activeElement.textContent`) == "Force open\u2026" {
			break
		}
		b.press(kb.Tab)
	}
	b.press(enter)
	b.wait(`document.activeElement.id === "cancel"`)
	b.press(kb.Tab + enter)
	b.wait(says("#outcome", "Done: open, forced."))
	c.wantState("http://a.test", breakerhttp.StateOpen, true)
	b.press(escape)
	b.wait(focus("a"))
}
