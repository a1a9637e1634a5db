//go:build e2e && linux

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for something that should happen within seconds.
const patience = time.Minute

// A program is a process that a test has started.
type program struct {
	name string
	log  string // the path of what it prints
	done chan struct{}
}

// installed returns the program that the environment variable names. Without one
// it skips t, or fails it if BREAKERHTTP_REQUIRE_SERVERS is set.
func installed(t *testing.T, variable string) string {
	t.Helper()
	path, err := exec.LookPath(os.Getenv(variable))
	if err != nil && os.Getenv("BREAKERHTTP_REQUIRE_SERVERS") != "" {
		t.Fatalf("%s names no program: %v", variable, err)
	}
	if err != nil {
		t.Skipf("%s names no program: %v", variable, err)
	}
	return path
}

// start runs a program until t ends. If t fails, the end of the program's log is shown.
func start(t *testing.T, variable string, args ...string) *program {
	t.Helper()
	path := installed(t, variable)
	p := &program{name: filepath.Base(path), log: filepath.Join(t.TempDir(), "log"), done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	// It gets a process group of its own, to be stopped as a whole, and dies with a test that is
	// killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	err = cmd.Start()
	log.Close()
	if err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	go func() {
		_ = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.stop(t, cmd.Process.Pid)
		if t.Failed() {
			t.Logf("%s:\n%s", p.name, lastLines(p.output(t), 20))
		}
	})
	return p
}

func (p *program) stop(t *testing.T, group int) {
	_ = syscall.Kill(-group, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		t.Errorf("%s does not stop when asked to", p.name)
	}
	_ = syscall.Kill(-group, syscall.SIGKILL)
	<-p.done
}

func (p *program) output(t *testing.T) []byte {
	t.Helper()
	out, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func lastLines(b []byte, n int) []byte {
	lines := bytes.SplitAfter(b, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-n):], nil)
}

// answers waits until the program answers a GET with status 200.
func (p *program) answers(t *testing.T, url string) {
	t.Helper()
	eventually(t, p.name+" to answer", func() error {
		select {
		case <-p.done:
			t.Fatalf("%s has ended", p.name)
		default:
		}
		_, err := fetch(url)
		return err
	})
}

// fetch returns the body of a response that has status 200.
func fetch(url string) ([]byte, error) {
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: status %d: %s", url, resp.StatusCode, body)
	}
	return body, err
}

// eventually waits until met returns nil, and fails t with its last error if that
// takes too long.
func eventually(t *testing.T, what string, met func() error) {
	t.Helper()
	start := time.Now()
	for err := met(); err != nil; err = met() {
		if time.Since(start) > patience {
			t.Fatalf("still waiting for %s: %v", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
