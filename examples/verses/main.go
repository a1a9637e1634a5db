// Verses looks up verses in a service, and answers from memory while its circuit
// is open.
//
// It starts the service on loopback, lets it hang, and prints what callers get.
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"time"
)

func main() {
	timeout := flag.Duration("timeout", 500*time.Millisecond, "how long to wait for a verse; outside of a demonstration it would be 5s")
	openFor := flag.Duration("open-for", 2*time.Second, "how long the circuit stays open; outside of a demonstration it would be 30s")
	flag.Parse()
	if err := run(os.Stdout, *timeout, *openFor); err != nil {
		fmt.Fprintln(os.Stderr, "verses:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, timeout, openFor time.Duration) error {
	up := &service{}
	srv := httptest.NewServer(up)
	defer srv.Close()
	b, err := newBook(srv.URL, timeout, openFor)
	if err != nil {
		return err
	}
	look := func(reference string) {
		began := time.Now()
		verse, source, err := b.look(reference)
		took := time.Since(began).Round(time.Millisecond)
		switch {
		case err != nil:
			fmt.Fprintf(out, "  %-8s %6v  failed: no answer in time\n", reference, took)
		case source != "":
			fmt.Fprintf(out, "  %-8s %6v  %s (from %s)\n", reference, took, verse, source)
		default:
			fmt.Fprintf(out, "  %-8s %6v  %s\n", reference, took, verse)
		}
	}

	fmt.Fprintln(out, "The service is healthy.")
	look("psalm-1")
	fmt.Fprintln(out, "\nIt hangs. Three look-ups time out. From then on, nobody waits.")
	up.hangs.Store(true)
	for range 3 {
		look("psalm-1")
	}
	look("psalm-1")
	look("psalm-2")
	fmt.Fprintf(out, "\nIt has recovered. The first look-up after %v finds that out.\n", openFor)
	up.hangs.Store(false)
	time.Sleep(openFor)
	look("psalm-2")
	return nil
}

// service stands in for one on the internet.
type service struct{ hangs atomic.Bool }

func (s *service) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if s.hangs.Load() {
		<-req.Context().Done()
		return
	}
	_, _ = io.WriteString(w, "verse of "+req.URL.Path[1:])
}
