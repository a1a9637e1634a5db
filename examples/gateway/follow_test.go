package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestFollow changes the file of policies while the gateway is under load.
func TestFollow(t *testing.T) {
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer failing.Close()
	file := filepath.Join(t.TempDir(), "policies.json")
	write(t, file, `{"all": {"consecutive_failures": 1000000}}`)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	out, in := io.Pipe()
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() {
		if err := run(ctx, []string{"-policies", file, "-route", "api=" + failing.URL}, in); err != nil {
			t.Error(err)
		}
		_ = in.Close()
	})
	lines := bufio.NewScanner(out)
	lines.Scan()
	gateway := strings.TrimPrefix(lines.Text(), "gateway  ")
	logged := make(chan string, 100)
	running.Go(func() {
		defer close(logged)
		for lines.Scan() {
			if strings.Contains(lines.Text(), "polic") {
				logged <- lines.Text()
			}
		}
	})
	client := newClient(t)
	var load sync.WaitGroup
	ended := make(chan struct{})
	for range 4 {
		load.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
					_, _ = get(ctx, client, gateway+"/api/")
				}
			}
		})
	}
	defer func() {
		close(ended)
		load.Wait()
		client.CloseIdleConnections()
	}()
	status := func() int {
		t.Helper()
		resp, _ := fetch(t, client, gateway+"/api/")
		return resp.StatusCode
	}
	for range 50 {
		if got := status(); got != http.StatusInternalServerError {
			t.Fatalf("without a rule: got %d, want the upstream's 500", got)
		}
	}

	write(t, file, `{"hosts": {"127.0.0.1": {"consecutive_failures": 1, "open_for": "1h"}}}`)
	if got := <-logged; !strings.Contains(got, `msg="policies set"`) {
		t.Errorf("got the line %s, want that policies are set", got)
	}
	status() // a failure, unless another request was first
	for range 50 {
		if got := status(); got != http.StatusServiceUnavailable {
			t.Fatalf("with the new rule: got %d, want 503", got)
		}
	}

	write(t, file, "{\n  \"hosts\": {\n    \"127.0.0.1\": {\n      \"open_fro\": \"1s\"\n    }\n  }\n}")
	checkReport(t, <-logged, file)
	if got := status(); got != http.StatusServiceUnavailable {
		t.Errorf("with an error in the file: got %d, want the rule before", got)
	}

	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" {
		if err := self.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		checkReport(t, <-logged, file) // it is read although nothing has changed
	}
}

func checkReport(t *testing.T, line, file string) {
	t.Helper()
	for _, want := range []string{"policies stay as they were", file + ":4: 127.0.0.1: ", "open_fro"} {
		if !strings.Contains(line, want) {
			t.Errorf("got the line %s, want %q in it", line, want)
		}
	}
}

// write puts a new file in place of the old one, as editors do.
func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// TestFollowFrom: a file with an error is an error at the start.
func TestFollowFrom(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policies.json")
	for _, text := range []string{"{", `{"all": {"jitter": 2}}`} {
		write(t, file, text)
		err := run(t.Context(), []string{"-policies", file, "-for", "1ms"}, io.Discard)
		if err == nil || !strings.Contains(err.Error(), file+":1: ") {
			t.Errorf("%s: got error %v, want one of line 1", text, err)
		}
	}
	if err := run(t.Context(), []string{"-policies", file + ".missing", "-for", "1ms"}, io.Discard); err == nil {
		t.Error("no file: got no error")
	}
}
