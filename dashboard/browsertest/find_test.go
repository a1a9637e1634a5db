package browsertest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// shown is the list, from top to bottom.
func (b *tab) shown() []string {
	b.t.Helper()
	return eval[[]string](b, `[...document.querySelectorAll("#rows tr")].map((r) => r.querySelector(".key").textContent.replace("http://", "").replace(".test", ""))`)
}

func (b *tab) wantShown(want ...string) {
	b.t.Helper()
	b.wait(fmt.Sprintf(`document.querySelectorAll("#rows tr").length === %d`, len(want)))
	b.settle()
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
		b.wantShown(tt.want...)
		b.wait(fmt.Sprintf(`document.querySelector("#count-%s").textContent === "%d"`, tt.state, len(tt.want)))
	}

	b.slash()
	b.press("FAILURES row")
	b.wantShown("open", "half")
	b = open(t, eval[string](b, "location.href"), look{})
	b.wait(state("http://open.test", "Open"))
	b.wantShown("open", "half") // as it was
	b.choose("#search", "nothing has this name")
	b.wait(says("#none", "No circuit matches"))
}
