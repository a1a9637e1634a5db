package browsertest

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// patience is how long a test waits for what should happen within a second. A busy machine takes
// its time.
const patience = 60 * time.Second

// browser is the context of the one browser of the tests, nil without one.
var browser context.Context

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run starts the browser that CHROMIUM names, or a well-known one.
func run(m *testing.M) int {
	program := os.Getenv("CHROMIUM")
	for _, name := range []string{"chromium", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil && program == "" {
			program = path
		}
	}
	if program == "" {
		return m.Run()
	}
	profile, err := os.MkdirTemp("", "browsertest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(profile)
	allocator, cancel := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(program), chromedp.UserDataDir(profile),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
	)
	defer cancel()
	ctx, cancel := chromedp.NewContext(allocator)
	defer cancel()
	if err := chromedp.Do(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "%s does not start: %v\n", program, err)
		return 1
	}
	defer func() { _ = chromedp.Cancel(ctx) }() // and wait: it still writes into its profile
	browser = ctx
	return m.Run()
}

// A tab is one page of the browser. A test fails if the page complains.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// look is how a page is looked at. The zero value is a desktop, in light.
type look struct {
	width, height int64
	dark          bool
	zone          string // of the clock on the wall; UTC if ""
	excused       string // complaints that contain this are expected
}

// open shows a URL in a tab of its own, until the test ends. Tests reload no page: to ask one that
// is just going away is an error. They open another tab.
func open(t *testing.T, url string, l look) *tab {
	t.Helper()
	if browser == nil {
		if os.Getenv("BREAKERHTTP_REQUIRE_SERVERS") != "" {
			t.Fatal("there is no Chromium: name the program in CHROMIUM")
		}
		t.Skip("there is no Chromium: name the program in CHROMIUM")
	}
	ctx, cancel := chromedp.NewContext(browser)
	b := &tab{t: t, ctx: ctx}
	console := chromedp.Console(ctx)
	t.Cleanup(func() {
		defer cancel()
		b.check(console, l.excused)
	})
	if l.width == 0 {
		l.width, l.height = 1280, 800
	}
	if l.zone == "" {
		l.zone = "Etc/UTC"
	}
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	b.do(chromedp.EmulateViewport(l.width, l.height))
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	call(b, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: l.zone})
	call(b, page.Enable, page.EnableParams{})
	call(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: complainOfViolations})
	b.do(chromedp.Navigate(url))
	return b
}

// complainOfViolations reports what the Content-Security-Policy has stopped.
const complainOfViolations = `document.addEventListener("securitypolicyviolation",
	(e) => console.error("policy violated: " + e.violatedDirective + " " + e.blockedURI + " " + e.sample));`

// check fails the test for what the page has complained of in the console.
func (b *tab) check(console iter.Seq2[chromedp.ConsoleMessage, error], excused string) {
	const end = "the test has ended"
	eval[chromedp.Void](b, fmt.Sprintf("console.debug(%q)", end))
	for m, err := range console {
		if err != nil {
			b.t.Fatal(err)
		}
		if m.Text == end {
			return
		}
		bad := m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleWarning || m.Type == chromedp.ConsoleException
		if bad && (excused == "" || !strings.Contains(m.Text, excused)) {
			b.t.Errorf("the page complains: %v %s", m, m.URL)
		}
	}
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// call makes the browser do what chromedp has no action for.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	if err != nil {
		b.t.Fatal(err)
	}
	return result
}

// eval returns what a JavaScript expression, or a promise of it, yields.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// wait waits until a JavaScript expression is true. One that throws is not: an
// element may not be there yet. It asks from here: a page with this policy
// evaluates no strings.
func (b *tab) wait(condition string) {
	b.t.Helper()
	for end := time.Now().Add(patience); !eval[bool](b, "(() => { try { return Boolean("+condition+"); } catch { return false; } })()"); {
		if time.Now().After(end) {
			b.t.Fatalf("after %v this is not so: %s; the page says:\n%s", patience, condition, eval[string](b, "document.body.innerText.slice(0, 3000)"))
		}
		<-time.After(20 * time.Millisecond)
	}
}

// click clicks on what a selector finds, as a mouse does.
func (b *tab) click(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector)))
}

// press types keys, wherever the focus is.
func (b *tab) press(keys string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys))
}

// accessible returns the names of all that a screen reader finds, by role.
func (b *tab) accessible() map[string][]string {
	b.t.Helper()
	roles := map[string][]string{}
	for _, n := range call(b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
		if n.Ignored || n.Role == nil {
			continue
		}
		var role, name string
		_ = json.Unmarshal(n.Role.Value, &role)
		if n.Name != nil {
			_ = json.Unmarshal(n.Name.Value, &name)
		}
		roles[role] = append(roles[role], name)
	}
	return roles
}
