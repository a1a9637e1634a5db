package main

import (
	"bytes"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// TestMain lets the test binary be the processes that tests start.
func TestMain(m *testing.M) {
	if isProcess() {
		exit(runProcess())
	}
	os.Exit(m.Run())
}

func TestRun(t *testing.T) {
	var out bytes.Buffer
	o := options{processes: 4, outage: 1500 * time.Millisecond, openFor: 300 * time.Millisecond, every: 20 * time.Millisecond}
	if err := run(&out, o); err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^ *(local only|shared) +(\d+) +(\d+) +[\d.]+ s +[\d.]+ s *$`).FindAllStringSubmatch(out.String(), -1)
	if len(rows) != 2 || rows[0][1] != "local only" || rows[1][1] != "shared" {
		t.Fatalf("got %q, want a row for local only and one for shared:\n%s", rows, out.String())
	}
	var hits, probes [2]int
	for i, row := range rows {
		hits[i], _ = strconv.Atoi(row[2])
		probes[i], _ = strconv.Atoi(row[3])
	}
	if hits[0] < 4*5+4 {
		t.Errorf("local only: got %d hits, want 5 and a probe from each of 4 processes at least", hits[0])
	}
	if probes[1] < 1 || probes[1] >= probes[0] {
		t.Errorf("shared: got %d probes, want some but fewer than the %d of local only:\n%s", probes[1], probes[0], out.String())
	}
	if hits[1] >= hits[0] {
		t.Errorf("shared: got %d hits, want fewer than the %d of local only:\n%s", hits[1], hits[0], out.String())
	}
}

func TestRunRefusesTwoStores(t *testing.T) {
	if err := run(&bytes.Buffer{}, options{processes: 1, redis: "a", dynamodb: "b"}); err == nil {
		t.Error("got no error for two stores")
	}
}
