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
	flag.Parse()
	logx.Disable()            // go-zero's
	log.SetOutput(io.Discard) // hystrix-go's
	if err := run(*budget, *file); err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

func run(budget time.Duration, file string) error {
	r, err := measureAll(budget)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("Measured on %s by `make bench` on %s.\n\n%v", time.Now().Format(time.DateOnly), machine(), r)
	fmt.Print(text)
	if file == "" {
		return nil
	}
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text, err = between(string(old), text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

const (
	begin = "<!-- bench:begin -->\n"
	end   = "<!-- bench:end -->"
)

// between replaces what stands between the markers.
func between(s, text string) (string, error) {
	before, rest, ok := strings.Cut(s, begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return "", errors.New("has no " + strings.TrimSpace(begin) + " and " + end)
	}
	return before + begin + text + end + after, nil
}
