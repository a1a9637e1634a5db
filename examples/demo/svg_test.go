package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

func TestDraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := played(t, faults())
		var svg strings.Builder
		if err := s.draw(&svg); err != nil {
			t.Fatal(err)
		}
		for d := xml.NewDecoder(strings.NewReader(svg.String())); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		for _, want := range []string{
			`<text class="plain bold" x="20" y="122" textLength="72">orders   </text>`,
			`<rect class="green faint"`, "Spared failing servers", "prefers-color-scheme: dark",
		} {
			if !strings.Contains(svg.String(), want) {
				t.Errorf("the picture lacks %q", want)
			}
		}
		if t.Failed() {
			t.Log(svg.String())
		}
	})
}
