package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/breakerhttp/breakerhttp"
)

// newClient returns a client for large downloads. Three failures of a mirror in a
// row open its circuit for openFor. There is no time limit for a whole video: a
// mirror has failed when nothing comes for idle.
func newClient(idle, openFor time.Duration) (*http.Client, error) {
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.ResponseHeaderTimeout = idle
	base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{Timeout: idle}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &idleConn{Conn: conn, idle: idle}, nil
	}
	t, err := breakerhttp.New(base,
		breakerhttp.WithName("videos"),
		breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: 3, OpenFor: openFor}))
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: t}, nil
}

// An idleConn fails when nothing comes for a while. Its errors are time-outs, and
// so the host's fault.
type idleConn struct {
	net.Conn
	idle time.Duration
}

func (c *idleConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// A download takes one video from its mirrors, one after the other.
type download struct {
	client  *http.Client
	mirrors []string
	out     io.Writer
	notes   io.Writer
	bar     *progressbar.ProgressBar
	got     int64 // bytes so far
	etag    string
}

// errGivenUp is returned when all mirrors have failed.
var errGivenUp = errors.New("no mirror has the rest")

// run downloads the video. A stream that breaks off is resumed where it ended,
// from the same mirror until its circuit opens, then from the next.
func (d *download) run(ctx context.Context) error {
	for _, mirror := range d.mirrors {
		for tries := 0; tries < 10; tries++ {
			before := d.got
			err := d.resume(ctx, mirror)
			switch {
			case err == nil:
				return nil
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.Is(err, breakerhttp.ErrOpen):
				d.note("A request to %s is refused: on to the next mirror", mirror)
			default:
				d.note("%s broke off after %d bytes: %v", mirror, d.got-before, err)
				continue
			}
			break
		}
	}
	return errGivenUp
}

// resume asks a mirror for the rest of the video (RFC 9110, section 14.2).
func (d *download) resume(ctx context.Context, mirror string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, mirror, nil)
	if err != nil {
		return err
	}
	if d.got > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.got))
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := d.accept(resp); err != nil {
		return err
	}
	// The error of a body that breaks off counts against the mirror, although it
	// has said 200 OK.
	_, err = io.Copy(io.MultiWriter(d.out, d), resp.Body)
	return err
}

// accept checks that a response goes on where the download has ended.
func (d *download) accept(resp *http.Response) error {
	switch {
	case resp.StatusCode == http.StatusOK && d.got == 0:
		d.bar.ChangeMax64(resp.ContentLength)
		d.etag = resp.Header.Get("ETag")
	case resp.StatusCode == http.StatusPartialContent:
		first, _, _ := strings.Cut(strings.TrimPrefix(resp.Header.Get("Content-Range"), "bytes "), "-")
		if at, err := strconv.ParseInt(first, 10, 64); err != nil || at != d.got {
			return fmt.Errorf("got range %q, want it to begin at %d", resp.Header.Get("Content-Range"), d.got)
		}
		if etag := resp.Header.Get("ETag"); etag != d.etag {
			return fmt.Errorf("another version: %s, not %s", etag, d.etag)
		}
	default:
		return fmt.Errorf("unexpected answer %s", resp.Status)
	}
	return nil
}

// Write counts what has come.
func (d *download) Write(p []byte) (int, error) {
	d.got += int64(len(p))
	return len(p), d.bar.Add(len(p))
}

// note writes a line in place of the bar, which comes again under it.
func (d *download) note(format string, args ...any) {
	_ = d.bar.Clear()
	_, _ = fmt.Fprintf(d.notes, format+"\n", args...)
}
