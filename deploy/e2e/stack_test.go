//go:build e2e && linux

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/servertest"
)

// speed is how much faster time runs in the configurations under test: half a minute is a second.
// Nothing else in the files is changed, except addresses.
const speed = 30

// lookback is how long a sample counts for Prometheus, and the window of most rules.
const lookback = 5 * time.Minute / speed

var durations = regexp.MustCompile(`\b[0-9]+(ms|s|m|h)\b`)

func faster(config string) string {
	return durations.ReplaceAllStringFunc(config, func(s string) string {
		d, err := time.ParseDuration(s)
		if err != nil {
			panic(err)
		}
		return fmt.Sprintf("%dms", (d / speed).Milliseconds())
	})
}

// A stack is the chain of programs between an application and the person on call.
type stack struct {
	collector    *program
	otlp         string // the Collector's address for OTLP over HTTP
	prometheus   prometheus
	alertmanager string // its URL
	notices      *notices
}

func startStack(t *testing.T) *stack {
	t.Helper()
	for _, variable := range []string{"COLLECTOR", "PROMETHEUS", "ALERTMANAGER"} {
		installed(t, variable) // before the first one starts
	}
	s := &stack{otlp: servertest.FreeAddr(t), notices: listenForNotices(t)}
	metrics, alerts, queries := servertest.FreeAddr(t), servertest.FreeAddr(t), servertest.FreeAddr(t)
	dir := t.TempDir()

	s.collector = start(t, "COLLECTOR",
		"--config", derive(t, dir, "collector/config.yaml", "127.0.0.1:4317", servertest.FreeAddr(t), "127.0.0.1:4318", s.otlp, "127.0.0.1:8889", metrics),
		"--config", write(t, dir, "overlay.yaml", overlay))
	s.collector.answers(t, "http://"+metrics+"/metrics")

	alertmanager := start(t, "ALERTMANAGER", "--web.listen-address="+alerts, "--cluster.listen-address=",
		"--storage.path="+t.TempDir(),
		"--config.file="+derive(t, dir, "alertmanager/alertmanager.yml", "127.0.0.1:9095", s.notices.addr))
	s.alertmanager = "http://" + alerts
	alertmanager.answers(t, s.alertmanager+"/-/ready")

	derive(t, dir, "prometheus/recording.yml")
	derive(t, dir, "prometheus/alerts.yml")
	prom := start(t, "PROMETHEUS", "--web.listen-address="+queries, "--storage.tsdb.path="+t.TempDir(),
		"--enable-feature=exemplar-storage", "--query.lookback-delta="+lookback.String(), "--log.level=warn",
		"--config.file="+derive(t, dir, "prometheus/prometheus.yml", "127.0.0.1:8889", metrics, "127.0.0.1:9093", alerts))
	s.prometheus = prometheus{url: "http://" + queries}
	prom.answers(t, s.prometheus.url+"/-/ready")
	return s
}

// overlay lets the Collector print whole spans, and keep its own metrics to itself.
const overlay = `
exporters: {debug: {verbosity: detailed}}
service: {telemetry: {metrics: {level: none}}}
`

// derive writes a copy of a configuration of deploy into dir, and returns its path. Durations are
// divided by speed, and each old is replaced by the new that follows it.
func derive(t *testing.T, dir, path string, oldnew ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", path))
	if err != nil {
		t.Fatal(err)
	}
	config := string(b)
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(config, oldnew[i]) {
			t.Fatalf("%s does not contain %s", path, oldnew[i])
		}
	}
	return write(t, dir, filepath.Base(path), strings.NewReplacer(oldnew...).Replace(faster(config)))
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// portOf returns the port of an address.
func portOf(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
