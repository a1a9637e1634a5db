// Mutate breaks the rules of the library one at a time, and shows that a test
// fails for each.
//
// It reads mutants.txt: blocks of a rule after "#", a file, the lines to replace
// after "-", and those to put in their place after "+". The work tree is not
// touched: the go command is given the broken files in an overlay.
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
	"regexp"
	"slices"
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
	only := flag.String("run", "", "try only the mutants whose file and rule match this regular expression")
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
	which, err := regexp.Compile(only)
	if err != nil {
		return 0, err
	}
	mutants = slices.DeleteFunc(mutants, func(m mutant) bool { return !which.MatchString(m.file + ": " + m.rule) })
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	b, err := build(dir, mutants)
	if err != nil {
		return 0, err
	}

	var (
		mu      sync.Mutex
		wg      sync.WaitGroup
		invalid []error
		work    = make(chan int)
	)
	for range workers {
		wg.Go(func() {
			for i := range work {
				m := mutants[i]
				killer, err := b.try(m, i)
				mu.Lock()
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
	for i := range mutants {
		work <- i
	}
	close(work)
	wg.Wait()
	fmt.Printf("%d mutants, %d survived\n", len(mutants), survivors)
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

// packages are those whose tests a mutant of a file must survive. That of the file comes first: its
// tests are the closest and the quickest.
func packages(file string) []string {
	return slices.Compact([]string{filepath.Dir(file), ".", "internal/contract"})
}

// A builder makes test programs in a directory.
type builder struct {
	dir      string
	in       []bool            // which mutants are in programs
	programs map[string]string // by package
}

// build makes the test programs of all mutants that can be switched on. Without one, all tests pass.
func build(dir string, mutants []mutant) (*builder, error) {
	sources, in, err := switchable(".", mutants)
	if err != nil {
		return nil, err
	}
	b := &builder{dir, in, map[string]string{}}
	overlay, err := b.overlay("switched", sources)
	if err != nil {
		return nil, err
	}
	for i, m := range mutants {
		for _, pkg := range packages(m.file) {
			if !in[i] || b.programs[pkg] != "" {
				continue
			}
			program := filepath.Join(dir, fmt.Sprint("program", len(b.programs)))
			if out, err := exec.Command("go", "test", "-c", "-overlay", overlay, "-o", program, "./"+pkg).CombinedOutput(); err != nil {
				return nil, fmt.Errorf("with the mutants %s does not compile:\n%s", pkg, out)
			}
			b.programs[pkg] = program
			if killer := b.test(pkg, 0); killer != "" {
				return nil, fmt.Errorf("%s of %s fails without a mutant", killer, pkg)
			}
		}
	}
	return b, nil
}

// overlay writes sources, and returns the file that tells the go command of them.
func (b *builder) overlay(name string, sources map[string][]byte) (string, error) {
	replace := map[string]string{}
	for file, source := range sources {
		path, err := filepath.Abs(file)
		if err != nil {
			return "", err
		}
		replace[path] = filepath.Join(b.dir, fmt.Sprintf("%s-%d.go", name, len(replace)))
		if err := os.WriteFile(replace[path], source, 0o600); err != nil {
			return "", err
		}
	}
	config, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(b.dir, name+".json")
	return path, os.WriteFile(path, config, 0o600)
}

// try runs the tests with a mutant, and returns the first that fails.
func (b *builder) try(m mutant, i int) (killer string, err error) {
	if b.in[i] {
		for _, pkg := range packages(m.file) {
			if killer = b.test(pkg, i+1); killer == "" {
				continue
			}
			if top, _, _ := strings.Cut(killer, "/"); strings.HasPrefix(top, "Test") && b.test(pkg, 0, "-test.run=^"+top+"$") != "" {
				return "", fmt.Errorf("%s of %s fails without a mutant, too", top, pkg)
			}
			break
		}
		return killer, nil
	}
	source, err := m.broken(".")
	if err != nil {
		return "", err
	}
	overlay, err := b.overlay(fmt.Sprint("mutant", i), map[string][]byte{m.file: source})
	if err != nil {
		return "", err
	}
	for _, pkg := range packages(m.file) {
		cmd := exec.Command("go", "test", "-overlay", overlay, "-count=1", "-failfast", "-timeout=2m", "./"+pkg)
		var out string
		if killer, out = firstFailure(cmd); killer != "" {
			if strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]") {
				return "", fmt.Errorf("it does not compile:\n%s", out)
			}
			break
		}
	}
	return killer, nil
}

// test runs the tests of a package with a mutant switched on, and returns the first that fails.
func (b *builder) test(pkg string, number int, flags ...string) (killer string) {
	cmd := exec.Command(b.programs[pkg], append(flags, "-test.failfast", "-test.timeout=2m", "-test.paniconexit0")...)
	cmd.Dir = pkg
	cmd.Env = append(os.Environ(), fmt.Sprint("MUTANT=", number))
	killer, _ = firstFailure(cmd)
	return killer
}

// firstFailure runs tests, and returns the first that fails.
func firstFailure(cmd *exec.Cmd) (killer, out string) {
	cmd.WaitDelay = time.Second
	output, err := cmd.CombinedOutput()
	out = string(output)
	if err == nil {
		return "", out
	}
	for line := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "--- FAIL: "); ok {
			name, _, _ = strings.Cut(name, " ")
			return name, out
		}
	}
	return "the whole run", out // a panic, a deadlock, a leak or a time-out
}
