//go:build unix

package breakerhttp_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/faultserver"
)

// TestShortage: what this machine has run out of is not the host's fault.
func TestShortage(t *testing.T) {
	type row struct {
		name  string
		fault fault
	}
	tests := []row{
		{"no such local address, of the kernel", at(answering(http.StatusOK), func(_ testing.TB, base *http.Transport) {
			elsewhere := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)} // RFC 5737
			base.DialContext = (&net.Dialer{LocalAddr: elsewhere}).DialContext
		})},
		{"local address in use, of the kernel", at(answering(http.StatusOK), func(t testing.TB, base *http.Transport) {
			taken, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = taken.Close() })
			base.DialContext = (&net.Dialer{LocalAddr: taken.Addr()}).DialContext
		})},
		{"no sockets for a proxy", at(named("a.test"), failing("socket", syscall.EMFILE), throughProxy(faultserver.Refusing))},
	}
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EADDRINUSE} {
		tests = append(tests, row{errno.Error(), at(answering(http.StatusOK), failing("socket", errno))})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base, url := tt.fault(t)
			got := judged(t, base, newRequest(t, t.Context(), url))
			if diff := cmp.Diff(tally{"ignored": 1}, got); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

// TestShortageInLookUp: of an error within a look-up, package net keeps the text.
func TestShortageInLookUp(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EADDRINUSE} {
		t.Run(errno.Error(), func(t *testing.T) {
			base := newBase(t)
			base.DialContext = (&net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Net: "udp", Err: os.NewSyscallError("socket", errno)}
			}}}).DialContext
			got := judged(t, base, newRequest(t, t.Context(), "http://a.test."))
			if diff := cmp.Diff(tally{"ignored": 1}, got); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNoFileDescriptors lowers the process's limit, so that no socket can be
// opened, be it for the host or for its name server. No other test may run
// meanwhile.
func TestNoFileDescriptors(t *testing.T) {
	refusing, url := at(faultserver.Refusing)(t)
	server := nxdomain(t)
	look := func(_ testing.TB, base *http.Transport) {
		base.DialContext = (&net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp", server)
		}}}).DialContext
	}
	for _, tt := range []struct {
		name string
		base http.RoundTripper
		url  string
		with tally // descriptors
	}{
		{"address", refusing, url, tally{"failure connect": 1}},
		{"name", newBase(t, look), "http://a.test.", tally{"failure dns": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var limit syscall.Rlimit
			if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
				t.Fatal(err)
			}
			none := limit
			none.Cur = 0
			if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
				t.Fatal(err)
			}
			got := judged(t, tt.base, newRequest(t, t.Context(), tt.url))
			if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tally{"ignored": 1}, got); diff != "" {
				t.Errorf("without descriptors: counted (-want +got):\n%s", diff)
			}
			got = judged(t, tt.base, newRequest(t, t.Context(), tt.url))
			if diff := cmp.Diff(tt.with, got); diff != "" {
				t.Errorf("with descriptors: counted (-want +got):\n%s", diff)
			}
		})
	}
}

// TestFileOnABrokenDisk: sendfile says that it cannot read the file, and not that the host is lost.
func TestFileOnABrokenDisk(t *testing.T) {
	f, err := os.Open("shortage_test.go")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	req := post(t, "http://a.test", nil, -1)
	req.Body = f
	for errno, want := range map[syscall.Errno]breakerhttp.Outcome{
		syscall.EBADF: breakerhttp.Ignored, syscall.EIO: breakerhttp.Ignored, syscall.ESTALE: breakerhttp.Ignored,
		syscall.EPIPE: breakerhttp.Failure,
	} {
		sent := &net.OpError{Op: "readfrom", Net: "tcp", Err: os.NewSyscallError("sendfile", errno)}
		if got := breakerhttp.DefaultClassifier(breakerhttp.Attempt{Request: req, Err: sent}); got != want {
			t.Errorf("%v: got %v, want %v", errno, got, want)
		}
	}
}
