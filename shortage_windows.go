package breakerhttp

import "syscall"

// An errno is an error of the system.
type errno = syscall.Errno

// shortages are Winsock's errors of a machine that has run out of sockets,
// buffers, memory, addresses or ports.
var shortages = []error{
	syscall.Errno(10024), // WSAEMFILE
	syscall.Errno(10055), // WSAENOBUFS
	syscall.Errno(8),     // WSA_NOT_ENOUGH_MEMORY
	syscall.Errno(10049), // WSAEADDRNOTAVAIL
	syscall.Errno(10048), // WSAEADDRINUSE
}

// unreadable are the errors with which TransmitFile says that it cannot read the
// file.
var unreadable = []error{
	syscall.Errno(5),    // ERROR_ACCESS_DENIED
	syscall.Errno(6),    // ERROR_INVALID_HANDLE
	syscall.Errno(23),   // ERROR_CRC
	syscall.Errno(1117), // ERROR_IO_DEVICE
}
