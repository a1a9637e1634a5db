package breakerhttp

import (
	"net/url"
	"unsafe"
)

const ResponseBodySize = unsafe.Sizeof(responseBody{})

var (
	AddressOf     = addressOf
	BrokenTexts   = brokenTexts
	NormalKey     = normalKey
	NormalPattern = normalPattern
	Refusals      = refusals
	RetryAfter    = retryAfter
)

func Origin(u *url.URL) string { return origin(u) }

func MatchPolicy(patterns map[string]string, key string) (string, bool) {
	return matchPolicy(patterns, key)
}
