//go:build e2e && linux

package e2e

import (
	"os/exec"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestConfigurations lets each program check its own files.
func TestConfigurations(t *testing.T) {
	for name, command := range map[string][]string{
		"collector":    {"COLLECTOR", "validate", "--config=collector/config.yaml"},
		"cloudwatch":   {"COLLECTOR", "validate", "--config=" + withoutAWSEMF(t)},
		"prometheus":   {"PROMTOOL", "check", "config", "--lint-fatal", "prometheus/prometheus.yml"},
		"rules":        {"PROMTOOL", "test", "rules", "prometheus/recording_test.yml", "prometheus/alerts_test.yml"},
		"alertmanager": {"AMTOOL", "check-config", "alertmanager/alertmanager.yml"},
		"critical":     {"AMTOOL", "config", "routes", "test", "--config.file=alertmanager/alertmanager.yml", "--verify.receivers=on-call", "severity=critical"},
		"warning":      {"AMTOOL", "config", "routes", "test", "--config.file=alertmanager/alertmanager.yml", "--verify.receivers=chat", "severity=warning"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(installed(t, command[0]), command[1:]...)
			cmd.Dir = ".."
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %v\n%s", cmd.Args, err, out)
			}
		})
	}
}

// withoutAWSEMF returns the path of a copy of cloudwatch/collector.yaml with the debug exporter
// instead of awsemf, which the Collector of the test does not have. TestAlarms reads that part.
func withoutAWSEMF(t *testing.T) string {
	t.Helper()
	var config map[string]any
	readYAML(t, "../cloudwatch/collector.yaml", &config)
	config["exporters"] = map[string]any{"debug": nil}
	pipelines := config["service"].(map[string]any)["pipelines"].(map[string]any)
	pipelines["metrics"].(map[string]any)["exporters"] = []string{"debug"}
	text, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, t.TempDir(), "collector.yaml", string(text))
}
