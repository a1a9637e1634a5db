//go:build !windows

package breakerhttp

import "syscall"

// shortages are the errors of a machine that has run out of file descriptors,
// buffers, memory or ports.
var shortages = []syscall.Errno{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL,
}
