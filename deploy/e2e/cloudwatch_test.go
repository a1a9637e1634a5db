package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"go.yaml.in/yaml/v3"

	"github.com/breakerhttp/breakerhttp"
)

// A template is what CloudFormation reads, so far as our file uses it.
type template struct {
	Version     string `yaml:"AWSTemplateFormatVersion"`
	Description string `yaml:"Description"`
	Parameters  map[string]struct {
		Type           string  `yaml:"Type"`
		Description    string  `yaml:"Description"`
		Default        *string `yaml:"Default"`
		AllowedPattern string  `yaml:"AllowedPattern"`
	} `yaml:"Parameters"`
	Conditions map[string]any `yaml:"Conditions"`
	Resources  map[string]struct {
		Type       string         `yaml:"Type"`
		Condition  string         `yaml:"Condition"`
		Properties map[string]any `yaml:"Properties"`
	} `yaml:"Resources"`
}

// An alarm is a resource of the template: the input of the call that creates it.
type alarm = cloudwatch.PutMetricAlarmInput

// readAlarms returns the alarms of the template for these parameters. Their properties are the
// fields of the call with which CloudFormation creates them.
func readAlarms(t *testing.T, parameters map[string]string) map[string]alarm {
	t.Helper()
	var doc template
	readYAML(t, "../cloudwatch/alarms.yaml", &doc)
	for name := range doc.Parameters {
		if parameters[name] == "" {
			t.Errorf("parameter %s: the test gives it no value", name)
		}
	}
	alarms := map[string]alarm{}
	for name, r := range doc.Resources {
		if _, ok := doc.Conditions[r.Condition]; r.Type != "AWS::CloudWatch::Alarm" || r.Condition != "" && !ok {
			t.Errorf("%s: got type %s, condition %q; want an alarm and a condition that there is", name, r.Type, r.Condition)
		}
		for property := range r.Properties {
			if _, ok := reflect.TypeFor[alarm]().FieldByName(property); !ok {
				t.Errorf("%s: there is no property %s", name, property)
			}
		}
		text, err := json.Marshal(resolve(t, r.Properties, parameters))
		if err != nil {
			t.Fatal(err)
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		var a alarm
		if err := decoder.Decode(&a); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		alarms[name] = a
	}
	return alarms
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(b))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// resolve replaces the functions Ref and Fn::Sub by their values.
func resolve(t *testing.T, node any, parameters map[string]string) any {
	t.Helper()
	value := func(name string) string {
		if parameters[name] == "" {
			t.Errorf("there is no parameter %s", name)
		}
		return parameters[name]
	}
	switch node := node.(type) {
	case []any:
		for i := range node {
			node[i] = resolve(t, node[i], parameters)
		}
	case map[string]any:
		if name, ok := node["Ref"].(string); ok {
			return value(name)
		}
		if text, ok := node["Fn::Sub"].(string); ok {
			return regexp.MustCompile(`\$\{\w+\}`).ReplaceAllStringFunc(text, func(s string) string { return value(s[2 : len(s)-1]) })
		}
		for key := range node {
			node[key] = resolve(t, node[key], parameters)
		}
	}
	return node
}

// TestAlarms: each alarm looks at a metric that the Collector is configured to write, and that a
// circuit reports with this name and these dimensions when it opens.
func TestAlarms(t *testing.T) {
	alarms := readAlarms(t, map[string]string{
		"Service": "shop", "Host": "api.example.com", "Port": "443", "Topic": "arn:aws:sns:eu-west-1:123456789012:on-call",
	})
	if len(alarms) != 3 {
		t.Errorf("got %d alarms, want 3", len(alarms))
	}
	written := readAWSEMF(t)
	reported := reportOpening(t)
	for name, a := range alarms {
		if !slices.Contains(a.ComparisonOperator.Values(), a.ComparisonOperator) || !slices.Contains(a.Statistic.Values(), a.Statistic) {
			t.Errorf("%s: got operator %s, statistic %s", name, a.ComparisonOperator, a.Statistic)
		}
		if *a.Threshold != 1 || *a.Period != 60 || *a.EvaluationPeriods != 1 || *a.TreatMissingData != "notBreaching" || len(a.AlarmActions) != 1 {
			t.Errorf("%s: got threshold %v in %d periods of %d s, %s, actions %v; want 1 in 1 of 60 s, notBreaching, one action",
				name, *a.Threshold, *a.EvaluationPeriods, *a.Period, *a.TreatMissingData, a.AlarmActions)
		}
		dimensions := labels{}
		for _, d := range a.Dimensions {
			dimensions[*d.Name] = *d.Value
		}
		if got := *a.Namespace; got != written.Namespace || !written.has(*a.MetricName, dimensions) {
			t.Errorf("%s: the Collector does not write %s %s %v", name, got, *a.MetricName, dimensions)
		}
		delete(dimensions, "service.name") // an attribute of the resource
		if !slices.ContainsFunc(reported, func(d datum) bool { return d.metric == *a.MetricName && d.value >= 1 && dimensions.in(d.labels) }) {
			t.Errorf("%s: no circuit reports %s %v", name, *a.MetricName, dimensions)
		}
	}
}

// TestAlarmsIgnoreDryRun: nothing that a dry run reports becomes a metric.
func TestAlarmsIgnoreDryRun(t *testing.T) {
	declared := readAWSEMF(t).MetricDeclarations
	selects := func(d datum) bool {
		return slices.ContainsFunc(declared, func(m declaration) bool { return m.selects(d.metric, d.labels) })
	}
	if !slices.ContainsFunc(reportOpening(t), selects) {
		t.Error("nothing that an open circuit reports becomes a metric")
	}
	for _, d := range reportOpening(t, breakerhttp.WithDryRun()) {
		if selects(d) {
			t.Errorf("%s %v of a dry run becomes a metric", d.metric, d.labels)
		}
	}
}
