package breakerhttp_test

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
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The packages that a snippet may use without importing them.
var snippetPackages = map[string]string{
	"aws":           "github.com/aws/aws-sdk-go-v2/aws",
	"breakerhttp":   "github.com/breakerhttp/breakerhttp",
	"context":       "context",
	"dashboard":     "github.com/breakerhttp/breakerhttp/dashboard",
	"dynamodb":      "github.com/aws/aws-sdk-go-v2/service/dynamodb",
	"dynamodbstore": "github.com/breakerhttp/breakerhttp/store/dynamodbstore",
	"errors":        "errors",
	"fmt":           "fmt",
	"http":          "net/http",
	"httputil":      "net/http/httputil",
	"io":            "io",
	"json":          "encoding/json",
	"log":           "log",
	"metric":        "go.opentelemetry.io/otel/sdk/metric",
	"os":            "os",
	"otel":          "go.opentelemetry.io/otel",
	"otelhttp":      "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp",
	"prometheus":    "go.opentelemetry.io/otel/exporters/prometheus",
	"promhttp":      "github.com/prometheus/client_golang/prometheus/promhttp",
	"redis":         "github.com/redis/go-redis/v9",
	"redisstore":    "github.com/breakerhttp/breakerhttp/store/redisstore",
	"retryable":     "github.com/breakerhttp/breakerhttp/retryable",
	"retryablehttp": "github.com/hashicorp/go-retryablehttp",
	"slog":          "log/slog",
	"storetest":     "github.com/breakerhttp/breakerhttp/store/storetest",
	"strings":       "strings",
	"time":          "time",
	"url":           "net/url",
}

// What a snippet of statements may use without declaring it.
const snippetVariables = `

var (
	cfg       aws.Config
	ctx       context.Context
	err       error
	client    *http.Client
	req       *http.Request
	resp      *http.Response
	transport *breakerhttp.Transport
)
`

// A snippet is what stands between "```go" and "```".
type snippet struct {
	file   string
	line   int // of source's first line
	source string
}

// fragment is the package of a snippet that is no whole file.
const fragment = "fragment"

// TestSnippets type-checks the Go of README.md and of docs: whole files as they
// are, declarations and statements with the packages and variables above and
// without complaint about what they declare and leave unused. Those of
// docs/clients.md are only parsed.
func TestSnippets(t *testing.T) {
	if _, err := os.Stat("examples/go.mod"); errors.Is(err, os.ErrNotExist) {
		t.Skip("the module by itself lacks other modules that snippets use")
	}
	snippets := goSnippets(t, "README.md")
	if len(snippets) == 0 {
		t.Error("README.md shows no Go")
	}
	docs, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range docs {
		snippets = append(snippets, goSnippets(t, doc)...)
	}

	fset := token.NewFileSet()
	var files []*ast.File
	var imports []string
	for _, s := range snippets {
		f, err := s.parse(fset)
		if err != nil {
			t.Error(err)
			continue
		}
		if s.file == "docs/clients.md" {
			continue // fragments with the libraries of many clients: internal/clients tries them
		}
		files = append(files, f)
		for _, spec := range f.Imports {
			imports = append(imports, importPath(spec))
		}
	}

	packages := importer.ForCompiler(fset, "gc", exportData(t, imports))
	for _, f := range files {
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

func goSnippets(t *testing.T, file string) (found []snippet) {
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

func (s snippet) parse(fset *token.FileSet) (*ast.File, error) {
	parse := func(mode parser.Mode, parts ...string) (*ast.File, error) {
		return parser.ParseFile(fset, "", strings.Join(parts, ""), mode)
	}
	position := func(line int) string { return fmt.Sprintf("\n//line %s:%d\n", s.file, line) }

	if _, err := parse(parser.PackageClauseOnly, s.source); err == nil {
		return parse(0, position(s.line), s.source)
	}

	clause := "package " + fragment + "\n"
	head, err := parse(parser.ImportsOnly, clause, s.source)
	if err != nil {
		head = &ast.File{}
	}
	split := 0
	for _, decl := range head.Decls {
		split = fset.Position(decl.End()).Offset - len(clause)
	}
	imports := position(s.line) + s.source[:split]
	body := position(s.line+strings.Count(s.source[:split], "\n")) + s.source[split:]

	f, err := parse(0, clause, imports, body)
	if err != nil {
		body = snippetVariables + "func _() {" + body + "\n}"
		var statementErr error
		if f, statementErr = parse(0, clause, imports, body); statementErr != nil {
			return nil, fmt.Errorf("neither declarations: %w\nnor statements: %w", err, statementErr)
		}
	}
	return parse(0, clause, position(s.line), impliedImports(f), imports, body)
}

// impliedImports imports the snippetPackages that f uses and does not import.
func impliedImports(f *ast.File) (decls string) {
	implied := maps.Clone(snippetPackages)
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

// exportData has the go command compile the packages, in the workspace.
func exportData(t *testing.T, paths []string) importer.Lookup {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-e", "-export", "-f", "{{.ImportPath}}={{.Export}}", "--"}, paths...)...)
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

var (
	fenced = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	linked = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headed = regexp.MustCompile(`(?m)^#+ (.*)$`)
	silent = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// TestLinks follows the links from one document of the repository to others, and to their headings.
func TestLinks(t *testing.T) {
	if _, err := os.Stat("examples/go.mod"); errors.Is(err, os.ErrNotExist) {
		t.Skip("the module by itself lacks other modules that documents link to")
	}
	docs, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	prose := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Errorf("%v", err)
		}
		return fenced.ReplaceAllString(string(text), "")
	}
	for _, doc := range append(docs, "README.md", "SECURITY.md", "CONTRIBUTING.md") {
		for _, link := range linked.FindAllStringSubmatch(prose(doc), -1) {
			file, heading, anchored := strings.Cut(link[1], "#")
			if strings.Contains(file, "://") {
				continue
			}
			target := filepath.Join(filepath.Dir(doc), file)
			if file == "" {
				target = doc
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", doc, link[1], err)
				continue
			}
			if anchored && !slices.Contains(anchors(prose(target)), heading) {
				t.Errorf("%s links to %s: there is no such heading", doc, link[1])
			}
		}
	}
}

// anchors are what GitHub makes of the headings.
func anchors(text string) (found []string) {
	for _, heading := range headed.FindAllStringSubmatch(text, -1) {
		plain := silent.ReplaceAllString(strings.ToLower(heading[1]), "")
		found = append(found, strings.ReplaceAll(plain, " ", "-"))
	}
	return found
}
