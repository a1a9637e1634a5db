//go:build e2e && linux

package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"testing"
	"time"
)

// prometheus is the API of a Prometheus server.
type prometheus struct{ url string }

// A sample is a series and its value.
type sample struct {
	Metric labels
	Value  point
}

// A point is a value at a time.
type point float64

func (p *point) UnmarshalJSON(b []byte) error {
	var timeAndValue [2]any
	if err := json.Unmarshal(b, &timeAndValue); err != nil {
		return err
	}
	text, ok := timeAndValue[1].(string)
	if !ok {
		return fmt.Errorf("value %v is no text", timeAndValue[1])
	}
	v, err := strconv.ParseFloat(text, 64)
	*p = point(v)
	return err
}

// get decodes what the API answers into data.
func (p prometheus) get(path string, query url.Values, data any) error {
	body, err := fetch(p.url + "/api/v1/" + path + "?" + query.Encode())
	if err != nil {
		return err
	}
	return json.Unmarshal(body, &struct{ Data any }{data})
}

// query returns what an expression is now.
func (p prometheus) query(expr string) ([]sample, error) {
	var data struct{ Result []sample }
	err := p.get("query", url.Values{"query": {expr}}, &data)
	return data.Result, err
}

// queryRange returns the series that an expression has had since a time.
func (p prometheus) queryRange(expr string, since time.Time) ([]labels, error) {
	var data struct{ Result []struct{ Metric labels } }
	err := p.get("query_range", url.Values{
		"query": {expr},
		"start": {since.Format(time.RFC3339Nano)},
		"end":   {time.Now().Format(time.RFC3339Nano)},
		"step":  {"1s"},
	}, &data)
	var all []labels
	for _, r := range data.Result {
		all = append(all, r.Metric)
	}
	return all, err
}

// waitFor waits until an expression is one series that is as wanted.
func (p prometheus) waitFor(t *testing.T, expr, want string, met func(float64) bool) {
	t.Helper()
	eventually(t, expr+" to be "+want, func() error {
		got, err := p.query(expr)
		if err != nil {
			return err
		}
		if len(got) != 1 || !met(float64(got[0].Value)) {
			return fmt.Errorf("got %v", got)
		}
		return nil
	})
}

func (p prometheus) waitForValue(t *testing.T, expr string, want float64) {
	t.Helper()
	p.waitFor(t, expr, fmt.Sprint(want), func(got float64) bool { return got == want })
}

// exemplars returns the labels of the exemplars that the series of a selector have.
func (p prometheus) exemplars(selector string, since time.Time) ([]labels, error) {
	var series []struct{ Exemplars []struct{ Labels labels } }
	err := p.get("query_exemplars", url.Values{
		"query": {selector},
		"start": {since.Format(time.RFC3339Nano)},
		"end":   {time.Now().Format(time.RFC3339Nano)},
	}, &series)
	var all []labels
	for _, s := range series {
		for _, e := range s.Exemplars {
			all = append(all, e.Labels)
		}
	}
	return all, err
}

// An alert is one that Alertmanager knows.
type alert struct {
	Labels labels
	Status struct{ InhibitedBy []string }
}

func (s *stack) alerts() (all []alert, err error) {
	body, err := fetch(s.alertmanager + "/api/v2/alerts")
	if err != nil {
		return nil, err
	}
	return all, json.Unmarshal(body, &all)
}
