package main

import (
	"go/parser"
	"go/token"
	"testing"
)

// TestMutants: each mutant changes lines that are in the source once, and leaves a Go file.
func TestMutants(t *testing.T) {
	mutants, err := parse(list)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[mutant]bool{}
	for _, m := range mutants {
		source, err := m.broken("../..")
		if err != nil {
			t.Errorf("%s: %v", m.rule, err)
			continue
		}
		if _, err := parser.ParseFile(token.NewFileSet(), m.file, source, 0); err != nil {
			t.Errorf("%s: %v", m.rule, err)
		}
		m.rule = ""
		if seen[m] {
			t.Errorf("there are two mutants that put this into %s:\n%s", m.file, m.new)
		}
		seen[m] = true
	}
	sources, in, err := switchable("../..", mutants)
	if err != nil {
		t.Fatal(err)
	}
	for file, source := range sources {
		if _, err := parser.ParseFile(token.NewFileSet(), file, source, 0); err != nil {
			t.Error(err)
		}
	}
	apart := 0
	for i := range in {
		if !in[i] {
			apart++
		}
	}
	t.Logf("%d mutants, %d of them built apart", len(mutants), apart)
}
