// Fleet shows what processes gain by sharing circuits. It starts a host and
// several processes that call it, and takes the host down for a while: first with
// circuits of each process's own, then with shared ones. It prints what the host
// saw.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/alicebob/miniredis/v2"
)

func main() {
	if isProcess() {
		exit(runProcess())
	}
	o := options{}
	flag.Usage = usage
	flag.IntVar(&o.processes, "processes", 10, "how many processes call the host")
	flag.DurationVar(&o.outage, "outage", 8*time.Second, "how long the host is down")
	flag.DurationVar(&o.openFor, "open-for", 3*time.Second, "how long a circuit stays open, or up to half as much longer; outside of a\ndemonstration it would be a minute")
	flag.DurationVar(&o.every, "every", 100*time.Millisecond, "mean time between the requests of a process")
	flag.StringVar(&o.redis, "redis", "", "share through the Redis or Valkey at this `address`, as 127.0.0.1:6379")
	flag.StringVar(&o.dynamodb, "dynamodb", "", "share through the DynamoDB at this `endpoint`, as http://127.0.0.1:8000, in the table "+table+", which is made if there is none")
	flag.Parse()
	exit(run(os.Stdout, o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func usage() {
	fmt.Fprint(flag.CommandLine.Output(), `Usage: fleet [flags]

Takes a host down twice: first each process that calls it has circuits of its
own, then all share them. It prints what the host saw each time.

Everything runs on this machine. The circuits are shared through a Redis inside
this program, unless a flag names another store. DynamoDB takes its region and
credentials from AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
AWS_SESSION_TOKEN; a server for tests takes any.

`)
	flag.PrintDefaults()
}

type options struct {
	processes              int
	outage, openFor, every time.Duration
	redis, dynamodb        string
}

func run(out io.Writer, o options) error {
	if o.processes < 1 || o.redis != "" && o.dynamodb != "" {
		return fmt.Errorf("got %d processes, -redis %q and -dynamodb %q: want one process or more, and one store at most", o.processes, o.redis, o.dynamodb)
	}
	if o.redis == "" && o.dynamodb == "" {
		server, err := miniredis.Run()
		if err != nil {
			return err
		}
		defer server.Close()
		o.redis = server.Addr()
	}
	fmt.Fprintf(out, "%d processes, a request every %v each; the host is down for %v, circuits open for %v to %v.\n\n", o.processes, o.every, o.outage, o.openFor, o.openFor*3/2)
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\thits\tprobes\tfirst answer\tothers after\t")
	for _, way := range []struct{ name, redis, dynamodb string }{
		{name: "local only"},
		{name: "shared", redis: o.redis, dynamodb: o.dynamodb},
	} {
		alone := o
		alone.redis, alone.dynamodb = way.redis, way.dynamodb
		got, err := outage(alone)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%.2f s\t%.2f s\t\n", way.name, got.hits, got.probes, got.first.Seconds(), got.others.Seconds())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(out, legend)
	return err
}

const legend = `
hits          requests that reached the host while it was down
probes        those of them that were to find out whether it has recovered
first answer  from the host's return until a process was answered: until the
              next of their open times is over, or the one that they share
others after  from then on until all processes were answered: each waits for
              its own open time, or hears of the first answer
`
