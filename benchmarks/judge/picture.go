package main

import (
	"fmt"
	"slices"
	"strings"
	"text/template"
)

// moments is how many moments of a scenario the picture shows.
const moments = 68

// A strip shows what became of the requests of one run, by time.
type strip struct {
	X, Y              int // its lower left corner
	Answered, Refused string
	TroubleX, Trouble int // the line below it: where it begins, and how long it is
	Figure            string
}

// A lane shows one scenario, with a strip for each contender.
type lane struct {
	Title, Measure string
	Y              int // its lower edge
	Strips         []strip
}

// A heading is the name of a column.
type heading struct {
	X        int
	By, Name string
}

// Where things are, in pixels. A moment is two pixels wide.
const (
	left, top               = 228, 156
	stripWidth, stripHeight = 2 * moments, 34
	columnPitch, lanePitch  = stripWidth + 6, 68
	pictureWidth, margin    = 960, 16
)

// drawn are the scenarios of the picture. The figure is that of the first measure.
var drawn = []struct{ scenario, title, measure string }{
	{"blip", "Fails for 200 ms", "refused in the minute after"},
	{"hang", "Hangs for half a minute", "requests stuck at once"},
	{"overload-queues-2", "Overload 2×, it queues", "of its capacity used well"},
	{"overload-sheds-2", "Overload 2×, it sheds", "of its capacity used well"},
	{"failing-20", "Fails a fifth of requests", "refused"},
	{"shards", "A tenth of it is dead", "refused of the rest"},
	{"metastable", "A surge and its retries", "answered well afterwards"},
	{"dead-1m", "Dead for a minute", "requests sent to it"},
}

// picture shows the first run of some scenarios and contenders.
func (b *board) picture() string {
	var heads []heading
	var lanes []lane
	columns := slices.DeleteFunc(slices.Clone(b.contenders), func(c *contender) bool { return !c.short })
	for i, c := range columns {
		heads = append(heads, heading{left + i*columnPitch, c.by, c.name})
	}
	for _, d := range drawn {
		i := slices.IndexFunc(b.scenarios, func(sc *scenario) bool { return sc.name == d.scenario })
		if i < 0 {
			continue
		}
		sc := b.scenarios[i]
		l := lane{Title: d.title, Measure: d.measure, Y: top + len(lanes)*lanePitch + stripHeight}
		for i, c := range columns {
			s := newStrip(b.outcomes[sc][c][0])
			s.X, s.Y, s.Figure = left+i*columnPitch, l.Y, sc.measures[0].unit.format(b.mean(sc, 0, c))
			l.Strips = append(l.Strips, s)
		}
		lanes = append(lanes, l)
	}
	var out strings.Builder
	err := template.Must(template.New("").Parse(drawing)).Execute(&out, map[string]any{
		"Width": pictureWidth, "Height": top + len(lanes)*lanePitch + margin,
		"CardWidth": pictureWidth - 1, "CardHeight": top + len(lanes)*lanePitch + margin - 1,
		"StripWidth": stripWidth, "StripHeight": stripHeight,
		"Left": left, "Heads": heads, "Lanes": lanes,
	})
	if err != nil {
		panic(err)
	}
	return out.String()
}

func newStrip(o outcome) strip {
	x := func(at float64) int { return int(at * stripWidth) }
	from, to := x(o.plan.from.Seconds()/o.plan.length.Seconds()), x(o.plan.to.Seconds()/o.plan.length.Seconds())
	return strip{
		Answered: area(o.moments, func(m moment) float64 { return m.answered }),
		Refused:  area(o.moments, func(m moment) float64 { return m.answered + m.refused }),
		TroubleX: from, Trouble: max(2, to-from),
	}
}

// area returns the path around the area below a curve, from the lower left corner.
func area(all []moment, of func(moment) float64) string {
	var path strings.Builder
	last, wide := 0, 0
	for _, m := range all {
		if y := int(of(m)*stripHeight + 0.5); y != last {
			if wide > 0 {
				fmt.Fprintf(&path, "h%d", wide)
			}
			fmt.Fprintf(&path, "v%d", last-y)
			last, wide = y, 0
		}
		wide += stripWidth / moments
	}
	fmt.Fprintf(&path, "h%dv%dz", wide, last)
	return path.String()
}

const drawing = `<svg xmlns="http://www.w3.org/2000/svg" width="{{.Width}}" height="{{.Height}}" viewBox="0 0 {{.Width}} {{.Height}}" role="img" aria-labelledby="title text">
<title id="title">What becomes of the requests when a host is in trouble</title>
<desc id="text">{{range $i, $l := .Lanes}}{{$l.Title}}: {{$l.Measure}}{{range $j, $s := $l.Strips}}, {{(index $.Heads $j).By}} {{(index $.Heads $j).Name}} {{$s.Figure}}{{end}}. {{end}}</desc>
<style>
text { font: 13px system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Helvetica, Arial, sans-serif; fill: #59636e }
.head { font-size: 20px; font-weight: 600; fill: #1f2328 }
.name { font-size: 14px; font-weight: 600; fill: #1f2328 }
.card { fill: #ffffff; stroke: #d1d9e0 }
.answered { fill: #4493f8 } .refused { fill: #d1d9e0 } .failed { fill: #d4590c } .trouble { fill: #1f2328 }
@media (prefers-color-scheme: dark) {
text { fill: #9198a1 }
.head, .name { fill: #f0f6fc }
.card { fill: #0d1117; stroke: #3d444d }
.answered { fill: #316dca } .refused { fill: #3d444d } .failed { fill: #f0883e } .trouble { fill: #f0f6fc }
}
</style>
<rect class="card" x=".5" y=".5" width="{{.CardWidth}}" height="{{.CardHeight}}" rx="12"/>
<text class="head" x="32" y="45">What becomes of the requests when a host is in trouble</text>
<g transform="translate(32 62)"><rect class="answered" width="12" height="12" rx="2"/><text x="20" y="11">answered</text>
<rect class="refused" x="110" width="12" height="12" rx="2"/><text x="130" y="11">refused at once</text>
<rect class="failed" x="262" width="12" height="12" rx="2"/><text x="282" y="11">failed or timed out</text>
<rect class="trouble" x="462" y="5" width="18" height="3"/><text x="488" y="11">the trouble. Time runs to the right.</text></g>
{{range .Heads}}<text x="{{.X}}" y="120">{{.By}}</text><text class="name" x="{{.X}}" y="139">{{.Name}}</text>
{{end}}{{range .Lanes}}
<text class="name" x="32" y="{{.Y}}" dy="-16">{{.Title}}</text><text x="32" y="{{.Y}}" dy="4">{{.Measure}}</text>
{{range .Strips}}<g transform="translate({{.X}} {{.Y}})"><path class="failed" d="M0 0v-{{$.StripHeight}}h{{$.StripWidth}}v{{$.StripHeight}}z"/><path class="refused" d="M0 0{{.Refused}}"/><path class="answered" d="M0 0{{.Answered}}"/><rect class="trouble" x="{{.TroubleX}}" y="3" width="{{.Trouble}}" height="3"/><text class="name" y="21">{{.Figure}}</text></g>
{{end}}{{end}}</svg>
`
