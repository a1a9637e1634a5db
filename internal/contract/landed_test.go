package contract

// Rules that are not in the Transport yet.
const (
	hasUploads    = false // a deadline in the request's body
	hasMemory     = false // growth
	hasOnce       = false // what breaks together counts once
	hasLeftAlone  = false // open circuits go
	hasRunLast    = false // those with a run go last
	hasSlowProbes = false
)
