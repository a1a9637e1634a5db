// Videos downloads a large file from two mirrors. The first breaks every stream
// off after a 200 OK. That opens its circuit, and the download goes on from the
// second mirror where it had ended.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

func main() {
	size := flag.Int64("size", 64<<20, "bytes of the video")
	idle := flag.Duration("idle", 30*time.Second, "a mirror has failed when nothing comes for so long")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *size, *idle); err != nil {
		fmt.Fprintln(os.Stderr, "videos:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, size int64, idle time.Duration) error {
	video := bytes.Repeat([]byte("moving pictures "), int(size/16))
	broken := httptest.NewServer(mirror{video: video, breaks: len(video) / 10})
	defer broken.Close()
	healthy := httptest.NewServer(mirror{video: video})
	defer healthy.Close()

	fmt.Fprintln(out, "Two mirrors have the video. The first breaks every answer off. Three failures open its circuit.")
	client, err := newClient(idle, 120*time.Second)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	hash := sha256.New()
	d := &download{
		client:  client,
		mirrors: []string{broken.URL, healthy.URL},
		out:     hash,
		notes:   out,
		bar: progressbar.NewOptions64(-1,
			progressbar.OptionSetWriter(out),
			progressbar.OptionSetVisibility(isTerminal(out)),
			progressbar.OptionShowBytes(true),
			progressbar.OptionSetWidth(40),
			progressbar.OptionThrottle(50*time.Millisecond),
			progressbar.OptionOnCompletion(func() { fmt.Fprintln(out) })),
	}
	if err := d.run(ctx); err != nil {
		return err
	}
	whole := [sha256.Size]byte(hash.Sum(nil)) == sha256.Sum256(video)
	fmt.Fprintf(out, "Got %d bytes. They are the right ones: %t.\n", d.got, whole)

	if _, err := client.Get(broken.URL); err != nil {
		fmt.Fprintln(out, "The next request to the first mirror is not sent:", err)
	}
	return nil
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// A mirror stands in for one on the internet. It breaks streams off, if it does.
type mirror struct {
	video  []byte
	breaks int // bytes after which a stream breaks off; 0: never
}

func (m mirror) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("ETag", `"v1"`)
	w.Header().Set("Content-Type", "video/mp4")
	if m.breaks > 0 {
		w = &breakingWriter{ResponseWriter: w, left: m.breaks}
	}
	http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(m.video))
}

type breakingWriter struct {
	http.ResponseWriter
	left int
}

func (w *breakingWriter) Write(p []byte) (int, error) {
	if w.left < len(p) {
		panic(http.ErrAbortHandler) // the connection goes with it
	}
	w.left -= len(p)
	return w.ResponseWriter.Write(p)
}
