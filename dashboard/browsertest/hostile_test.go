package browsertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/dashboard"
)

const attack = `<img src=x onerror="globalThis.harmed = true">`

// hostile are keys, and how they are shown.
var hostile = map[string]string{
	attack: attack,
	`"><script>globalThis.harmed = true</script>`: `"><script>globalThis.harmed = true</script>`,
	`</script></title></textarea></svg>` + attack: `</script></title></textarea></svg>` + attack,
	`javascript:globalThis.harmed=true`:           `javascript:globalThis.harmed=true`,
	`' onmouseover='globalThis.harmed=true' x='`:  `' onmouseover='globalThis.harmed=true' x='`,
	`&lt;b&gt;`: `&lt;b&gt;`,
	`{{constructor.constructor("harmed=true")()}}`: `{{constructor.constructor("harmed=true")()}}`,
	"__proto__":                           "__proto__",
	"constructor":                         "constructor",
	"line\nbreak\r\n\r\ndata: x":          `line\u{a}break\u{d}\u{a}\u{d}\u{a}data: x`,
	"\u202egnp.live//:sptth":              `\u{202e}gnp.live//:sptth`,
	"zero\x00width\u200bspace":            `zero\u{0}width\u{200b}space`,
	"http://" + strings.Repeat("a", 5000): "http://" + strings.Repeat("a", 5000),
	"\xff":                                `\xff`,
	"\xfe":                                `\xfe`,
	`\xff`:                                `\\xff`,
}

// byHeader makes any text a key.
func byHeader(req *http.Request) string {
	key, _ := url.QueryUnescape(req.Header.Get("Key"))
	return key
}

// TestHostileKeys: whatever a key or an error says is text, and a control acts
// on that key and no other.
func TestHostileKeys(t *testing.T) {
	for _, width := range []int64{1280, 390} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			c := newCircuits(t, breakerhttp.WithKey(byHeader)).serve(dashboard.WithControls())
			for key := range hostile {
				for range 5 {
					c.request("http://a.test", http.Header{"Key": {url.QueryEscape(key)}, "Fail": {attack}})
				}
			}
			b := open(t, c.url, look{width: width, height: 4000})
			b.wait(fmt.Sprintf(`document.querySelectorAll("#rows tr[data-state=open]").length === %d`, len(hostile)))
			b.wait(fmt.Sprintf(`document.querySelectorAll("#log li").length === %d`, len(hostile)))
			shown := eval[[]string](b, `[...document.querySelectorAll("#rows .key")].map((e) => e.textContent)`)
			texts := map[string]bool{}
			for _, s := range shown {
				texts[s] = true
			}
			for key, text := range hostile {
				if !texts[text] {
					t.Errorf("key %.40q is not shown as %.40q", key, text)
				}
				b.forceFromPage(t, c, key, text)
			}
			if n := eval[int](b, `document.querySelectorAll("img, script:not([src='dashboard.js'])").length`); n != 0 {
				t.Errorf("got %d elements made of text", n)
			}
			if eval[bool](b, "globalThis.harmed === true") {
				t.Error("text was run as a script")
			}
			b.checkLayout()
		})
	}
}

// forceFromPage opens the circuit of a key by hand, in the page.
func (b *tab) forceFromPage(t *testing.T, c *circuits, key, text string) {
	t.Helper()
	c.Reset(key)
	before := c.forced()
	quoted, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	eval[any](b, fmt.Sprintf(`[...document.querySelectorAll("#rows .key")].find((e) => e.textContent === %s)?.click()`, quoted))
	b.wait(fmt.Sprintf(`document.querySelector("#details-key").textContent === %s && document.querySelector("#details").open`, quoted))
	b.click(`[data-do="force-open"]`)
	b.wait(fmt.Sprintf(`document.querySelector("#question").textContent.includes(%s)`, quoted))
	b.checkLayout()
	b.click("#go")
	b.wait(says("#outcome", "Done"))
	c.wantState(key, breakerhttp.StateOpen, true)
	if got := c.forced(); got != before+1 {
		t.Errorf("key %.40q: got %d circuits forced, want %d", key, got, before+1)
	}
	b.click("#close")
}

// forced returns how many circuits are.
func (c *circuits) forced() (n int) {
	for s := range c.Snapshots() {
		if s.Forced {
			n++
		}
	}
	return n
}

// TestHostileLink: a link that asks for what there is not shows the page as it is.
func TestHostileLink(t *testing.T) {
	c := newCircuits(t).serve()
	c.succeed("http://a.test")
	b := open(t, c.url+"#sort=constructor&state=__proto__&length=3&search=", look{})
	b.wait(state("http://a.test", "Closed"))
}
