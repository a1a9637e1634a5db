//go:build unix

package fleet

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFrozenProcess: reads that end late because the process was stopped meanwhile, as in a Lambda
// between two requests, say nothing about the store: what the process finds out next is published.
func TestFrozenProcess(t *testing.T) {
	if os.Getenv("BREAKERHTTP_FROZEN") != "" {
		beFrozen(t)
		return
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFrozenProcess$", "-test.count=1")
	cmd.Env = append(os.Environ(), "BREAKERHTTP_FROZEN=1")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var got string
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		switch line, end, _ := strings.Cut(lines.Text(), ":"); line {
		case "stopping":
			var status syscall.WaitStatus
			if _, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
				t.Fatalf("the process has not stopped: %v, %v", status, err)
			}
			time.Sleep(4 * time.Second)
			_ = cmd.Process.Signal(syscall.SIGCONT)
		case "end":
			got = end
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if want := "[delayed delayed delayed] [] open"; got != want {
		t.Errorf("reads, errors and record are %s, want %s", got, want)
	}
}

func beFrozen(t *testing.T) {
	var results []string
	s := newFakeStore()
	p := newProcess(t, s, func(cfg *Config, _ *Policy) {
		cfg.Quorum, cfg.ReadTimeout, cfg.WriteTimeout = 1, 2*time.Second, time.Minute
	})
	p.request()
	p.fleet.cfg.OnCall = func(_, result string) { results = append(results, result) }
	s.misbehave(func(ctx context.Context) error {
		fmt.Println("stopping:")
		if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
			return err
		}
		return blackHole(ctx) // on a busy machine this thread goes on for a while before it stops
	})
	for range 3 {
		p.hint()
	}
	s.misbehave(nil)
	reads, errs := fmt.Sprint(results), p.errs.take()
	p.Tripped(context.Background(), time.Minute)
	state := "not open"
	if strings.Contains(s.value(), `"st":"open"`) {
		state = "open"
	}
	fmt.Printf("end:%s %s %s\n", reads, errs, state)
}
