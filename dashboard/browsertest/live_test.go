package browsertest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/servertest"
	"github.com/breakerhttp/breakerhttp/store/storetest"
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
	c := newCircuits(t, breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: 8 * time.Second})).serve()
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
	b.record("probes", "#rows .until")

	c.trip(host)
	b.wait(state(host, "Open"))
	for _, now := range []string{
		says("#rows .reason", "5 failures in a row"),
		says("#rows .judged", "5 in a row"),
		says("#rows .more", "5 of 6 failed"),
		says("#rows .until", "probe in "),
		says("#count-open", "1"),
		says("title", "(1 open)"),
		says("#log li .to", "Open for 8s"),
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
	b.wantCountdown("probes", 8)
	release = c.hang(host)
	b.wait(says("#rows .until", "probe under way"))
	release()
	b.wait(says("#rows .until", "next request"))
	c.succeed(host)
	b.wait(state(host, "Closed"))
	b.wait(says("#rows .reason", "last opened: 5 failures in a row"))
	b.wait(`document.querySelector("#icon").getAttribute("href") === "icon.svg" && document.title.startsWith("Circuits of default on ")`)
	b.wait(says("#announcer", host+" is closed"))
}

// record keeps all texts that an element has from now on.
func (b *tab) record(name, selector string) {
	b.t.Helper()
	eval[any](b, fmt.Sprintf(`(() => {
		const element = document.querySelector(%q);
		globalThis[%q] = [];
		new MutationObserver(() => globalThis[%q].push(element.textContent)).observe(element, {childList: true});
	})()`, selector, name, name))
}

// wantCountdown checks that the next probe came nearer second by second. A busy
// machine may leave some out.
func (b *tab) wantCountdown(name string, from int) {
	b.t.Helper()
	texts, seen, last := eval[[]string](b, name), 0, from+1
	for _, s := range texts {
		var left int
		if n, _ := fmt.Sscanf(s, "probe in %ds", &left); n != 1 {
			continue
		}
		if left > last || left < 1 {
			b.t.Errorf("got the countdown %q, want it to fall from %d", texts, from)
		}
		seen, last = seen+1, left
	}
	if seen < from/2 {
		b.t.Errorf("got the countdown %q, want it to go on every second", texts)
	}
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
	b.wait(focus("b")) // the keyboard was at the row that has gone
}

// TestHistory: what happened before the page was opened is in the strip as far
// as the Transport remembers, and requests only from then on. It is not news.
func TestHistory(t *testing.T) {
	const host, other = "http://a.test", "http://b.test"
	c := newCircuits(t, breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: time.Millisecond})).serve()
	c.trip(host)
	<-time.After(10 * time.Millisecond)
	c.succeed(host)
	c.succeed(other)
	b := open(t, c.url, look{})
	b.record("announced", "#announcer")
	b.wait(state(host, "Closed"))
	path := func(row int, name string) string {
		return fmt.Sprintf("document.querySelectorAll('#rows tr')[%d].querySelector('path.%s').getAttribute('d')", row, name)
	}
	b.wait(path(0, "open") + " !== '' && " + path(0, "half_open") + " !== ''")
	for row := range 2 { // nothing is known of the time before the first request
		b.wait(path(row, "closed") + " !== '' && !" + path(row, "closed") + ".startsWith('M0.00 ')")
	}
	for _, name := range []string{"ok", "failed", "refused"} {
		b.wait(path(0, name) + " === ''")
	}
	b.wait(`document.querySelectorAll("#log li").length === 3`)

	c.succeed(host)
	b.wait(path(0, "ok") + " !== ''")
	b.wait(`document.querySelector("#rows svg[role=img]").ariaLabel.includes("1 ok, 0 failed, 0 refused")`)
	c.ForceOpen(other)
	b.wait(`announced.length > 0`)
	if got := eval[[]string](b, "announced"); !slices.Equal(got, []string{other + " is open"}) {
		t.Errorf("got %q announced, want only what has happened since", got)
	}
}

// TestWallClock: all times are those of the clock where the page is looked at.
func TestWallClock(t *testing.T) {
	const host = "http://a.test"
	c := newCircuits(t).serve()
	c.trip(host)
	b := open(t, c.url, look{zone: "Asia/Kolkata"})
	b.wait(state(host, "Open"))
	at := c.Transitions()[0].At.In(time.FixedZone("", 5*3600+30*60))
	b.wait(says("#log time", at.Format(time.TimeOnly)))
	b.click("#rows .key")
	b.wait(says("#details .since", at.Format("2 Jan 2006, 15:04:05")+" GMT+5:30, "))
	b.wait(says("#details .until", at.Add(time.Minute).Format("2 Jan 2006, 15:04:05")+" GMT+5:30"))
}

// TestMeasure: a circuit that is not closed shows what opened it, a closed one what may.
func TestMeasure(t *testing.T) {
	ratio := breakerhttp.Policy{ConsecutiveFailures: -1, FailureRatio: 0.5, MinRequests: 4}
	c := newCircuits(t,
		breakerhttp.WithHostPolicy("ratio.test", ratio),
		breakerhttp.WithHostPolicy("slow.test", breakerhttp.Policy{SlowRatio: 0.5, SlowAfter: 10 * time.Millisecond, MinRequests: 2}),
		breakerhttp.WithHostPolicy("custom.test", breakerhttp.Policy{TripWhen: func(n breakerhttp.Counts) bool { return n.Failures == 2 }}),
		breakerhttp.WithHostPolicy("again.test", breakerhttp.Policy{OpenFor: time.Millisecond}),
	).serve()
	fail := http.Header{"Fail": {"no route"}}
	c.trip("http://again.test")
	<-time.After(2 * time.Millisecond)
	c.request("http://again.test", fail) // a probe
	c.succeed("http://ratio.test")
	for range 3 {
		c.request("http://ratio.test", fail)
	}
	for range 2 {
		c.request("http://slow.test", http.Header{"Slow": {"20ms"}})
	}
	c.request("http://custom.test", fail)
	c.request("http://custom.test", fail)
	c.succeed("http://row.test")
	c.trip("http://row.test")
	c.ForceOpen("http://forced.test")
	for range 7 {
		c.succeed("http://fine.test")
	}
	c.request("http://fine.test", fail)
	c.request("http://run.test", fail)
	c.request("http://run.test", fail)
	c.ForceClosed("http://idle.test")
	b := open(t, c.url, look{})
	b.wait(`document.querySelectorAll("#rows tr").length === 9`)
	for host, want := range map[string]string{
		"ratio":  "3 of 4 failed, 75%",
		"slow":   "2 of 2 slow, 100%",
		"custom": "TripWhen, 2 of 2 failed",
		"row":    "5 in a row, 5 of 6 failed",
		"again":  "5 in a row, 5 of 5 failed",
		"forced": "forced, ",
		"fine":   "1 of 8 failed, 13%",
		"run":    "2 in a row, 2 of 2 failed",
		"idle":   "\u2013, ",
	} {
		if got := b.measure("http://" + host + ".test"); got != want {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
}

func (b *tab) measure(key string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf(`(() => {
		const row = [...document.querySelectorAll("#rows tr")].find((r) => r.querySelector(".key").textContent === %q);
		return row.querySelector(".judged").textContent + ", " + row.querySelector(".more").textContent;
	})()`, key))
}

// TestDryRun: a page of circuits that refuse nothing says so.
func TestDryRun(t *testing.T) {
	const host = "http://a.test"
	for _, tt := range []struct {
		opts []breakerhttp.Option
		want bool
	}{{nil, false}, {[]breakerhttp.Option{breakerhttp.WithDryRun()}, true}} {
		c := newCircuits(t, tt.opts...).serve()
		b := open(t, c.url, look{})
		c.trip(host)
		b.wait(state(host, "Open"))
		if got := eval[bool](b, `document.querySelector("#dry-run").checkVisibility()`); got != tt.want {
			t.Errorf("got a banner %t, want %t", got, tt.want)
		}
	}
}

// TestPolicy: the dialog says in words what the policy of a circuit does.
func TestPolicy(t *testing.T) {
	c := newCircuits(t, breakerhttp.WithHostPolicy("b.test", breakerhttp.Policy{Adaptive: true})).serve()
	c.succeed("http://a.test")
	c.succeed("http://b.test")
	b := open(t, c.url, look{})
	b.wait(state("http://b.test", "Closed"))
	for i, want := range []string{"opens after 5 failures in a row; open 60 s", "or when the host falls silent; "} {
		b.click(fmt.Sprintf("#rows tr:nth-child(%d) .key", i+1))
		b.wait(says("#details .policy", want))
		b.click("#close")
	}
}

// TestLimited: a host that asks for less is seen to, and so is a circuit that recovers.
func TestLimited(t *testing.T) {
	const host = "http://a.test"
	c := newCircuits(t, breakerhttp.WithPolicy(breakerhttp.Policy{Adaptive: true}), breakerhttp.WithClassifier(breakerhttp.LimitedStatus(429))).serve()
	c.succeed(host)
	c.request(host, http.Header{"Status": {"429"}})
	b := open(t, c.url, look{})
	b.wait(state(host, "Closed"))
	b.wait(says("#rows .limited", "1"))
	b.wait(`!document.querySelector("#rows .ignored").checkVisibility()`)
	c.request(host, http.Header{"Status": {"429"}, "Retry-After": {"3"}})
	b.wait(state(host, "Open"))
	b.wait(says("#rows .judged", "asked for less"))
	b.wait(says("#rows .until", "closes in "))
	b.wait(state(host, "Closed"))
	b.wait(says("#rows .in_flight", "0 of 16"))
	b.wait(says("#rows .reason", "recovering: at most 16 in flight"))
}

// TestLimitedProbe: a host that answers a probe by asking for less closes its circuit after that time.
func TestLimitedProbe(t *testing.T) {
	const host = "http://a.test"
	c := newCircuits(t, breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: time.Second}), breakerhttp.WithClassifier(breakerhttp.LimitedStatus(429))).serve()
	c.trip(host)
	b := open(t, c.url, look{})
	b.wait(state(host, "Half-open"))
	c.request(host, http.Header{"Status": {"429"}, "Retry-After": {"60"}})
	b.wait(state(host, "Open"))
	b.wait(says("#rows .until", "closes in "))
}

// TestProbeOfAdaptive: an Adaptive circuit records no transition for a probe.
func TestProbeOfAdaptive(t *testing.T) {
	const host = "http://a.test"
	c := newCircuits(t, breakerhttp.WithPolicy(breakerhttp.Policy{Adaptive: true})).serve()
	for range 3 {
		c.trip(host)
	}
	b := open(t, c.url, look{})
	b.wait(state(host, "Half-open"))
	b.wait(says("#rows .until", "probe: next request"))
	defer c.hang(host)()
	b.wait(says("#rows .until", "probe under way"))
}

// TestProbeElsewhere: while another process probes a shared circuit, nobody knows when this one may.
func TestProbeElsewhere(t *testing.T) {
	const host = "http://a.test"
	store := storetest.NewMemory()
	process := func(name string) *circuits {
		return newCircuits(t, breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: time.Second}),
			breakerhttp.WithStore(store, breakerhttp.Sharing{Instance: name, Quorum: 1, ReadTimeout: patience, WriteTimeout: patience}))
	}
	c, other := process("this").serve(), process("other")
	c.trip(host)
	other.trip(host)
	b := open(t, c.url, look{})
	b.wait(state(host, "Half-open"))
	defer other.hang(host)()
	servertest.Eventually(t, "the other process to probe", func() error {
		if s, _ := other.Snapshot(host); s.InFlight != 1 {
			return fmt.Errorf("%d requests are in flight", s.InFlight)
		}
		return nil
	})
	c.succeed(host) // is refused
	b.wait(state(host, "Open"))
	b.wait(says("#rows .until", "another process probes"))
	b.click("#rows .key")
	b.wait(says("#details .countdown", "another process probes"))
}

// TestOutage: an adaptive circuit is open for as long as its outage lasts, probes or not.
func TestOutage(t *testing.T) {
	const host = "http://a.test"
	c := newCircuits(t, breakerhttp.WithPolicy(breakerhttp.Policy{Adaptive: true})).serve()
	fail := http.Header{"Fail": {"no route"}}
	for range 12 {
		c.request(host, fail)
	}
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		c.request(host, fail)
	}
	for len(c.Transitions()) < 2 { // the next probe is within a second
		c.succeed(host)
		<-time.After(20 * time.Millisecond)
	}
	b := open(t, c.url, look{})
	b.wait(state(host, "Closed"))
	label := eval[string](b, `document.querySelector("#rows svg[role=img]").ariaLabel`)
	if !strings.Contains(label, ", Open ") || strings.Contains(label, "Half-open") {
		t.Errorf("the strip shows %q, want that the circuit was open", label)
	}
}

// TestFailing: a closed circuit whose requests are failing now stands out, and above the healthy
// ones.
func TestFailing(t *testing.T) {
	c := newCircuits(t).serve()
	c.succeed("http://a.test")
	c.succeed("http://m.test")
	c.succeed("http://z.test")
	fail := http.Header{"Fail": {"no route"}}
	c.request("http://r.test", fail)
	c.request("http://r.test", fail)
	b := open(t, c.url, look{})
	b.wait(state("http://z.test", "Closed"))
	b.wantShown("r", "a", "m", "z") // of r the page has seen no request, but a run
	failing := func(name string) string {
		return fmt.Sprintf(`[...document.querySelectorAll("#rows tr[data-failing=true]")].some((r) => r.querySelector(".key").textContent === "http://%s.test" && r.querySelector(".tag.failing").textContent === "failing")`, name)
	}

	c.succeed("http://r.test")
	b.wait("!" + failing("r"))
	c.request("http://z.test", fail)
	c.request("http://z.test", fail) // two in a row
	for range 3 {
		c.request("http://m.test", fail)
		c.succeed("http://m.test") // never in a row, but half of them
	}
	b.wait(failing("z") + " && " + failing("m"))
	b.wantShown("m", "z", "a", "r")
	tint := func(i int) string {
		return eval[string](b, fmt.Sprintf(`getComputedStyle(document.querySelectorAll("#rows tr")[%d]).background`, i))
	}
	if got, healthy := tint(0), tint(2); got == healthy {
		t.Errorf("got the tint %s for a failing circuit as for a healthy one", got)
	}

	c.succeed("http://z.test")
	b.wait("!" + failing("z"))
	b.wait("!" + failing("m")) // ten seconds later
	b.wantShown("a", "m", "r", "z")
}

// TestStripScale: the strips cover the time that the process has lived, at most ten minutes.
func TestStripScale(t *testing.T) {
	c := newCircuits(t).serve()
	c.succeed("http://a.test")
	b := open(t, c.url, look{})
	b.wait(says("th.strip", "Last minute"))
	b.wait(`document.querySelector("#rows svg[role=img]").ariaLabel.startsWith("Of the last minute: Closed ")`)
	b.click("#rows .key")
	b.wait(says("#details-ago", "1 minute ago"))
	old := open(t, replayNight(t), look{})
	old.wait(says("th.strip", "Last 10 minutes"))
	old.click("#rows .key")
	old.wait(says("#details-ago", "10 minutes ago"))
}
