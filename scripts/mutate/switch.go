package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Most mutants change one function. All of these are built into one program, so that each costs a
// run of the tests and no build: the function begins with a look at the variable MUTANT of the
// environment, and goes on in a copy of itself which has the rule broken.

// on is what a package with mutants gets.
const on = `package %s

import (
	"os"
	"strconv"
)

var mutant, _ = strconv.Atoi(os.Getenv("MUTANT"))
`

// switchable returns the sources that have the mutants in them, by file, and which mutants those are.
// A mutant's number is its place in mutants, from 1 on.
func switchable(root string, mutants []mutant) (sources map[string][]byte, in []bool, err error) {
	files := map[string]*switchedFile{}
	in = make([]bool, len(mutants))
	sources = map[string][]byte{}
	for i, m := range mutants {
		broken, err := m.broken(root)
		if err != nil {
			return nil, nil, err
		}
		f := files[m.file]
		if f == nil {
			if f, err = newSwitchedFile(filepath.Join(root, m.file)); err != nil {
				return nil, nil, err
			}
			files[m.file] = f
			sources[filepath.Join(filepath.Dir(m.file), "zz_mutant.go")] = fmt.Appendf(nil, on, f.ast.Name.Name)
		}
		in[i] = f.add(broken, i+1)
	}
	for name, f := range files {
		sources[name] = f.bytes()
	}
	return sources, in, nil
}

type switchedFile struct {
	source []byte
	ast    *ast.File
	edits  []edit
	copies bytes.Buffer
	named  map[*ast.FuncDecl]bool // its parameters have names
}

// An edit replaces part of a file.
type edit struct {
	from, to int
	text     string
}

func newSwitchedFile(path string) (*switchedFile, error) {
	source, f, err := parseFile(path, nil)
	return &switchedFile{source: source, ast: f, named: map[*ast.FuncDecl]bool{}}, err
}

// add takes in the file with a rule broken. It returns false if that is not a change of one function's
// body.
func (f *switchedFile) add(broken []byte, number int) bool {
	_, other, err := parseFile("", broken)
	if err != nil || len(other.Decls) != len(f.ast.Decls) {
		return false
	}
	var changed *ast.FuncDecl
	var text string
	for i, d := range f.ast.Decls {
		was, is := textOf(f.source, d), textOf(broken, other.Decls[i])
		if was == is {
			continue
		}
		fn, ok := d.(*ast.FuncDecl)
		otherFn, ok2 := other.Decls[i].(*ast.FuncDecl)
		if !ok || !ok2 || changed != nil || head(f.source, fn) != head(broken, otherFn) || strings.Contains(was, "recover()") {
			return false
		}
		name := int(otherFn.Name.End()) - int(otherFn.Pos())
		changed, text = fn, is[:name]+fmt.Sprint("Mutant", number)+is[name:]
	}
	if changed == nil {
		return false
	}
	fmt.Fprintf(&f.copies, "\n%s\n", text)
	call := f.call(changed, number)
	if changed.Type.Results != nil {
		call = "return " + call
	} else {
		call += "; return"
	}
	at := offset(changed.Body.Lbrace) + 1
	f.edits = append(f.edits, edit{at, at, fmt.Sprintf("\nif mutant == %d { %s }\n", number, call)})
	return true
}

// call is a call of the copy of a function, by the function itself.
func (f *switchedFile) call(fn *ast.FuncDecl, number int) string {
	name := fn.Name.Name + fmt.Sprint("Mutant", number)
	if fn.Recv != nil {
		name = f.names(fn, fn.Recv, "receiver")[0] + "." + name
	}
	if types := fn.Type.TypeParams; types != nil {
		name += "[" + strings.Join(f.names(fn, types, ""), ", ") + "]"
	}
	args := strings.Join(f.names(fn, fn.Type.Params, "param"), ", ")
	if list := fn.Type.Params.List; len(list) > 0 {
		if _, variadic := list[len(list)-1].Type.(*ast.Ellipsis); variadic {
			args += "..."
		}
	}
	f.named[fn] = true
	return name + "(" + args + ")"
}

// names returns the names of parameters, and gives one to each that has none.
func (f *switchedFile) names(fn *ast.FuncDecl, list *ast.FieldList, prefix string) (names []string) {
	rename := func(from, to token.Pos, after string) string {
		name := fmt.Sprint(prefix, len(names))
		if !f.named[fn] {
			f.edits = append(f.edits, edit{offset(from), offset(to), name + after})
		}
		return name
	}
	for _, field := range list.List {
		if len(field.Names) == 0 {
			names = append(names, rename(field.Type.Pos(), field.Type.Pos(), " "))
		}
		for _, id := range field.Names {
			if id.Name == "_" {
				names = append(names, rename(id.Pos(), id.End(), ""))
				continue
			}
			names = append(names, id.Name)
		}
	}
	return names
}

func (f *switchedFile) bytes() []byte {
	b := slices.Clone(f.source)
	slices.SortStableFunc(f.edits, func(a, b edit) int { return b.from - a.from })
	for _, e := range f.edits {
		b = slices.Replace(b, e.from, e.to, []byte(e.text)...)
	}
	return append(b, f.copies.Bytes()...)
}

// parseFile parses a file that begins at position 1 of its file set.
func parseFile(path string, source []byte) ([]byte, *ast.File, error) {
	if source == nil {
		var err error
		if source, err = os.ReadFile(path); err != nil {
			return nil, nil, err
		}
	}
	f, err := parser.ParseFile(token.NewFileSet(), path, source, 0)
	return source, f, err
}

func offset(p token.Pos) int { return int(p) - 1 }

func textOf(source []byte, d ast.Node) string { return string(source[offset(d.Pos()):offset(d.End())]) }

// head is the text of a function before its body.
func head(source []byte, fn *ast.FuncDecl) string {
	return string(source[offset(fn.Pos()):offset(fn.Body.Lbrace)])
}
