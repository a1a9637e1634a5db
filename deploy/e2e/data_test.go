//go:build e2e && linux

package e2e

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// everyRule checks that each rule has fired or returned data since a time.
func (s *stack) everyRule(t *testing.T, since time.Time) {
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Type, Health, LastError string }
		}
	}
	if err := s.prometheus.get("rules", nil, &data); err != nil {
		t.Fatal(err)
	}
	for _, group := range data.Groups {
		for _, rule := range group.Rules {
			if rule.Health != "ok" {
				t.Errorf("%s: got health %s: %s", rule.Name, rule.Health, rule.LastError)
			}
			expr := rule.Name
			if rule.Type == "alerting" {
				expr = fmt.Sprintf(`ALERTS{alertname=%q,alertstate="firing"}`, rule.Name)
			}
			s.hasData(t, rule.Name, expr, since)
		}
	}
}

// everyPanel checks that each query of the dashboard returns data with the labels that the legends
// name.
func (s *stack) everyPanel(t *testing.T, since time.Time) {
	d := readDashboard(t)
	standIn := strings.NewReplacer("$__rate_interval", "5m", "$__range", "10m",
		"$job", ".*", "$name", ".*", "$host", ".*", " or vector(0)", "")
	have := map[string]bool{}
	for _, p := range d.Panels {
		for _, series := range s.hasData(t, p.Title, faster(standIn.Replace(p.Targets[0].Expr)), since) {
			for label := range series {
				have[label] = true
			}
		}
	}
	for _, p := range d.Panels {
		for _, label := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(p.Targets[0].LegendFormat, -1) {
			if !have[label[1]] {
				t.Errorf("%s: no series has the label %s of its legend", p.Title, label[1])
			}
		}
	}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		query := v.Query.(map[string]any)["query"].(string)
		labelValues := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`).FindStringSubmatch(standIn.Replace(query))
		if labelValues == nil {
			t.Fatalf("variable %s: got %s, want label_values", v.Name, query)
		}
		var values []string
		err := s.prometheus.get("label/"+labelValues[2]+"/values", url.Values{"match[]": {labelValues[1]}}, &values)
		if err != nil || len(values) == 0 {
			t.Errorf("variable %s: got values %v, %v", v.Name, values, err)
		}
	}
}

func (s *stack) hasData(t *testing.T, name, expr string, since time.Time) []labels {
	t.Helper()
	series, err := s.prometheus.queryRange(expr, since)
	if err != nil || len(series) == 0 {
		t.Errorf("%s: %s: got series %v, %v", name, expr, series, err)
	}
	return series
}
