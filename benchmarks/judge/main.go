// Judge shows how well circuit breakers judge: what they make of scenarios such
// as a host that hangs, or is overloaded. It plays them in virtual time, to real
// Transports and to the peers, and writes a table.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"testing"

	"github.com/zeromicro/go-zero/core/logx"
)

func main() {
	seeds := flag.Int("seeds", 10, "how often to play each scenario")
	only := flag.String("scenario", "", "the only scenario to play")
	flag.Parse()
	chosen := scenarios
	if *only != "" {
		i := slices.IndexFunc(scenarios, func(sc *scenario) bool { return sc.name == *only })
		if i < 0 {
			fmt.Fprintln(os.Stderr, "judge: no scenario", *only)
			os.Exit(2)
		}
		chosen = scenarios[i : i+1]
	}
	logx.Disable()            // go-zero's
	log.SetOutput(io.Discard) // hystrix-go's
	inTest(func(t *testing.T) int {
		fmt.Print(newBoard(t, chosen, contenders, *seeds, os.Stderr))
		return 0
	})
}

// inTest runs f in a test, for virtual time is for tests only, and exits.
func inTest(f func(t *testing.T) int) {
	all := func(string, string) (bool, error) { return true, nil }
	testing.Main(all, []testing.InternalTest{{Name: "judge", F: func(t *testing.T) { os.Exit(f(t)) }}}, nil, nil)
}
