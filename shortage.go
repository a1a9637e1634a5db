//go:build !windows && !plan9

package breakerhttp

import "syscall"

// An errno is an error of the system.
type errno = syscall.Errno

// shortages are the errors of a machine that has run out of file descriptors,
// buffers, memory, addresses or ports.
var shortages = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EADDRINUSE,
}

// unreadable are the errors with which sendfile says that it cannot read the file.
var unreadable = []error{syscall.EBADF, syscall.EIO, syscall.ESTALE}
