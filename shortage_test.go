//go:build unix

package breakerhttp_test

import (
	"net"
	"net/http"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

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
		{"no sockets for a proxy", at(named("a.test"), failing("socket", syscall.EMFILE), throughProxy(faultserver.Refusing))},
	}
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
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

// TestNoFileDescriptors lowers the process's limit, so that no socket can be
// opened. No other test may run meanwhile.
func TestNoFileDescriptors(t *testing.T) {
	base, url := at(faultserver.Refusing)(t)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 0
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	got := judged(t, base, newRequest(t, t.Context(), url))
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tally{"ignored": 1}, got); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
	got = judged(t, base, newRequest(t, t.Context(), url))
	if diff := cmp.Diff(tally{"failure connect": 1}, got); diff != "" {
		t.Errorf("with descriptors: counted (-want +got):\n%s", diff)
	}
}
