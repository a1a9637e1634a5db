package breakerhttp_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/breakerhttp/breakerhttp/internal/snippettest"
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
	admin     *http.ServeMux
	cfg       aws.Config
	ctx       context.Context
	err       error
	client    *http.Client
	req       *http.Request
	resp      *http.Response
	transport *breakerhttp.Transport
`

// TestSnippets type-checks the Go of README.md and of docs. internal/clients checks docs/clients.md,
// which shows the libraries of many clients.
func TestSnippets(t *testing.T) {
	if _, err := os.Stat("examples/go.mod"); errors.Is(err, os.ErrNotExist) {
		t.Skip("the module by itself lacks other modules that snippets use")
	}
	docs, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	docs = slices.DeleteFunc(docs, func(doc string) bool { return doc == filepath.FromSlash("docs/clients.md") })
	snippettest.Scope{Packages: snippetPackages, Variables: snippetVariables}.Check(t, append(docs, "README.md")...)
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
