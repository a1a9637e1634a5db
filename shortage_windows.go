package breakerhttp

import "syscall"

// shortages are Winsock's errors of a machine that has run out of sockets,
// buffers, memory or addresses.
var shortages = []syscall.Errno{
	10024, // WSAEMFILE
	10055, // WSAENOBUFS
	8,     // WSA_NOT_ENOUGH_MEMORY
	10049, // WSAEADDRNOTAVAIL
}
