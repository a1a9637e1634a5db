package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A dashboard is Grafana's model of one, so far as our file uses it.
type dashboard struct {
	Title, Description, UID string
	Tags                    []string
	SchemaVersion           int
	Version                 int
	Editable                bool
	GraphTooltip            int
	Refresh, Timezone       string
	Time                    struct{ From, To string }
	Annotations             struct{ List []struct{} }
	Templating              struct{ List []variable }
	Panels                  []panel
}

type variable struct {
	Name, Label, Type string
	Datasource        *datasource
	Query             any // the kind of a data source, or an object with a query
	Refresh, Sort     int
	Multi, IncludeAll bool
	AllValue          string
	Current           struct{ Text, Value string }
	Hide              int
	Regex             string
}

type datasource struct{ Type, UID string }

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               datasource
	GridPos                  struct{ X, Y, W, H int }
	FieldConfig              struct {
		Defaults  fieldDefaults
		Overrides []struct{}
	}
	Options map[string]any
	Targets []target
}

type fieldDefaults struct {
	Unit       string
	Decimals   *int
	Min, Max   *float64
	Color      *struct{ Mode string }
	Custom     map[string]any
	Thresholds *struct {
		Mode  string
		Steps []struct {
			Color string
			Value *float64
		}
	}
	Mappings []struct {
		Type    string
		Options map[string]struct {
			Text, Color string
			Index       int
		}
	}
}

type target struct {
	RefID, Expr, LegendFormat string
	Instant, Range, Exemplar  bool
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	b, err := os.ReadFile("../grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDashboard finds mistakes that Grafana would only show as an empty or a hidden panel. Each
// query leaves out dry runs.
func TestDashboard(t *testing.T) {
	d := readDashboard(t)
	known := []string{"__range", "__rate_interval", "datasource"}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			known = append(known, v.Name)
		}
	}
	types := []string{"bargauge", "stat", "state-timeline", "timeseries"}
	ids := map[int]bool{}
	for i, p := range d.Panels {
		if !slices.Contains(types, p.Type) || p.Title == "" || p.Description == "" || ids[p.ID] {
			t.Errorf("panel %d: got type %q, title %q, description %q, id %d; want one of %v, texts, and an id of its own",
				i, p.Type, p.Title, p.Description, p.ID, types)
		}
		ids[p.ID] = true
		if p.Datasource != (datasource{"prometheus", "${datasource}"}) {
			t.Errorf("%s: got data source %v, want that of the variable", p.Title, p.Datasource)
		}
		if len(p.Targets) != 1 || p.Targets[0].RefID != "A" || p.Targets[0].Instant == p.Targets[0].Range {
			t.Fatalf("%s: got targets %+v, want one query A, instant or of a range", p.Title, p.Targets)
		}
		for _, name := range variables.FindAllStringSubmatch(p.Targets[0].Expr, -1) {
			if !slices.Contains(known, name[1]) {
				t.Errorf("%s: got variable $%s, want one of %v", p.Title, name[1], known)
			}
		}
		if expr := p.Targets[0].Expr; strings.Count(expr, "{") != strings.Count(expr, `circuit_breaker_dry_run=""`) {
			t.Errorf("%s: %s does not leave out dry runs", p.Title, expr)
		}
		g := p.GridPos
		if g.X < 0 || g.W <= 0 || g.H <= 0 || g.X+g.W > 24 {
			t.Errorf("%s: got position %+v, want one in 24 columns", p.Title, g)
		}
		for _, other := range d.Panels[:i] {
			o := other.GridPos
			if g.X < o.X+o.W && o.X < g.X+g.W && g.Y < o.Y+o.H && o.Y < g.Y+g.H {
				t.Errorf("%s and %s overlap", p.Title, other.Title)
			}
		}
	}
}

// variables finds the variables in an expression.
var variables = regexp.MustCompile(`\$\{?(\w+)`)
