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

	"github.com/breakerhttp/breakerhttp/benchmarks/internal/report"
)

func main() {
	budget := flag.Duration("for", 4*time.Minute, "how long to measure, about")
	file := flag.String("into", "", "`file` to write the tables into")
	readme := flag.String("short", "", "`file` to write the short table into")
	shared := flag.Bool("shared", false, "measure circuits that processes share, on a redis-server of its own, instead of all else")
	layout := flag.Bool("layout", false, "measure only what depends on the layout of this program, and print it as JSON")
	flag.Parse()
	logx.Disable()            // go-zero's
	log.SetOutput(io.Discard) // hystrix-go's
	run := func() error { return measure(*budget, *file, *readme) }
	switch {
	case *shared:
		run = func() error { return measureSharing(*budget, *file) }
	case *layout:
		run = func() error { return measureLayout(os.Stdout, *budget) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

// measure prints what it measures, and writes it into a file, and a short table into another one.
// It writes none whose name is "".
func measure(budget time.Duration, file, readme string) error {
	r, err := measureAll(budget)
	if err != nil {
		return err
	}
	return errors.Join(publish(file, "bench", r.String()), publish(readme, "bench-short", r.short()))
}

func measureSharing(budget time.Duration, file string) error {
	r, err := measureShared(budget)
	if err != nil {
		return err
	}
	return publish(file, "bench-shared", r.String())
}

// publish prints a text, and writes it between the markers of a name in a file.
func publish(file, name, text string) error {
	target := strings.TrimSuffix(name, "-short")
	text = fmt.Sprintf("Measured on %s by `make %s` on %s.\n\n%s", time.Now().Format(time.DateOnly), target, report.Machine(), text)
	fmt.Println(text)
	if file == "" {
		return nil
	}
	return report.Write(file, name, text)
}
