package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"time"
)

const usage = `Usage: go run ./examples/quickstart [flags]

Starts five servers on loopback that fail in different ways, requests their
pages through one http.Client with a circuit breaker for each, and shows what
happens. A twin of the client makes the same requests without circuit breakers,
for comparison. Nothing leaves this machine.

`

const jsonUsage = `
Without a terminal, or with NO_COLOR set, it writes lines of text, as with -plain.

With -json each line is an object. "type" says which, "at" is the time in
seconds since the start, "host" the server's name, "text" says it in words:

  story, upstream   "text": what is shown; a server fails or recovers
  request           "outcome": "answered", "failed", "refused", or "interrupted"
                    by the end of the program
                    "sent": how many times, 0 if it was refused at once
                    "seconds": how long the caller waited; "error"
  transition        "transition": a breakerhttp.Transition
  summary           the last line. "hosts": "state", and what became of their
                    requests "with_breakers" and "without_breakers"; "metrics":
                    as exported; "trace": the spans and events of one request
`

// servedLength leaves time to look at the page.
const servedLength = 3 * time.Minute

// options are the flags.
type options struct {
	length      time.Duration
	seed        uint64
	json, plain bool
	serve       bool
}

func parse(args []string, out io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	f.SetOutput(io.Discard) // run returns the error
	f.DurationVar(&o.length, "for", defaultLength, "how long the story takes, 3s to 1h: the same is told faster or slower")
	f.Uint64Var(&o.seed, "seed", 1, "varies when requests are made and when servers fail")
	f.BoolVar(&o.json, "json", false, "write a JSON object a line: see below")
	f.BoolVar(&o.plain, "plain", false, "write lines of text, also to a terminal")
	f.BoolVar(&o.serve, "serve", false, "show the circuits on a page for a browser too, on loopback, and leave it there\nafter the story, until an interrupt; the story takes 3m unless -for is given")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		f.SetOutput(out)
		_, _ = io.WriteString(out, usage)
		f.PrintDefaults()
		_, _ = io.WriteString(out, jsonUsage)
		return o, err
	case err != nil:
		return o, err
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.length < 3*time.Second, o.length > time.Hour:
		return o, fmt.Errorf("-for is %v, want 3s to 1h", o.length)
	}
	given := false
	f.Visit(func(f *flag.Flag) { given = given || f.Name == "for" })
	if o.serve && !given {
		o.length = servedLength
	}
	return o, nil
}
