package main

import (
	"fmt"
	"html"
	"io"
	"strings"
	"unicode/utf8"

	"charm.land/lipgloss/v2"
	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
)

const (
	svgWidth   = 96 // columns
	cellWidth  = 8  // pixels
	cellHeight = 18
	svgMargin  = 20

	svgHead = `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" aria-labelledby="title text">
<title id="title">%[3]s</title>
<desc id="text">%[4]s</desc>
<style>
text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; white-space: pre }
.back { fill: #ffffff; stroke: #d1d9e0 }
.plain { fill: #1f2328 } .red { fill: #cf222e } .green { fill: #1a7f37 } .yellow { fill: #9a6700 }
.bold { font-weight: 600 } .faint { opacity: .55 }
@media (prefers-color-scheme: dark) {
.back { fill: #0d1117; stroke: #3d444d }
.plain { fill: #f0f6fc } .red { fill: #ff7b72 } .green { fill: #3fb950 } .yellow { fill: #d29922 }
}
</style>
<rect class="back" x=".5" y=".5" width="%[5]d" height="%[6]d" rx="12"/>
`
)

// draw writes the picture as a terminal shows it, in colours for light and for
// dark pages.
func (s *show) draw(out io.Writer) error {
	lines := uv.NewStyledString(s.picture(svgWidth)).Lines(ansi.GraphemeWidth)
	width, height := svgWidth*cellWidth+2*svgMargin, len(lines)*cellHeight+2*svgMargin
	var svg strings.Builder
	fmt.Fprintf(&svg, svgHead, width, height, html.EscapeString(s.about), html.EscapeString(s.summary()), width-1, height-1)
	for y, line := range lines {
		for from, to := 0, 0; from < len(line); from = to {
			for to = from; to < len(line) && like(line[from], line[to]); to++ {
			}
			svg.WriteString(drawRun(line[from:to], svgMargin+from*cellWidth, svgMargin+y*cellHeight))
		}
	}
	svg.WriteString("</svg>\n")
	_, err := io.WriteString(out, svg.String())
	return err
}

// like reports whether two cells can be drawn as one.
func like(a, b uv.Cell) bool {
	return a.Style.Equal(&b.Style) && (a.Content == b.Content || !isBar(a) && !isBar(b))
}

func isBar(c uv.Cell) bool { return "▁" <= c.Content && c.Content <= "▇" }

// drawRun draws cells that are alike: bars as rectangles, all else as text.
func drawRun(cells uv.Line, x, y int) string {
	class, width := class(cells[0].Style), len(cells)*cellWidth
	if isBar(cells[0]) {
		r, _ := utf8.DecodeRuneInString(cells[0].Content)
		const most = 14
		h := most * int(r-'▁'+1) / 7
		return fmt.Sprintf("<rect class=%q x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n", class, x, y+most-h, width, h)
	}
	text := ""
	for _, c := range cells {
		text += c.Content
	}
	if strings.TrimSpace(text) == "" {
		return ""
	}
	return fmt.Sprintf("<text class=%q x=\"%d\" y=\"%d\" textLength=\"%d\">%s</text>\n", class, x, y+12, width, html.EscapeString(text))
}

func class(s uv.Style) string {
	class := map[any]string{lipgloss.Red: "red", lipgloss.Green: "green", lipgloss.Yellow: "yellow"}[s.Fg]
	if class == "" {
		class = "plain"
	}
	if s.Attrs&uv.AttrBold != 0 {
		class += " bold"
	}
	if s.Attrs&uv.AttrFaint != 0 {
		class += " faint"
	}
	return class
}
