package breakerhttp

import "syscall"

// An errno is an error of the system.
type errno = syscall.ErrorString

// shortages are the errors of a machine that has run out of file descriptors.
var shortages = []error{syscall.EMFILE}

// unreadable are the errors with which sendfile says that it cannot read the file.
var unreadable = []error{syscall.EIO}
