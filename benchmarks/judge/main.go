// Judge shows how well circuit breakers judge: what they make of a host that
// hangs, is overloaded, fails a little, or is dead for long. It plays such
// scenarios in virtual time to real Transports and to other circuit breakers, and
// writes a table and a picture.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/afex/hystrix-go/hystrix"
	"github.com/zeromicro/go-zero/core/logx"

	"github.com/breakerhttp/breakerhttp/benchmarks/internal/report"
)

// options are those of the command line.
type options struct {
	seeds    int
	scenario string
	policy   string
	into     string
	readme   string
	picture  string
}

func main() {
	var o options
	flag.IntVar(&o.seeds, "seeds", 10, "how often to play each scenario, with other chances")
	flag.StringVar(&o.scenario, "scenario", "", "the `name` of the only scenario to play")
	flag.StringVar(&o.policy, "policy", "", "`file` with a policy in JSON, to be judged too")
	flag.StringVar(&o.into, "into", "", "`file` to write the tables into")
	flag.StringVar(&o.readme, "short", "", "`file` to write the short table into")
	flag.StringVar(&o.picture, "picture", "", "`file` to draw the picture into")
	flag.Parse()
	inTest(func(t *testing.T) {
		if err := o.run(t); err != nil {
			fmt.Fprintln(os.Stderr, "judge:", err)
			os.Exit(1)
		}
		os.Exit(0)
	})
}

// inTest runs f as a test: only tests have virtual time.
func inTest(f func(t *testing.T)) {
	all := func(string, string) (bool, error) { return true, nil }
	testing.Main(all, []testing.InternalTest{{Name: "judge", F: f}}, nil, nil)
}

func (o *options) run(t *testing.T) error {
	chosen := scenarios
	if o.scenario != "" {
		chosen = slices.DeleteFunc(slices.Clone(scenarios), func(sc *scenario) bool { return sc.name != o.scenario })
	}
	if len(chosen) == 0 {
		return errors.New("there is no scenario " + o.scenario)
	}
	judged := contenders
	if o.policy != "" {
		own, err := fromFile(o.policy)
		if err != nil {
			return err
		}
		judged = append(slices.Clone(judged), own)
	}
	prepare()
	b := newBoard(t, chosen, judged, o.seeds, os.Stderr)
	fmt.Print(b)
	for _, miss := range b.missed() {
		fmt.Fprintln(os.Stderr, "missed a bound:", miss)
	}
	if o.picture != "" {
		if err := os.WriteFile(o.picture, []byte(b.picture()), 0o644); err != nil {
			return err
		}
	}
	if o.into == "" {
		return nil
	}
	measured := fmt.Sprintf("Measured on %s by `make judge`. Seeds: %d, for the others %d.\n\n",
		time.Now().UTC().Format(time.DateOnly), o.seeds, min(o.seeds, fewSeeds))
	err := report.Write(o.into, "judge", measured+b.String())
	if o.readme == "" {
		return err
	}
	return errors.Join(err, report.Write(o.readme, "judge-short", b.inShort()))
}

// prepare turns off what the peers log, and lets hystrix-go have more requests in
// flight than its default of 10: that is what there is on average while the host
// is healthy.
func prepare() {
	logx.Disable()
	log.SetOutput(io.Discard)
	hystrix.DefaultMaxConcurrent = 100
}
