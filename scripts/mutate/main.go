// Mutate breaks the rules of the library one at a time, and shows that a test
// fails for each.
//
// It reads mutants.txt: blocks of a rule after "#", a file, the lines to replace
// after "-", and those to put in their place after "+". The work tree is not
// touched: the go command is given the broken file in an overlay.
package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

//go:embed mutants.txt
var list string

// A mutant is a rule broken in a file.
type mutant struct {
	rule, file, old, new string
}

func main() {
	workers := flag.Int("p", 2, "mutants to try at a time")
	only := flag.String("run", "", "try only the mutants whose rule or file contains this")
	flag.Parse()
	survivors, err := run(*workers, *only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	}
	if survivors > 0 {
		os.Exit(1)
	}
}

func run(workers int, only string) (survivors int, err error) {
	mutants, err := parse(list)
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)

	var (
		mu      sync.Mutex
		wg      sync.WaitGroup
		tried   int
		invalid []error
		work    = make(chan int)
	)
	for range workers {
		wg.Go(func() {
			for i := range work {
				m := mutants[i]
				killer, err := m.try(dir, i)
				mu.Lock()
				tried++
				switch {
				case err != nil:
					invalid = append(invalid, err)
					fmt.Printf("INVALID   %s: %s: %v\n", m.file, m.rule, err)
				case killer == "":
					survivors++
					fmt.Printf("SURVIVED  %s: %s\n", m.file, m.rule)
				default:
					fmt.Printf("killed    %s: %s (%s)\n", m.file, m.rule, killer)
				}
				mu.Unlock()
			}
		})
	}
	for i, m := range mutants {
		if strings.Contains(m.rule+m.file, only) {
			work <- i
		}
	}
	close(work)
	wg.Wait()
	fmt.Printf("%d mutants, %d survived\n", tried, survivors)
	return survivors, errors.Join(invalid...)
}

func parse(s string) (mutants []mutant, err error) {
	for block := range strings.SplitSeq(strings.TrimSpace(s), "\n\n") {
		var m mutant
		for line := range strings.Lines(block) {
			switch {
			case strings.HasPrefix(line, "# "):
				m.rule = strings.TrimSpace(line[2:])
			case strings.HasPrefix(line, "-"):
				m.old += line[1:]
			case strings.HasPrefix(line, "+"):
				m.new += line[1:]
			default:
				m.file = strings.TrimSpace(line)
			}
		}
		m.old, m.new = strings.TrimSuffix(m.old, "\n"), strings.TrimSuffix(m.new, "\n")
		if m.rule == "" || m.file == "" || m.old == "" {
			return nil, fmt.Errorf("unusable mutant:\n%s", block)
		}
		mutants = append(mutants, m)
	}
	return mutants, nil
}

// broken returns the file of the mutant, in the repository at root, with its rule broken.
func (m mutant) broken(root string) ([]byte, error) {
	source, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		return nil, err
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		return nil, fmt.Errorf("%s has the lines %d times, want once:\n%s", m.file, n, m.old)
	}
	return []byte(strings.Replace(string(source), m.old, m.new, 1)), nil
}

// try runs the tests with the mutant, and returns the first that fails.
func (m mutant) try(dir string, i int) (killer string, err error) {
	file, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	source, err := m.broken(".")
	if err != nil {
		return "", err
	}
	broken := filepath.Join(dir, fmt.Sprintf("%d.go", i))
	if err := os.WriteFile(broken, source, 0o600); err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {file: broken}})
	if err != nil {
		return "", err
	}
	config := filepath.Join(dir, fmt.Sprintf("%d.json", i))
	if err := os.WriteFile(config, overlay, 0o600); err != nil {
		return "", err
	}
	// The package of the rule first: its tests are the closest and the quickest.
	for _, pkg := range []string{"./" + filepath.Dir(m.file), ".", "./internal/contract"} {
		if killer, err = test(config, pkg); killer != "" || err != nil {
			return killer, err
		}
	}
	return "", nil
}

// test returns the first test of a package that fails.
func test(overlay, pkg string) (failed string, err error) {
	cmd := exec.Command("go", "test", "-overlay", overlay, "-count=1", "-failfast", "-timeout=2m", pkg)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err == nil {
		return "", nil
	}
	if strings.Contains(string(out), "[build failed]") || strings.Contains(string(out), "[setup failed]") {
		return "", fmt.Errorf("it does not compile:\n%s", out)
	}
	for line := range strings.Lines(string(out)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "--- FAIL: "); ok {
			name, _, _ = strings.Cut(name, " ")
			return name, nil
		}
	}
	return "the whole run", nil // a panic, a deadlock, a leak or a time-out
}
