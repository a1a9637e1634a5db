package breakerhttp

import (
	"math"
	"net/http"
	"strings"
	"time"
)

// retryAfter returns how long a response asks callers to wait. A date counts from the response's
// Date if it has one, and from now otherwise. The result is never negative, at most the longest
// Duration, and 0 if Retry-After is absent, repeated or malformed.
func retryAfter(h http.Header, now time.Time) time.Duration {
	field, ok := single(h, "Retry-After")
	if !ok {
		return 0
	}
	if d, ok := delaySeconds(field); ok {
		return d
	}
	ref := now
	if field, ok := single(h, "Date"); ok {
		if date, ok := httpDate(field, now); ok {
			ref = date
		}
	}
	at, ok := httpDate(field, ref)
	if !ok {
		return 0
	}
	return max(0, at.Sub(ref)) // Sub saturates
}

// single returns the value of a header field that occurs once.
func single(h http.Header, name string) (field string, ok bool) {
	fields := h[name]
	if len(fields) != 1 {
		return "", false
	}
	return strings.Trim(fields[0], " \t"), true
}

// delaySeconds reads the delay-seconds of RFC 9110, section 10.2.3.
func delaySeconds(field string) (d time.Duration, ok bool) {
	const most = math.MaxInt64 / time.Second
	var n time.Duration
	for _, c := range []byte(field) {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n <= most {
			n = 10*n + time.Duration(c-'0')
		}
	}
	if n > most {
		return math.MaxInt64, true
	}
	return n * time.Second, true
}

// httpDate reads any of the three forms of an HTTP-date: RFC 9110, section 5.6.7. Unlike
// http.ParseTime it accepts no time zone other than GMT.
func httpDate(field string, ref time.Time) (t time.Time, ok bool) {
	for _, layout := range [...]string{http.TimeFormat, time.ANSIC} {
		if t, err := time.Parse(layout, field); err == nil {
			return t, true
		}
	}
	t, err := time.Parse("Monday, 02-Jan-06 15:04:05 GMT", field)
	if err != nil {
		return t, false
	}
	// A year of two digits is the latest such year that is at most 50 years after ref.
	limit := ref.UTC().AddDate(50, 0, 0)
	centuries := (limit.Year() - t.Year()) / 100 * 100
	if t.AddDate(centuries, 0, 0).After(limit) {
		centuries -= 100
	}
	return t.AddDate(centuries, 0, 0), true
}
