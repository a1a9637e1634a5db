package browsertest

import (
	"fmt"
	"testing"

	"github.com/breakerhttp/breakerhttp/dashboard"
)

// box is where an element is.
type box struct{ Left, Top, Right, Bottom float64 }

func (b *tab) box(selector string) box {
	b.t.Helper()
	return eval[box](b, fmt.Sprintf(`(() => {
		const {left, top, right, bottom} = document.querySelector(%q).getBoundingClientRect();
		return {Left: left, Top: top, Right: right, Bottom: bottom};
	})()`, selector))
}

// TestLayout: circuits come before transitions where both do not fit, a table is one from 820
// pixels on, and a wide screen is for the strip.
func TestLayout(t *testing.T) {
	url := replayNight(t)
	for _, tt := range []struct {
		width                        int64
		circuitsFirst, table, totals bool
		strip                        float64 // at least this share of the width
	}{
		{390, true, false, false, 0.8},
		{820, true, true, false, 0.1},
		{1280, false, true, true, 0.15},
		{1920, false, true, true, 0.4},
	} {
		t.Run(fmt.Sprint(tt.width), func(t *testing.T) {
			b := open(t, url, look{width: tt.width, height: 900})
			b.wait(`document.querySelectorAll("#rows tr[data-state=open]").length >= 3`)
			if got := b.box(".log").Top > b.box("#circuits").Bottom; got != tt.circuitsFirst {
				t.Errorf("circuits above transitions: got %t, want %t", got, tt.circuitsFirst)
			}
			state, strip := b.box("#rows td.state"), b.box("#rows td.strip")
			if got := state.Top < strip.Bottom && strip.Top < state.Bottom; got != tt.table {
				t.Errorf("cells beside each other: got %t, want %t", got, tt.table)
			}
			if head := b.box("#circuits thead"); (head.Bottom-head.Top > 20) != tt.table {
				t.Errorf("got a head %.0f high, want one that is seen: %t", head.Bottom-head.Top, tt.table)
			}
			if got := eval[bool](b, `document.querySelector("#rows .totals").checkVisibility()`); got != tt.totals {
				t.Errorf("totals are seen: got %t, want %t", got, tt.totals)
			}
			if got := (strip.Right - strip.Left) / float64(tt.width); got < tt.strip {
				t.Errorf("the strip has %.2f of the width, want %.2f", got, tt.strip)
			}
			b.checkLayout()
		})
	}
}

// TestEmpty: the page of a Transport without circuits says so, and draws no line of an empty table.
func TestEmpty(t *testing.T) {
	b := open(t, newCircuits(t).serve().url, look{width: 390, height: 800})
	b.wait(says("#none", "There is no circuit yet: no request has been made."))
	if rows := b.box("#rows"); rows.Bottom > rows.Top {
		t.Errorf("the table without rows is %.0f high, want 0", rows.Bottom-rows.Top)
	}
	b.checkLayout()
}

// TestColoursOfTransitions: a transition has the colour of the state that it led to, not of the
// state that the circuit is in now.
func TestColoursOfTransitions(t *testing.T) {
	const host = "http://a.test"
	for _, dark := range []bool{false, true} {
		c := newCircuits(t).serve(dashboard.WithControls())
		c.trip(host)
		c.Reset(host)
		b := open(t, c.url, look{dark: dark})
		b.wait(state(host, "Closed"))
		b.click("#rows .key")
		b.wait(`document.querySelectorAll("#details-log li").length === 2`)
		colour := func(selector string) string {
			return eval[string](b, fmt.Sprintf(`getComputedStyle(document.querySelector(%q)).color`, selector))
		}
		for _, s := range []string{"open", "closed"} {
			want := colour(`.tile[data-state="` + s + `"] .count`)
			for _, list := range []string{"#details-log", "#log"} {
				if got := colour(list + ` li[data-state="` + s + `"] .change`); got != want {
					t.Errorf("%s in %s, dark %t: got %s, want %s", s, list, dark, got, want)
				}
			}
		}
	}
}
