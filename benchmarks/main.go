// Benchmarks measures breakerhttp beside other circuit breakers, each in the way
// its users put it in front of many hosts, and beside the least that any could
// do. It prints tables, and writes them into a file between its markers.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"github.com/zeromicro/go-zero/core/logx"
)

func main() {
	budget := flag.Duration("for", 4*time.Minute, "how long to measure, about")
	file := flag.String("into", "", "file to write the tables into")
	shared := flag.Bool("shared", false, "measure circuits that processes share, on a redis-server of its own, instead of all else")
	flag.Parse()
	logx.Disable()            // go-zero's
	log.SetOutput(io.Discard) // hystrix-go's
	measure, target := func() (fmt.Stringer, error) { return measureAll(*budget) }, "bench"
	if *shared {
		measure, target = func() (fmt.Stringer, error) { return measureShared(*budget) }, "bench-shared"
	}
	if err := run(measure, target, *file); err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

// run prints what is measured, and writes it between the markers of a target of
// the Makefile.
func run(measure func() (fmt.Stringer, error), target, file string) error {
	r, err := measure()
	if err != nil {
		return err
	}
	text := fmt.Sprintf("Measured on %s by `make %s` on %s.\n\n%v", time.Now().Format(time.DateOnly), target, machine(), r)
	fmt.Print(text)
	if file == "" {
		return nil
	}
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text, err = between(string(old), target, text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// between replaces what stands between the markers of a name.
func between(s, name, text string) (string, error) {
	begin, end := "<!-- "+name+":begin -->\n", "<!-- "+name+":end -->"
	before, rest, ok := strings.Cut(s, begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return "", errors.New("has no " + strings.TrimSpace(begin) + " and " + end)
	}
	return before + begin + text + end + after, nil
}
