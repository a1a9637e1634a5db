// Package report writes what programs have measured into Markdown files.
package report

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// None is a cell without a figure.
const None = "–"

// Table writes a table whose first columns are text, and whose others are
// figures.
func Table(text int, head []string, rows [][]string) string {
	var b strings.Builder
	for i, r := range append([][]string{head}, rows...) {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(r, " | "))
		if i == 0 {
			fmt.Fprintf(&b, "|%s%s\n", strings.Repeat("---|", text), strings.Repeat("--:|", len(head)-text))
		}
	}
	return b.String()
}

// Digits writes a whole number with a comma after each thousand.
func Digits(x float64) string {
	s := fmt.Sprintf("%.0f", x)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Write replaces the text between the markers of a name in a file.
func Write(file, name, text string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	begin, end := "<!-- "+name+":begin -->\n", "<!-- "+name+":end -->"
	before, rest, ok := strings.Cut(string(old), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return errors.New(file + " has no " + strings.TrimSpace(begin) + " and " + end)
	}
	return os.WriteFile(file, []byte(before+begin+text+end+after), 0o644)
}

// Version returns the version of a module that this program was built with, or the
// day of the commit if the module has no releases.
func Version(module string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == module {
			version, _, _ := strings.Cut(m.Version, "+")
			if commit, ok := strings.CutPrefix(version, "v0.0.0-"); ok {
				version = fmt.Sprintf("of %s-%s-%s", commit[:4], commit[4:6], commit[6:8])
			}
			return version
		}
	}
	return ""
}

// Machine describes the machine that this program runs on.
func Machine() string {
	return fmt.Sprintf("%s, %d cores, %s %s/%s", cpu(), runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// cpu is the model of the processor, where Linux tells it.
func cpu() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, model, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return "unknown processor"
}
