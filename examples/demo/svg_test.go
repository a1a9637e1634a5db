package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
)

func TestDraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := played(t)
		file := filepath.Join(t.TempDir(), "demo.svg")
		if err := s.draw(file); err != nil {
			t.Fatal(err)
		}
		svg, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
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
			if !strings.Contains(string(svg), want) {
				t.Errorf("the picture lacks %q", want)
			}
		}
		if t.Failed() {
			t.Logf("%s", svg)
		}
	})
}
