package breakerhttp_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/faultserver"
	"github.com/breakerhttp/breakerhttp/internal/pipetest"
)

// TestRequestBodyFault: a body that fails, or is not as long as it says, is the
// caller's fault, though it is the server or net/http that complains; and it may be
// possible to get the body again.
func TestRequestBodyFault(t *testing.T) {
	wantWhole := http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if string(body) != "whole" {
			<-req.Context().Done() // no answer that could come before the fault is found
		}
	})
	text := func(s string) func() io.Reader { return func() io.Reader { return strings.NewReader(s) } }
	stream := func(s string) func() io.Reader {
		return func() io.Reader { return iotest.OneByteReader(strings.NewReader(s)) }
	}
	writerTo := func(s string) func() io.Reader {
		return func() io.Reader { return bufio.NewReader(strings.NewReader(s)) }
	}
	broken := func() io.Reader { return io.MultiReader(strings.NewReader("part"), iotest.ErrReader(errOwn)) }
	brokenWriterTo := func() io.Reader { return bufio.NewReader(broken()) }
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/whole", []byte("whole"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(name string, flag int, change func(*os.File)) func() io.Reader {
		return func() io.Reader {
			f, err := os.OpenFile(dir+name, flag, 0)
			if err != nil {
				t.Fatal(err)
			}
			change(f)
			return f
		}
	}
	asIs := func(*os.File) {}
	for _, tt := range []struct {
		name   string
		body   func() io.Reader
		length int64
		want   tally
	}{
		{"whole", text("whole"), 5, tally{"success": 1}},
		{"whole, of unknown length", text("whole"), -1, tally{"success": 1}},
		{"whole stream", stream("whole"), 5, tally{"success": 1}},
		{"whole stream, of unknown length", stream("whole"), -1, tally{"success": 1}},
		{"whole, EOF with the data", func() io.Reader { return iotest.DataErrReader(strings.NewReader("whole")) }, 5, tally{"success": 1}},
		{"whole, by WriteTo", writerTo("whole"), 5, tally{"success": 1}},
		{"whole, by WriteTo, of unknown length", writerTo("whole"), -1, tally{"success": 1}},
		{"broken", broken, 10, tally{"ignored": 1}},
		{"broken, of unknown length", broken, -1, tally{"ignored": 1}},
		{"broken at once", func() io.Reader { return iotest.ErrReader(errOwn) }, 0, tally{"ignored": 1}},
		{"broken, by WriteTo", brokenWriterTo, 10, tally{"ignored": 1}},
		{"broken, by WriteTo, of unknown length", brokenWriterTo, -1, tally{"ignored": 1}},
		{"too short", text("part"), 5, tally{"ignored": 1}},
		{"too long", text("too long"), 5, tally{"ignored": 1}},
		{"bytes too short", func() io.Reader { return bytes.NewReader([]byte("part")) }, 5, tally{"ignored": 1}},
		{"buffer too long", func() io.Reader { return bytes.NewBufferString("too long") }, 5, tally{"ignored": 1}},
		{"stream too short", stream("part"), 5, tally{"ignored": 1}},
		{"stream too long", stream("too long"), 5, tally{"ignored": 1}},
		{"too short, by WriteTo", writerTo("part"), 5, tally{"ignored": 1}},
		{"too long, by WriteTo", writerTo("too long"), 5, tally{"ignored": 1}},
		{"whole file", open("/whole", os.O_RDONLY, asIs), 5, tally{"success": 1}},
		{"whole file, of unknown length", open("/whole", os.O_RDONLY, asIs), -1, tally{"success": 1}},
		{"file too short", open("/whole", os.O_RDONLY, func(f *os.File) { _, _ = f.Seek(1, io.SeekStart) }), 5, tally{"ignored": 1}},
		{"file too long", open("/whole", os.O_RDONLY, asIs), 4, tally{"ignored": 1}},
		{"file that cannot be read", open("/whole", os.O_WRONLY, asIs), 5, tally{"ignored": 1}},
		{"file that cannot be read, of unknown length", open("/whole", os.O_WRONLY, asIs), -1, tally{"ignored": 1}},
		{"closed file", open("/whole", os.O_RDONLY, func(f *os.File) { _ = f.Close() }), 5, tally{"ignored": 1}},
		{"directory", open("", os.O_RDONLY, asIs), 5, tally{"ignored": 1}},
		{"directory, of unknown length", open("", os.O_RDONLY, asIs), -1, tally{"ignored": 1}},
	} {
		for _, proto := range []string{"HTTP/1.1", "HTTP/2"} {
			for _, again := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/again=%t", tt.name, proto, again), func(t *testing.T) {
					srv := pipetest.NewServer(t, wantWhole)
					if proto == "HTTP/2" {
						srv.UseHTTP2()
					}
					req := post(t, srv.URL, nil, tt.length)
					body := func() io.ReadCloser {
						r := tt.body()
						if f, ok := r.(*os.File); ok {
							t.Cleanup(func() { _ = f.Close() })
							return f
						}
						return io.NopCloser(r)
					}
					if req.Body = body(); again {
						req.GetBody = func() (io.ReadCloser, error) { return body(), nil }
					}
					got := judged(t, srv.Transport, req)
					if diff := cmp.Diff(tt.want, got); diff != "" {
						t.Errorf("counted (-want +got):\n%s", diff)
					}
				})
			}
		}
	}
}

// TestRequestBodyOfOtherLength: a base other than net/http says in its own words that a
// body is not as long as promised.
func TestRequestBodyOfOtherLength(t *testing.T) {
	base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
		// It reads a byte more than promised, and not to the end.
		if n, _ := io.CopyN(io.Discard, req.Body, req.ContentLength+1); n != req.ContentLength {
			return nil, errors.New("a stream of another length")
		}
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	})
	for name, want := range map[string]tally{
		"part":     {"ignored": 1},
		"whole":    {"success": 1},
		"too long": {"ignored": 1},
	} {
		option, collect := newTally(t)
		client := &http.Client{Transport: newTransport(t, base, option)}
		_, _ = client.Do(post(t, "http://host.example", iotest.OneByteReader(strings.NewReader(name)), int64(len("whole"))))
		if diff := cmp.Diff(want, collect()); diff != "" {
			t.Errorf("%q counted (-want +got):\n%s", name, diff)
		}
	}
}

// TestRequestBodyFaultAndResponse: a host that still answers is judged by
// its answer.
func TestRequestBodyFaultAndResponse(t *testing.T) {
	for status, want := range map[int]tally{413: {"success": 1}, 503: {"failure 503": 1}} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
				_, err := io.Copy(io.Discard, req.Body)
				if !errors.Is(err, errOwn) {
					t.Errorf("base read %v, want the body's own error", err)
				}
				return respond(status)(req)
			})
			got := judged(t, base, post(t, "http://a.test", iotest.ErrReader(errOwn), -1))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRequestBodyFaultAfterHeaders: nor is it the host's fault if the caller's
// body fails while that of the response is being read.
func TestRequestBodyFaultAfterHeaders(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		both := http.NewResponseController(w)
		_ = both.EnableFullDuplex()
		_ = both.Flush()
		if _, err := io.Copy(w, req.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
	})
	for _, proto := range []string{"HTTP/1.1", "HTTP/2"} {
		t.Run(proto, func(t *testing.T) {
			srv := pipetest.NewServer(t, echo)
			if proto == "HTTP/2" {
				srv.UseHTTP2()
			}
			option, collect := newTally(t)
			tr := newTransport(t, srv.Transport, option)
			body, w := io.Pipe()
			resp, err := tr.RoundTrip(post(t, srv.URL, body, -1))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			_ = w.CloseWithError(errOwn)
			if _, err := io.ReadAll(resp.Body); err == nil {
				t.Error("the response's body has ended well, want it broken off")
			}
			if diff := cmp.Diff(tally{"success": 1}, collect()); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

// An endlessBody waits in Read until it is closed, and then returns err.
type endlessBody struct {
	err    error
	closed chan struct{}
}

func newEndlessBody(err error) *endlessBody { return &endlessBody{err, make(chan struct{})} }

func (b *endlessBody) Read([]byte) (int, error) {
	<-b.closed
	return 0, b.err
}

func (b *endlessBody) Close() error {
	close(b.closed)
	return nil
}

// TestRequestBodyClosedByBase: when the host has failed, base closes the body.
// What that makes a Read return is not the caller's fault.
func TestRequestBodyClosedByBase(t *testing.T) {
	for _, err := range []error{errOwn, io.EOF} {
		t.Run(fmt.Sprint(err), func(t *testing.T) {
			req := post(t, "http://a.test", nil, 10)
			req.Body = newEndlessBody(err)
			base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
				read := make(chan error)
				go func() {
					_, err := req.Body.Read(make([]byte, 1))
					read <- err
				}()
				_ = req.Body.Close()
				if got := <-read; got != err { //nolint:errorlint // as it is
					t.Errorf("base read %v, want %v", got, err)
				}
				return nil, &net.OpError{Op: "read", Err: errors.New("reset")}
			})
			got := judged(t, base, req)
			if diff := cmp.Diff(tally{"failure connection": 1}, got); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

// TestHostFailsDuringUpload: the same, by a server that hangs up on an upload.
func TestHostFailsDuringUpload(t *testing.T) {
	hangUp := func(conn net.Conn) { _, _ = conn.Read(make([]byte, 4<<10)) }
	for name, length := range map[string]int64{"known length": 1 << 20, "unknown length": -1} {
		t.Run(name, func(t *testing.T) {
			r, w := io.Pipe()
			go func() {
				_, err := w.Write(make([]byte, 1<<20)) // until base closes r
				_ = w.CloseWithError(err)
			}()
			base, url := at(serving(hangUp))(t)
			got := judged(t, base, post(t, url, r, length))
			_ = r.Close()
			if diff := cmp.Diff(tally{"failure connection": 1}, got); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRequestBodyThatDoesNotClose: over HTTP/1, net/http gives up a request whose body
// has been read to its end and does not close. HTTP/2 does not mind. A host that
// fails before that end is at fault all the same.
func TestRequestBodyThatDoesNotClose(t *testing.T) {
	serve := func(protocol string) fault {
		return func(t testing.TB) (http.RoundTripper, string) {
			srv := pipetest.NewServer(t, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				if _, _ = io.Copy(io.Discard, req.Body); protocol == "HTTP/1.1" {
					<-req.Context().Done() // no answer that could come before the fault is found
				}
			}))
			if protocol == "HTTP/2" {
				srv.UseHTTP2()
			}
			return srv.Transport, srv.URL
		}
	}
	hangUp := func(conn net.Conn) { _, _ = conn.Read(make([]byte, 4<<10)) }
	for name, tt := range map[string]struct {
		fault fault
		size  int64
		want  tally
	}{
		"HTTP/1.1": {serve("HTTP/1.1"), 5, tally{"ignored": 1}},
		"HTTP/2":   {serve("HTTP/2"), 5, tally{"success": 1}},
		"refuses":  {at(faultserver.Refusing), 5, tally{"failure connect": 1}},
		"hangs up": {at(serving(hangUp)), 64 << 20, tally{"failure connection": 1}},
	} {
		for _, length := range []int64{tt.size, -1} {
			t.Run(fmt.Sprintf("%s/%d", name, length), func(t *testing.T) {
				base, url := tt.fault(t)
				req := post(t, url, nil, length)
				req.Body = unclosable{io.LimitReader(zeros{}, tt.size)}
				if diff := cmp.Diff(tt.want, judged(t, base, req)); diff != "" {
					t.Errorf("counted (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// An unclosable is a body whose Close fails.
type unclosable struct{ io.Reader }

func (unclosable) Close() error { return errOwn }

// TestUnreadableFile: over TCP a file is sent by sendfile, whose errors are those of
// a connection.
func TestUnreadableFile(t *testing.T) {
	name := t.TempDir() + "/file"
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[int]tally{os.O_RDONLY: {"success": 1}, os.O_WRONLY: {"ignored": 1}} {
		for _, length := range []int64{1 << 20, -1} {
			t.Run(fmt.Sprintf("%v/%d", want, length), func(t *testing.T) {
				f, err := os.OpenFile(name, flag, 0)
				if err != nil {
					t.Fatal(err)
				}
				base, url := at(answering(http.StatusOK))(t)
				req := post(t, url, nil, length)
				req.Body = f
				if diff := cmp.Diff(want, judged(t, base, req)); diff != "" {
					t.Errorf("counted (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestFileForADeadHost: that the body is a file excuses no host.
func TestFileForADeadHost(t *testing.T) {
	for name, tt := range map[string]struct {
		fault fault
		want  tally
	}{
		"refuses":  {at(faultserver.Refusing), tally{"failure connect": 1}},
		"hangs up": {at(serving(faultserver.Hangup)), tally{"failure connection": 1}},
		"resets":   {at(serving(faultserver.Reset)), tally{"failure connection": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Open("requestbody_test.go")
			if err != nil {
				t.Fatal(err)
			}
			base, url := tt.fault(t)
			req := post(t, url, nil, -1)
			req.Body = f
			if diff := cmp.Diff(tt.want, judged(t, base, req)); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRequestIsTheCallersOwn: base gets the very request, if its body cannot fail
// unseen; else a copy with a body of the same abilities, and the caller sees none of
// that.
func TestRequestIsTheCallersOwn(t *testing.T) {
	const file = "requestbody_test.go"
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	open := func() io.ReadCloser {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	text := func() io.Reader { return strings.NewReader("x") }
	for _, tt := range []struct {
		name   string
		body   func() io.ReadCloser
		length int64
		own    bool
	}{
		{"none", func() io.ReadCloser { return nil }, 0, true},
		{"http.NoBody", func() io.ReadCloser { return http.NoBody }, 0, true},
		{"bytes.Reader", func() io.ReadCloser { return io.NopCloser(bytes.NewReader([]byte("x"))) }, 1, true},
		{"bytes.Buffer", func() io.ReadCloser { return io.NopCloser(bytes.NewBufferString("x")) }, 1, true},
		{"strings.Reader", func() io.ReadCloser { return io.NopCloser(text()) }, 1, true},
		{"strings.Reader, of unknown length", func() io.ReadCloser { return io.NopCloser(text()) }, -1, true},
		{"strings.Reader, of no length", func() io.ReadCloser { return io.NopCloser(text()) }, 0, true},
		{"strings.Reader in two", func() io.ReadCloser { return io.NopCloser(io.NopCloser(text())) }, 1, true},
		{"file", open, info.Size(), true},
		{"file of unknown length", open, -1, true},
		{"reader", func() io.ReadCloser { return io.NopCloser(struct{ io.Reader }{text()}) }, 1, false},
		{"reader with WriteTo", func() io.ReadCloser { return io.NopCloser(bufio.NewReader(text())) }, 1, false},
		{"file in another type", func() io.ReadCloser { return struct{ io.ReadCloser }{open()} }, info.Size(), false},
	} {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/again=%t", tt.name, again), func(t *testing.T) {
				srv := pipetest.NewServer(t, newUpstream(http.StatusOK))
				seen := &witness{base: srv.Transport}
				req := newRequest(t, t.Context(), srv.URL)
				req.Method, req.Body, req.ContentLength = http.MethodPost, tt.body(), tt.length
				if again {
					req.GetBody = func() (io.ReadCloser, error) { return tt.body(), nil }
				}
				before := *req
				resp, err := newTransport(t, seen).RoundTrip(req)
				if err != nil {
					t.Fatalf("RoundTrip: %v", err)
				}
				_ = resp.Body.Close()
				if own := seen.req == req; own != tt.own {
					t.Errorf("base got the caller's own request: %t, want %t", own, tt.own)
				}
				if resp.Request != req {
					t.Errorf("got response to request %p, want the caller's own, %p", resp.Request, req)
				}
				if req.Body != before.Body || req.ContentLength != before.ContentLength || req.Context() != before.Context() {
					t.Error("the caller's request was modified")
				}
				wantAbilities(t, seen.req.Body, req.Body)
				if (seen.req.GetBody != nil) != again {
					t.Fatalf("base has GetBody: %t, want %t", !again, again)
				}
				if again {
					got, err := seen.req.GetBody()
					if err != nil {
						t.Fatalf("GetBody: %v", err)
					}
					want := tt.body()
					wantAbilities(t, got, want)
					if _, isFile := want.(*os.File); isFile {
						_ = want.Close()
					}
					if got != nil {
						_ = got.Close()
					}
				}
			})
		}
	}
}

// wantAbilities checks that a body has a WriteTo, for which io.Copy looks, only if it
// is to have one.
func wantAbilities(t *testing.T, got, want io.Reader) {
	t.Helper()
	_, has := got.(io.WriterTo)
	if _, wants := want.(io.WriterTo); has != wants {
		t.Errorf("the body has WriteTo: %t, want %t", has, wants)
	}
}

// TestBodyToBeHadAgain: net/http gets a body again where it sends a request again.
// The last one counts.
func TestBodyToBeHadAgain(t *testing.T) {
	lost := &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	stream := func() io.ReadCloser { return io.NopCloser(iotest.OneByteReader(strings.NewReader("whole"))) }
	for _, tt := range []struct {
		name    string
		getBody func() (io.ReadCloser, error)
		err     error // of base, if that of the body is none
		want    tally
	}{
		{"whole", func() (io.ReadCloser, error) { return stream(), nil }, nil, tally{"success": 1}},
		{"whole, and lost again", func() (io.ReadCloser, error) { return stream(), nil }, lost, tally{"failure connection": 1}},
		{"in memory, and lost again", func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("whole")), nil }, lost, tally{"failure connection": 1}},
		{"broken", func() (io.ReadCloser, error) { return io.NopCloser(iotest.ErrReader(errOwn)), nil }, nil, tally{"ignored": 1}},
		{"too short", func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("part")), nil }, lost, tally{"ignored": 1}},
		{"not to be had", func() (io.ReadCloser, error) { return nil, errOwn }, nil, tally{"ignored": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
				first := make(chan struct{})
				go func() { // as net/http, which closes a body that it is reading
					defer close(first)
					_, _ = io.Copy(io.Discard, req.Body)
				}()
				_ = req.Body.Close()
				<-first
				body, err := req.GetBody()
				if err != nil {
					return nil, err
				}
				defer body.Close()
				if _, err := io.Copy(io.Discard, body); err != nil {
					return nil, err
				}
				if tt.err != nil {
					return nil, tt.err
				}
				return respond(http.StatusOK)(req)
			})
			req := post(t, "http://a.test", nil, 5)
			req.Body, req.GetBody = newEndlessBody(errOwn), tt.getBody
			if diff := cmp.Diff(tt.want, judged(t, base, req)); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSlowUploadOfBodyToBeHadAgain: what base waited for before it got the body again
// does not count.
func TestSlowUploadOfBodyToBeHadAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		again func() io.ReadCloser
		want  tally
	}{
		"in memory": {func() io.ReadCloser { return io.NopCloser(strings.NewReader("whole")) }, tally{"failure timeout": 1}},
		"stream":    {func() io.ReadCloser { return io.NopCloser(iotest.OneByteReader(strings.NewReader("whole"))) }, tally{"failure timeout": 1}},
		"slow":      {func() io.ReadCloser { return newEndlessBody(io.EOF) }, tally{"ignored": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
					send := func(body io.ReadCloser) {
						go func() { _, _ = io.Copy(io.Discard, body) }()
						synctest.Wait() // until it has been read, or waits
					}
					send(req.Body)
					_ = req.Body.Close() // the connection is lost
					body, err := req.GetBody()
					if err != nil {
						return nil, err
					}
					defer body.Close()
					send(body)
					<-req.Context().Done()
					return nil, req.Context().Err()
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				req := post(t, "http://a.test", nil, 5).WithContext(ctx)
				req.Body = newEndlessBody(errOwn)
				req.GetBody = func() (io.ReadCloser, error) { return tt.again(), nil }
				if diff := cmp.Diff(tt.want, judged(t, base, req)); diff != "" {
					t.Errorf("counted (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// A countingConn counts what is written to a connection, and the files that
// sendfile takes.
type countingConn struct {
	*net.TCPConn
	writes, files *atomic.Int64
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.TCPConn.Write(p)
}

func (c *countingConn) ReadFrom(r io.Reader) (int64, error) {
	of := r
	if limited, ok := r.(*io.LimitedReader); ok {
		of = limited.R
	}
	if _, ok := of.(syscall.Conn); ok {
		c.files.Add(1)
		return c.TCPConn.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c}, r)
}

// TestBodiesAreSentAsWithoutIt: the host gets all of them; over HTTP/1.1 with as many
// writes to the connection, and by sendfile what was sent by it. HTTP/2 writes its
// frames in more or fewer pieces as it likes, and looks for no type of a body.
func TestBodiesAreSentAsWithoutIt(t *testing.T) {
	const file, n = "requestbody_test.go", 20
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	open := func() io.ReadCloser {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	small := []byte("a small body")
	for _, tt := range []struct {
		name   string
		body   func() io.ReadCloser
		length int64
		files  int64 // sent by sendfile over HTTP/1.1
	}{
		{"bytes.Reader", func() io.ReadCloser { return io.NopCloser(bytes.NewReader(small)) }, 12, 0},
		{"bytes.Buffer", func() io.ReadCloser { return io.NopCloser(bytes.NewBuffer(slices.Clone(small))) }, 12, 0},
		{"strings.Reader", func() io.ReadCloser { return io.NopCloser(strings.NewReader(string(small))) }, 12, 0},
		{"of unknown length", func() io.ReadCloser { return io.NopCloser(bytes.NewReader(small)) }, -1, 0},
		{"stream", func() io.ReadCloser { return io.NopCloser(iotest.HalfReader(bytes.NewReader(small))) }, 12, 0},
		{"WriteTo", func() io.ReadCloser {
			return io.NopCloser(bufio.NewReaderSize(bytes.NewReader(make([]byte, 10_000)), 1000))
		}, -1, 0},
		{"file", open, info.Size(), n},
	} {
		for _, proto := range []string{"HTTP/1.1", "HTTP/2"} {
			for _, again := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/again=%t", tt.name, proto, again), func(t *testing.T) {
					type sent struct{ Received, Writes, Files int64 }
					send := func(wrap func(http.RoundTripper) http.RoundTripper) sent {
						var received, writes, files atomic.Int64
						srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
							n, _ := io.Copy(io.Discard, req.Body)
							received.Add(n)
						}))
						srv.Config.Protocols = new(http.Protocols)
						srv.Config.Protocols.SetHTTP1(true)
						srv.Config.Protocols.SetUnencryptedHTTP2(true)
						srv.Start()
						defer srv.Close()
						base := newBase(t)
						if proto == "HTTP/2" {
							speakHTTP2(t, base)
						}
						base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
							conn, err := new(net.Dialer).DialContext(ctx, network, addr)
							if err != nil {
								return nil, err
							}
							return &countingConn{conn.(*net.TCPConn), &writes, &files}, nil
						}
						rt := wrap(base)
						for range n {
							req := post(t, srv.URL, nil, tt.length)
							if req.Body = tt.body(); again {
								req.GetBody = func() (io.ReadCloser, error) { return tt.body(), nil }
							}
							if _, err := do(rt, req); err != nil {
								t.Fatal(err)
							}
						}
						if proto == "HTTP/2" {
							return sent{Received: received.Load()}
						}
						return sent{received.Load(), writes.Load(), files.Load()}
					}
					want := send(func(base http.RoundTripper) http.RoundTripper { return base })
					got := send(func(base http.RoundTripper) http.RoundTripper { return newTransport(t, base) })
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%d requests (-without a Transport +got):\n%s", n, diff)
					}
					if proto == "HTTP/1.1" && got.Files != tt.files {
						t.Errorf("sendfile sent %d files, want %d", got.Files, tt.files)
					}
				})
			}
		}
	}
}

// TestSlowUpload: where the deadline passes while base waits for the caller's own
// body, the uploader is slow, and not the host; whatever comes of the body then. A
// host that does not read the body, or has all of it, is slow itself.
func TestSlowUpload(t *testing.T) {
	const timeout = time.Second
	ignored, failed := tally{"ignored": 1}, tally{"failure timeout": 1}
	// then sends a byte, and the end long after the deadline.
	then := func(end func(*io.PipeWriter)) func(context.Context) io.Reader {
		return func(context.Context) io.Reader {
			r, w := io.Pipe()
			go func() {
				_, _ = w.Write([]byte("x"))
				time.Sleep(time.Minute)
				end(w)
			}()
			return r
		}
	}
	doesNotRead := func(http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) }
	whole := func(length int) func(context.Context) io.Reader {
		return func(context.Context) io.Reader { return io.LimitReader(zeros{}, int64(length)) }
	}
	for _, tt := range []struct {
		name string
		host http.HandlerFunc
		body func(context.Context) io.Reader
		want tally
	}{
		{"then more", readAndHang, then(func(w *io.PipeWriter) { _, _ = w.Write([]byte("y")); _ = w.Close() }), ignored},
		{"then EOF", readAndHang, then(func(w *io.PipeWriter) { _ = w.Close() }), ignored},
		{"then an error", readAndHang, then(func(w *io.PipeWriter) { _ = w.CloseWithError(errOwn) }), ignored},
		{"then the context's error", readAndHang, func(ctx context.Context) io.Reader {
			r, w := io.Pipe()
			context.AfterFunc(ctx, func() { _ = w.CloseWithError(ctx.Err()) })
			return r
		}, ignored},
		{"by WriteTo", readAndHang, func(ctx context.Context) io.Reader {
			return bufio.NewReader(then(func(w *io.PipeWriter) { _ = w.Close() })(ctx))
		}, ignored},
		{"whole", readAndHang, whole(100), failed},
		{"whole, in memory", readAndHang, func(context.Context) io.Reader { return strings.NewReader("whole") }, failed},
		{"host does not read", doesNotRead, whole(64 << 20), failed},
		{"host does not read what is written by WriteTo", doesNotRead, func(context.Context) io.Reader {
			return bufio.NewReader(io.LimitReader(zeros{}, 64<<20))
		}, failed},
		{"host does not read what is in memory", doesNotRead, func(context.Context) io.Reader {
			return bytes.NewReader(make([]byte, 64<<20))
		}, failed},
	} {
		for _, proto := range []string{"HTTP/1.1", "HTTP/2"} {
			for _, how := range []string{"context", "Client.Timeout", "GetBody"} {
				t.Run(tt.name+"/"+proto+"/"+how, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						srv := pipetest.NewServer(t, tt.host)
						if proto == "HTTP/2" {
							srv.UseHTTP2()
						}
						option, collect := newTally(t)
						client := &http.Client{Transport: newTransport(t, srv.Transport, option)}
						ctx, cancel := context.WithTimeout(t.Context(), timeout)
						defer cancel()
						req := post(t, srv.URL, tt.body(ctx), -1)
						switch how {
						case "Client.Timeout":
							client.Timeout = timeout
						case "GetBody":
							req.GetBody = func() (io.ReadCloser, error) { return nil, errOwn }
							fallthrough
						default:
							req = req.WithContext(ctx)
						}
						if _, err := client.Do(req); !isTimeout(err) {
							t.Errorf("got error %v, want a timeout", err)
						}
						if diff := cmp.Diff(tt.want, collect()); diff != "" {
							t.Errorf("counted (-want +got):\n%s", diff)
						}
						time.Sleep(time.Hour) // all bodies come to their ends
					})
				})
			}
		}
	}
}

// TestSlowUploadBeforeTheTimer: http.Client.Timeout may end a request before the timer of its
// context fires. The upload that kept base waiting at the deadline is slow, even if it goes on then.
func TestSlowUploadBeforeTheTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, w := io.Pipe()
		go func() {
			time.Sleep(time.Minute)
			_, _ = w.Write([]byte("late"))
			_ = w.Close()
		}()
		base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
			_, _ = io.Copy(io.Discard, req.Body)
			_ = req.Body.Close()
			return nil, errors.New("net/http: request canceled")
		})
		req := post(t, "http://a.test", r, -1).WithContext(lateContext{ctx, time.Now().Add(time.Second)})
		if diff := cmp.Diff(tally{"ignored": 1}, judged(t, base, req)); diff != "" {
			t.Errorf("counted (-want +got):\n%s", diff)
		}
	})
}

// TestSlowPipe: a file that is no regular one may keep base waiting, too. A bubble would
// not know that a Read of a pipe waits.
func TestSlowPipe(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(readAndHang))
	defer srv.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	context.AfterFunc(ctx, func() { _ = w.Close() }) // net/http waits for the end of the Read
	req := post(t, srv.URL, nil, -1).WithContext(ctx)
	req.Body = r
	option, collect := newTally(t)
	client := &http.Client{Transport: newTransport(t, nil, option)}
	if _, err := client.Do(req); !isTimeout(err) {
		t.Errorf("got error %v, want a timeout", err)
	}
	if diff := cmp.Diff(tally{"ignored": 1}, collect()); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func readAndHang(w http.ResponseWriter, req *http.Request) {
	_, _ = io.Copy(io.Discard, req.Body)
	hang(w, req)
}

// TestSlowUploadAfterHeaders: nor is the host slow where it has begun to answer, and
// waits for the rest of the upload until the deadline. One that has all of it is.
func TestSlowUploadAfterHeaders(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		both := http.NewResponseController(w)
		_ = both.EnableFullDuplex()
		w.Header().Set("Content-Length", "10")
		_ = both.Flush()
		_, _ = io.Copy(w, req.Body)
		hang(w, req)
	})
	for name, want := range map[string]tally{"slow": {"success": 1}, "whole": {"success": 1, "failure timeout": 1}} {
		for _, proto := range []string{"HTTP/1.1", "HTTP/2"} {
			t.Run(name+"/"+proto, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					srv := pipetest.NewServer(t, echo)
					if proto == "HTTP/2" {
						srv.UseHTTP2()
					}
					r, w := io.Pipe()
					go func() {
						_, _ = w.Write([]byte("part"))
						if name == "slow" {
							time.Sleep(time.Minute)
						}
						_ = w.Close()
					}()
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					got := judged(t, srv.Transport, post(t, srv.URL, r, -1).WithContext(ctx))
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("counted (-want +got):\n%s", diff)
					}
					time.Sleep(time.Hour) // the upload comes to its end
				})
			})
		}
	}
}

// TestSlowUploadThroughAGateway: clients that do not send what they promise cannot
// open the circuit of the upstream, which only waits for it.
func TestSlowUploadThroughAGateway(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2"} {
		t.Run(proto, func(t *testing.T) {
			upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				_, _ = io.Copy(io.Discard, req.Body)
			}))
			upstream.Config.Protocols = new(http.Protocols)
			upstream.Config.Protocols.SetHTTP1(true)
			upstream.Config.Protocols.SetUnencryptedHTTP2(true)
			upstream.Start()
			defer upstream.Close()
			base := newBase(t)
			if proto == "HTTP/2" {
				speakHTTP2(t, base)
			}
			tr := newTransport(t, base)
			to, _ := url.Parse(upstream.URL)
			proxy := &httputil.ReverseProxy{
				Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(to) },
				Transport:    tr,
				ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
			}
			timedOut := make(chan struct{})
			gateway := httptest.NewServer(http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				context.AfterFunc(req.Context(), func() { timedOut <- struct{}{} })
				proxy.ServeHTTP(w, req)
			}), 500*time.Millisecond, ""))
			defer gateway.Close()
			var clients []net.Conn
			for range 5 {
				conn, err := net.Dial("tcp", gateway.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				clients = append(clients, conn)
				_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nx")
			}
			for range clients {
				<-timedOut
			}
			for _, conn := range clients {
				_ = conn.Close()
			}
			waitUntil(t, "every upload is judged", func() bool {
				s, ok := tr.Snapshot(upstream.URL)
				return ok && s.InFlight == 0 && s.Totals.Ignored+s.Totals.Failure == 5
			})
			if got, want := snapshot(t, tr, upstream.URL).Totals, (breakerhttp.Totals{Ignored: 5}); got != want {
				t.Errorf("got totals %+v, want %+v", got, want)
			}
			wantState(t, tr, upstream.URL, breakerhttp.StateClosed)
		})
	}
}

// TestBodyAllocations: a body in memory costs no allocation, and one that is watched
// those of a request and a body; with GetBody, of another func.
func TestBodyAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool allocate")
	}
	resp := &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}
	tr := newTransport(t, roundTripFunc(func(*http.Request) (*http.Response, error) { return resp, nil }))
	for _, tt := range []struct {
		name  string
		body  io.Reader
		again bool
		want  float64
	}{
		{"in memory", strings.NewReader("x"), false, 0},
		{"in memory, with GetBody", strings.NewReader("x"), true, 0},
		{"stream", iotest.OneByteReader(strings.NewReader("x")), false, 2},
		{"stream with GetBody", iotest.OneByteReader(strings.NewReader("x")), true, 3},
	} {
		req := post(t, "http://a.test", tt.body, 1)
		if tt.again {
			req.GetBody = func() (io.ReadCloser, error) { return nil, nil }
		}
		if n := testing.AllocsPerRun(1000, func() { _, _ = tr.RoundTrip(req) }); n != tt.want {
			t.Errorf("%s: got %v allocations, want %v", tt.name, n, tt.want)
		}
	}
}

// TestForeignResponseRequest: a base that answers another request, as one that
// follows redirects does, keeps that in the response.
func TestForeignResponseRequest(t *testing.T) {
	other := newRequest(t, t.Context(), "http://b.test")
	tr := newTransport(t, roundTripFunc(func(*http.Request) (*http.Response, error) {
		return respond(http.StatusOK)(other)
	}))
	resp, err := tr.RoundTrip(post(t, "http://a.test", strings.NewReader("x"), 1))
	if err != nil {
		t.Fatalf("RoundTrip: %v", err)
	}
	defer resp.Body.Close()
	if resp.Request != other {
		t.Errorf("got the response's Request %v, want base's own", resp.Request)
	}
}
