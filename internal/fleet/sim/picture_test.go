package sim

import (
	"fmt"
	"slices"
	"strings"
	"text/template"
	"time"
)

// A panel is a part of the picture: hits on the dead host, added up, since the beginning of an
// outage.
type panel struct {
	Title         string
	X, Y          int // of its lower left corner
	Width, Height int
	span          time.Duration
	step          time.Duration // between two marks on the time axis
	top           int
	Marks         []mark // on the time axis
	Lines         []mark // across
	Notes         []mark // below the curve of the processes on their own, and above the other curve
	Alone, Shared curve
}

// A mark has a place, in pixels, and what is written there.
type mark struct {
	At   int
	Text string
}

// A curve is the outline of a number of hits that grows.
type curve struct {
	Path, Area string
	Y          int // of its end
	Hits       string
}

// picture shows what reaches a host that is down, in one outage.
func picture(alone, shared []time.Duration) string {
	panels := []*panel{
		{Title: "The first five seconds", X: 82, Y: 400, Width: 236, Height: 250, span: 5 * time.Second, step: time.Second, top: 5000},
		{Title: "The whole outage", X: 484, Y: 400, Width: 340, Height: 250, span: 10*time.Minute + openFor, step: 2 * time.Minute, top: 25_000},
	}
	for _, p := range panels {
		p.Alone, p.Shared = p.curve(alone), p.curve(shared)
		for i := range 6 {
			at := time.Duration(i) * p.step
			text := fmt.Sprint(at.Seconds(), " s")
			if p.step >= time.Minute {
				text = fmt.Sprint(at.Minutes(), " min")
			}
			p.Marks = append(p.Marks, mark{p.x(at), text})
			p.Lines = append(p.Lines, mark{p.y(i * p.top / 5), thousands(i * p.top / 5)})
		}
	}
	long := panels[1]
	long.Notes = []mark{{long.y(7500), "every process probes, every 30 s"}, {long.y(3000), "2 probes for all, every 30 s"}}
	var b strings.Builder
	if err := template.Must(template.New("").Parse(drawing)).Execute(&b, panels); err != nil {
		panic(err)
	}
	return b.String()
}

func (p *panel) x(at time.Duration) int { return p.X + int(at*time.Duration(p.Width)/p.span) }

func (p *panel) y(hits int) int { return p.Y - hits*p.Height/p.top }

func (p *panel) curve(hits []time.Duration) curve {
	hits = slices.Sorted(slices.Values(hits))
	var path strings.Builder
	fmt.Fprintf(&path, "M%d %d", p.X, p.Y)
	n, last := 0, p.Y
	for x := p.X; x <= p.X+p.Width; x++ {
		for n < len(hits) && hits[n] <= p.span && p.x(hits[n]) <= x {
			n++
		}
		if y := p.y(n); y != last {
			fmt.Fprintf(&path, "H%dV%d", x, y)
			last = y
		}
	}
	fmt.Fprintf(&path, "H%d", p.X+p.Width)
	return curve{path.String(), fmt.Sprintf("%sV%dZ", &path, p.Y), last, thousands(n)}
}

const drawing = `<svg xmlns="http://www.w3.org/2000/svg" width="960" height="460" viewBox="0 0 960 460" role="img" aria-labelledby="title text">
<title id="title">What reaches a host that is down, added up</title>
<desc id="text">1,000 processes at 2 requests a second, in the first five seconds and in an outage of ten minutes:{{range .}} {{.Alone.Hits}} hits if each is on its own, {{.Shared.Hits}} if they share;{{end}} simulated.</desc>
<style>
text { font: 13px system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Helvetica, Arial, sans-serif; fill: #59636e }
.head { font-size: 20px; font-weight: 600; fill: #1f2328 }
.name { font-size: 14px; font-weight: 600; fill: #1f2328 }
.card { fill: #ffffff; stroke: #d1d9e0 }
.below { fill: #ffffff }
.line { stroke: #d1d9e0 }
.base { stroke: #818b98 }
.curve { fill: none; stroke-width: 2.5; stroke-linejoin: round }
.area { opacity: .12 }
.end { font-size: 14px; font-weight: 600 }
.alone.curve { stroke: #bc4c00 } .alone.area, .alone.end { fill: #bc4c00 }
.shared.curve { stroke: #0969da } .shared.area, .shared.end { fill: #0969da }
@media (prefers-color-scheme: dark) {
text { fill: #9198a1 }
.head, .name { fill: #f0f6fc }
.card { fill: #0d1117; stroke: #3d444d }
.below { fill: #0d1117 }
.line { stroke: #2a313c }
.base { stroke: #656c76 }
.area { opacity: .18 }
.alone.curve { stroke: #f0883e } .alone.area, .alone.end { fill: #f0883e }
.shared.curve { stroke: #58a6ff } .shared.area, .shared.end { fill: #58a6ff }
}
</style>
<rect class="card" x=".5" y=".5" width="959" height="459" rx="12"/>
<text class="head" x="32" y="45">What reaches a host that is down, added up</text>
<text x="32" y="69">1,000 processes, each with 2 requests a second for it, simulated. The lines are hits on the dead host since it went down.</text>
{{range .}}
<text class="name" x="{{.X}}" y="118">{{.Title}}</text>
{{$p := .}}{{range .Lines}}<path class="line" d="M{{$p.X}} {{.At}}h{{$p.Width}}"/><text x="{{$p.X}}" y="{{.At}}" dx="-10" dy="4" text-anchor="end">{{.Text}}</text>
{{end}}{{range .Marks}}<text x="{{.At}}" y="{{$p.Y}}" dy="22" text-anchor="middle">{{.Text}}</text>
{{end}}<path class="alone area" d="{{.Alone.Area}}"/>
<path class="below" d="{{.Shared.Area}}"/>
<path class="shared area" d="{{.Shared.Area}}"/>
<path class="alone curve" d="{{.Alone.Path}}"/>
<path class="shared curve" d="{{.Shared.Path}}"/>
<path class="base" d="M{{.X}} {{.Y}}h{{.Width}}"/>
<g transform="translate({{.X}})">{{range .Notes}}<text x="{{$p.Width}}" y="{{.At}}" dx="-12" text-anchor="end">{{.Text}}</text>
{{end}}<text class="alone end" x="{{.Width}}" y="{{.Alone.Y}}" dx="12" dy="4">{{.Alone.Hits}}</text>
<text x="{{.Width}}" y="{{.Alone.Y}}" dx="12" dy="21">on their own</text>
<text class="shared end" x="{{.Width}}" y="{{.Shared.Y}}" dx="12" dy="-1">{{.Shared.Hits}}</text>
<text x="{{.Width}}" y="{{.Shared.Y}}" dx="12" dy="16">sharing</text></g>
{{end}}</svg>
`
