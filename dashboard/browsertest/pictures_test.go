package browsertest

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/chromedp/cdproto/page"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/dashboard"
)

var docs = flag.Bool("docs", false, "write the pictures that docs show into docs")

// TestPictures looks at a night in all ways.
func TestPictures(t *testing.T) {
	url := replayNight(t)
	for _, l := range []look{
		{width: 390, height: 844},
		{width: 390, height: 844, dark: true},
		{width: 820, height: 1180},
		{width: 820, height: 1180, dark: true},
		{width: 1280, height: 800},
		{width: 1280, height: 800, dark: true},
		{width: 1920, height: 1080},
		{width: 1920, height: 1080, dark: true},
	} {
		name := fmt.Sprintf("dashboard-%d", l.width)
		if l.dark {
			name += "-dark"
		}
		t.Run(name, func(t *testing.T) {
			b := open(t, url, l)
			b.wait(`document.querySelector("#heard").textContent.startsWith("03:03:1")`)
			b.wait(`document.querySelectorAll("#rows tr[data-state=open]").length >= 3`)
			b.wait(`document.querySelector("#rows path.closed").getAttribute("d").startsWith("M0.00 ")`) // long before it opened
			b.picture(name)
			if l.width == 820 || l.width == 1920 {
				return // what follows looks the same there
			}
			b.click(`#rows tr:nth-child(4) .key`)
			b.wait(`document.querySelector("#details").open && document.querySelectorAll("#details-log li").length > 2`)
			b.picture(name + "-details")
			b.click(`[data-do="force-closed"]`)
			b.picture(name + "-question")
			b.click("#cancel")
			b.click("#close")
			b.click(`[popovertarget=help]`)
			b.picture(name + "-help")
		})
	}
}

// TestPicturesOfDryRun looks at the same night, of a Transport that refuses nothing.
func TestPicturesOfDryRun(t *testing.T) {
	url := replay(t, recordNight(t, breakerhttp.WithDryRun()))
	for _, l := range []look{
		{width: 390, height: 844},
		{width: 1280, height: 800},
		{width: 1280, height: 800, dark: true},
	} {
		name := fmt.Sprintf("dashboard-%d", l.width)
		if l.dark {
			name += "-dark"
		}
		name += "-dry-run"
		t.Run(name, func(t *testing.T) {
			b := open(t, url, l)
			b.wait(`document.querySelectorAll("#rows tr[data-state=open]").length >= 3`)
			b.wait(`document.querySelector("#dry-run").checkVisibility()`)
			b.picture(name)
		})
	}
}

// inDocs are the pictures that docs show.
var inDocs = regexp.MustCompile(`^dashboard-(\d+(-dark)?|1280(-dark)?-(details|dry-run))$`)

// picture checks what is seen, and keeps it.
func (b *tab) picture(name string) {
	b.t.Helper()
	b.settle()
	dir := b.t.ArtifactDir()
	if *docs && inDocs.MatchString(name) {
		dir = filepath.Join("..", "..", "docs")
	}
	b.save(filepath.Join(dir, name+".png"))
	b.checkLayout()
}

// checkLayout checks that nothing is too wide, and that all text stands out from
// what is behind it by the 4.5 to 1 that WCAG asks for.
func (b *tab) checkLayout() {
	b.t.Helper()
	if eval[bool](b, "document.documentElement.scrollWidth > innerWidth") {
		b.t.Error("the page scrolls sideways")
	}
	for _, faint := range eval[[]string](b, faintTexts) {
		b.t.Errorf("hard to read: %s", faint)
	}
}

const faintTexts = `(() => {
	const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
	const paint = (color) => { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); };
	const luminance = () => {
		const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const parents = (e) => (e === null ? [] : [...parents(e.parentElement), e]);
	const faint = new Set();
	const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (texts.nextNode()) {
		const e = texts.currentNode.parentElement;
		if (texts.currentNode.data.trim() === "" || !e.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
		parents(e).forEach((p) => paint(getComputedStyle(p).backgroundColor));
		const back = luminance();
		paint(getComputedStyle(e).color);
		const [light, dark] = [back, luminance()].sort((a, b) => b - a);
		const contrast = (light + 0.05) / (dark + 0.05);
		if (contrast < 4.5) faint.add(contrast.toFixed(1) + " " + e.outerHTML.slice(0, 80));
	}
	return [...faint];
})()`

// replay serves the page with recorded events.
func replay(t *testing.T, events []byte) (url string) {
	transport, err := breakerhttp.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", dashboard.Handler(transport, dashboard.WithControls()))
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = w.Write(events)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// save writes a screenshot to a file, a small one if it is for docs.
func (b *tab) save(path string) {
	b.t.Helper()
	shot := call(b, page.CaptureScreenshot, page.CaptureScreenshotParams{}).Data
	if *docs {
		shot = shrink(b.t, shot)
	}
	if err := os.WriteFile(path, shot, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func shrink(t *testing.T, shot []byte) []byte {
	t.Helper()
	picture, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		t.Fatal(err)
	}
	var small bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&small, fewColors(picture)); err != nil {
		t.Fatal(err)
	}
	return small.Bytes()
}

// fewColors makes a picture small: in 256 colours, none of them far from the one
// that it stands for.
func fewColors(picture image.Image) image.Image {
	uses := map[color.Color]int{}
	bounds := picture.Bounds()
	for y := range bounds.Dy() {
		for x := range bounds.Dx() {
			uses[picture.At(x, y)]++
		}
	}
	most := slices.SortedFunc(maps.Keys(uses), func(a, b color.Color) int { return cmp.Compare(uses[b], uses[a]) })
	palette := apart(most, 0)
	for distance := 2; len(palette) > 256; distance += 2 {
		palette = apart(most, distance)
	}
	few := image.NewPaletted(bounds, palette)
	draw.Draw(few, bounds, picture, bounds.Min, draw.Src)
	return few
}

// apart returns the first of colours that differ by no more than a distance.
func apart(colors []color.Color, distance int) (chosen color.Palette) {
	for _, c := range colors {
		if len(chosen) == 0 || difference(chosen.Convert(c), c) > distance {
			chosen = append(chosen, c)
		}
	}
	return chosen
}

// difference is that of the channel in which two colours differ most, of 255.
func difference(a, b color.Color) (most int) {
	p, q := color.RGBAModel.Convert(a).(color.RGBA), color.RGBAModel.Convert(b).(color.RGBA)
	for _, d := range []int{int(p.R) - int(q.R), int(p.G) - int(q.G), int(p.B) - int(q.B)} {
		most = max(most, d, -d)
	}
	return most
}
