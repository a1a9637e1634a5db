// Package snippettest type-checks the Go that documents show.
package snippettest

import (
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// A Scope is what a snippet may use without saying where it comes from.
type Scope struct {
	Packages  map[string]string // import paths, by the names of the packages
	Variables string            // declarations that statements may use
}

// Check type-checks the Go snippets of Markdown files, in the workspace: whole files as they are,
// declarations and statements in the Scope. What these declare and leave unused is no error. It fails
// if the files show no Go at all.
func (s Scope) Check(t *testing.T, files ...string) {
	t.Helper()
	fset := token.NewFileSet()
	var parsed []*ast.File
	var imports []string
	for _, file := range files {
		for _, snip := range snippets(t, file) {
			f, err := s.parse(fset, snip)
			if err != nil {
				t.Error(err)
				continue
			}
			parsed = append(parsed, f)
			for _, spec := range f.Imports {
				imports = append(imports, importPath(spec))
			}
		}
	}
	if len(parsed) == 0 {
		t.Fatalf("%v show no Go", files)
	}

	packages := importer.ForCompiler(fset, "gc", exportData(t, imports))
	for _, f := range parsed {
		report := func(err error) {
			if e := (types.Error{}); errors.As(err, &e) && e.Soft && f.Name.Name == fragment {
				return // declared or imported, and not used
			}
			t.Error(err)
		}
		conf := types.Config{Importer: packages, Error: report}
		_, _ = conf.Check(f.Name.Name, fset, []*ast.File{f}, nil) // report was called with the error
	}
}

// A snippet is what stands between "```go" and "```".
type snippet struct {
	file   string
	line   int // of source's first line
	source string
}

// fragment is the package of a snippet that is no whole file.
const fragment = "fragment"

// snippets returns those of a Markdown file.
func snippets(t *testing.T, file string) (found []snippet) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for i, line := range strings.SplitAfter(string(text), "\n") {
		switch fence := strings.TrimSpace(line); {
		case !inside && fence == "```go":
			inside = true
			found = append(found, snippet{file: file, line: i + 2})
		case inside && fence == "```":
			inside = false
		case inside:
			found[len(found)-1].source += line
		}
	}
	return found
}

// parse parses a snippet as a file, which it completes if it is none.
func (s Scope) parse(fset *token.FileSet, snip snippet) (*ast.File, error) {
	parse := func(mode parser.Mode, parts ...string) (*ast.File, error) {
		return parser.ParseFile(fset, "", strings.Join(parts, ""), mode)
	}
	position := func(line int) string { return fmt.Sprintf("\n//line %s:%d\n", snip.file, line) }

	if _, err := parse(parser.PackageClauseOnly, snip.source); err == nil {
		return parse(0, position(snip.line), snip.source)
	}

	clause := "package " + fragment + "\n"
	head, err := parse(parser.ImportsOnly, clause, snip.source)
	if err != nil {
		head = &ast.File{}
	}
	split := 0
	for _, decl := range head.Decls {
		split = fset.Position(decl.End()).Offset - len(clause)
	}
	imports := position(snip.line) + snip.source[:split]
	body := position(snip.line+strings.Count(snip.source[:split], "\n")) + snip.source[split:]

	f, err := parse(0, clause, imports, body)
	if err != nil {
		body = "\nvar (\n" + s.Variables + ")\nfunc _() {" + body + "\n}"
		var statementErr error
		if f, statementErr = parse(0, clause, imports, body); statementErr != nil {
			return nil, fmt.Errorf("neither declarations: %w\nnor statements: %w", err, statementErr)
		}
	}
	return parse(0, clause, position(snip.line), s.impliedImports(f), imports, body)
}

// impliedImports imports the Packages that f uses and does not import.
func (s Scope) impliedImports(f *ast.File) (decls string) {
	implied := maps.Clone(s.Packages)
	for _, spec := range f.Imports {
		maps.DeleteFunc(implied, func(name, path string) bool {
			return path == importPath(spec) || spec.Name != nil && spec.Name.Name == name
		})
	}
	for n := range ast.Preorder(f) {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if name, ok := sel.X.(*ast.Ident); ok && implied[name.Name] != "" {
				decls += fmt.Sprintf("import %s %q; ", name.Name, implied[name.Name])
				delete(implied, name.Name)
			}
		}
	}
	return decls
}

func importPath(spec *ast.ImportSpec) string {
	return strings.Trim(spec.Path.Value, "\"`")
}

// exportData has the go command compile the packages, in the workspace. It takes those that it has
// compiled for this test already.
func exportData(t *testing.T, paths []string) importer.Lookup {
	t.Helper()
	args := []string{"list", "-e", "-export", "-f", "{{.ImportPath}}={{.Export}}"}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(t.Context(), "go", append(append(args, "--"), paths...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "=")
		files[path] = file
	}
	return func(path string) (io.ReadCloser, error) {
		if files[path] == "" {
			return nil, errors.New("the go command cannot build it")
		}
		return os.Open(files[path])
	}
}
