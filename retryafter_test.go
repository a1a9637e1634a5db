package breakerhttp_test

import (
	"math"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

const longest = time.Duration(math.MaxInt64)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, time.March, 1, 12, 0, 0, 500e6, time.UTC)
	for _, c := range []struct {
		field string
		want  time.Duration
	}{
		{"120", 2 * time.Minute},
		{" 120\t", 2 * time.Minute},
		{"0", 0},
		{"007", 7 * time.Second},
		{"9223372036", 9223372036 * time.Second},
		{"9223372037", longest},
		{"18446744073709551616", longest}, // 2^64
		{strings.Repeat("9", 5000), longest},
		{strings.Repeat("0", 5000) + "1", time.Second},

		{"Sun, 01 Mar 2026 12:01:00 GMT", 59500 * time.Millisecond},
		{"Sunday, 01-Mar-26 12:01:00 GMT", 59500 * time.Millisecond},
		{"Sun Mar  1 12:01:00 2026", 59500 * time.Millisecond},
		{"Sun, 01 Mar 2026 11:59:00 GMT", 0},
		{"Sunday, 06-Nov-94 08:49:37 GMT", 0}, // 1994
		{"Sun Nov  6 08:49:37 1994", 0},
		{"Fri, 31 Dec 9999 23:59:59 GMT", longest},
		{"Mon, 01 Jan 0001 00:00:00 GMT", 0},

		{"", 0},
		{" ", 0},
		{"-1", 0},
		{"+1", 0},
		{"1.5", 0},
		{"1e3", 0},
		{"0x10", 0},
		{"1_000", 0},
		{"120s", 0},
		{"12 0", 0},
		{"120, 120", 0},
		{"120;a=b", 0},
		{strings.Repeat("9", 30) + "s", 0},
		{"١٢", 0},
		{"soon", 0},
		{"2026-03-01T12:01:00Z", 0},
		{"Sun, 01 Mar 2026 12:01:00 PST", 0},
		{"Sunday, 01-Mar-26 12:01:00 PST", 0},
		{"Sunday, 01-Mar-26 12:01:00 UTC", 0},
		{"Sun, 01 Mar 2026 12:01:00 +0100", 0},
		{"Sun, 30 Feb 2026 12:01:00 GMT", 0},
	} {
		if got := breakerhttp.RetryAfter(http.Header{"Retry-After": {c.field}}, now); got != c.want {
			t.Errorf("Retry-After: %.40q: got %v, want %v", c.field, got, c.want)
		}
	}
}

func TestRetryAfterCountsFromTheDateField(t *testing.T) {
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	const at = "Mon, 02 Mar 2026 00:00:00 GMT" // 12 h from now
	for _, c := range []struct {
		date []string
		want time.Duration
	}{
		{nil, 12 * time.Hour},
		{[]string{"Sun, 01 Mar 2026 23:59:30 GMT"}, 30 * time.Second},
		{[]string{"Sunday, 01-Mar-26 23:59:30 GMT"}, 30 * time.Second},
		{[]string{"Sun Mar  1 23:59:30 2026"}, 30 * time.Second},
		{[]string{" Sun, 01 Mar 2026 23:59:30 GMT "}, 30 * time.Second},
		{[]string{"Mon, 02 Mar 2026 00:00:01 GMT"}, 0},
		{[]string{"Thu, 01 Jan 1970 00:00:00 GMT"}, time.Unix(0, 0).AddDate(56, 2, 1).Sub(time.Unix(0, 0))},
		{[]string{"Mon, 01 Jan 0001 00:00:00 GMT"}, longest},
		{[]string{"yesterday"}, 12 * time.Hour},
		{[]string{""}, 12 * time.Hour},
		{[]string{"60"}, 12 * time.Hour},
		{[]string{"Sun, 01 Mar 2026 23:59:30 GMT", "Sun, 01 Mar 2026 23:59:30 GMT"}, 12 * time.Hour},
	} {
		if got := breakerhttp.RetryAfter(http.Header{"Retry-After": {at}, "Date": c.date}, now); got != c.want {
			t.Errorf("Retry-After: %s with Date %q: got %v, want %v", at, c.date, got, c.want)
		}
		if got := breakerhttp.RetryAfter(http.Header{"Retry-After": {"7"}, "Date": c.date}, now); got != 7*time.Second {
			t.Errorf("Retry-After: 7 with Date %q: got %v, want 7s", c.date, got)
		}
	}
}

func TestRetryAfterOnceOrNotAtAll(t *testing.T) {
	for _, h := range []http.Header{nil, {}, {"Retry-After": nil}, {"Retry-After": {"120", "120"}}, {"Retry-After": {"120", ""}}} {
		if got := breakerhttp.RetryAfter(h, time.Now()); got != 0 {
			t.Errorf("%v: got %v, want 0s", h, got)
		}
	}
}

// RFC 9110, section 5.6.7: more than 50 years ahead is the latest such year past.
func TestRetryAfterWithAYearOfTwoDigits(t *testing.T) {
	day := func(year int) time.Time { return time.Date(year, time.July, 1, 0, 0, 0, 0, time.UTC) }
	for _, c := range []struct {
		now  time.Time
		year string
		want int // 0: past
	}{
		{day(2026), "26", 2026},
		{day(2026), "69", 2069}, // time.Parse says 1969
		{day(2026), "76", 2076}, // 50 years to the second
		{day(2026).Add(-time.Second), "76", 0},
		{day(2026), "77", 0},
		{day(2026), "25", 0},
		{day(2000), "50", 2050},
		{day(2000), "51", 0}, // time.Parse says 2051
		{day(1999), "00", 2000},
		{day(2099), "10", 2110},
		{day(2130), "99", 0},
		{day(2160), "05", 2205},
	} {
		h := http.Header{"Retry-After": {"Wednesday, 01-Jul-" + c.year + " 00:00:00 GMT"}}
		want := max(0, day(c.want).Sub(c.now))
		if got := breakerhttp.RetryAfter(h, c.now); got != want {
			t.Errorf("%s at %v: got %v, want %v", h.Get("Retry-After"), c.now, got, want)
		}
	}

	// 50 years on, the year has begun by GMT but not by the clock of the caller.
	now := time.Date(2027, time.January, 1, 1, 0, 0, 0, time.UTC)
	h := http.Header{"Retry-After": {"Friday, 01-Jan-77 00:00:00 GMT"}}
	want := breakerhttp.RetryAfter(h, now)
	if got := breakerhttp.RetryAfter(h, now.In(time.FixedZone("", -5*3600))); got != want || got == 0 {
		t.Errorf("%s west of Greenwich: got %v, want %v as in it", h.Get("Retry-After"), got, want)
	}
}

func TestRetryAfterOfSecondsAllocatesNothing(t *testing.T) {
	h := http.Header{"Retry-After": {"120"}, "Date": {"Sun, 01 Mar 2026 12:00:00 GMT"}}
	now := time.Now()
	if n := testing.AllocsPerRun(100, func() { breakerhttp.RetryAfter(h, now) }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120", "", int64(1772366400))
	f.Add("99999999999999999999", "x", int64(0))
	f.Add("Sun, 01 Mar 2026 12:01:00 GMT", "Sun, 01 Mar 2026 12:00:00 GMT", int64(0))
	f.Add("Sunday, 01-Mar-76 12:01:00 GMT", "Sunday, 01-Mar-26 12:01:00 GMT", int64(1772366400))
	f.Add("Tuesday, 29-Feb-00 12:01:00 GMT", "Sun Mar  1 12:01:00 2390", int64(-1772366400))
	f.Add("Sun Mar  1 12:01:00 2026", "Mon, 01 Jan 0001 00:00:00 GMT", int64(4e9))
	f.Fuzz(func(t *testing.T, field, date string, unix int64) {
		now := time.Unix(unix%1e11, 0).UTC() // years -1200 to 5138
		h := http.Header{"Retry-After": {field}, "Date": {date}}
		got := breakerhttp.RetryAfter(h, now)
		if want := naiveRetryAfter(field, date, now); got != want || got < 0 {
			t.Errorf("Retry-After %q, Date %q, at %v: got %v, want %v", field, date, now.UTC(), got, want)
		}
	})
}

func naiveRetryAfter(field, date string, now time.Time) time.Duration {
	field = strings.Trim(field, " \t")
	if field != "" && strings.Trim(field, "0123456789") == "" {
		n, _ := new(big.Int).SetString(field, 10)
		n.Mul(n, big.NewInt(int64(time.Second)))
		if !n.IsInt64() {
			return longest
		}
		return time.Duration(n.Int64())
	}
	if d, ok := naiveDate(strings.Trim(date, " \t"), now); ok {
		now = d
	}
	at, ok := naiveDate(field, now)
	if !ok || at.Before(now) {
		return 0
	}
	return at.Sub(now)
}

func naiveDate(s string, now time.Time) (time.Time, bool) {
	t, err := http.ParseTime(s)
	if err != nil {
		return t, false
	}
	if _, err := time.Parse(time.RFC850, s); err != nil {
		return t, true
	}
	if !strings.HasSuffix(s, " GMT") {
		return t, false
	}
	year := now.Year() + 51
	for ((year-t.Year())%100 != 0) || time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC).After(now.AddDate(50, 0, 0)) {
		year--
	}
	return time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC), true
}
