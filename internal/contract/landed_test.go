package contract

// Rules that are not in the Transport yet.
const (
	hasUploads = false // a deadline in the request's body
)
