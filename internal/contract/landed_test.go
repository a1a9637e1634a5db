package contract

// Rules that are not in the Transport yet.
const (
	hasUploads    = false // a deadline in the request's body
	hasMemory     = true  // growth
	hasOnce       = false // what breaks together counts once
	hasLeftAlone  = true  // open circuits go
	hasRunLast    = true  // those with a run go last
	hasSlowProbes = true
)
