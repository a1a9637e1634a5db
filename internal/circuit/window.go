package circuit

import "time"

const buckets = 10

// windowCounts is what a window holds of its period.
type windowCounts struct {
	Requests, Failures, Slow int
}

// A window counts requests over a sliding period, in ten buckets that drop out one at a time. It
// has no clock: times count from an origin of the caller's choice, and must not go backwards by
// more than a bucket.
//
// A window must not be used concurrently.
type window struct {
	width  time.Duration
	shift  int64 // added to the numbers of buckets, so that they differ from an earlier window's
	oldest int64 // number of the first bucket ever
	newest int64 // number of the bucket that counts now
	ring   [buckets]windowCounts
	sum    windowCounts
}

// newWindow returns an empty window over period.
func newWindow(period time.Duration) *window {
	return &window{width: max(period/buckets, 1)}
}

// newWindowAfter returns an empty window over period. The numbers of its buckets are higher than
// last, the highest number of an earlier window's bucket.
func newWindowAfter(last int64, period, now time.Duration) *window {
	w := newWindow(period)
	w.oldest = last + 1
	w.newest = w.oldest
	w.shift = w.oldest - w.number(now)
	return w
}

// number returns the number of the bucket that counts at now.
func (w *window) number(now time.Duration) int64 { return int64(now/w.width) + 1 + w.shift }

// Add counts a request at now, and returns the number of its bucket, which is
// never 0.
func (w *window) Add(now time.Duration, c windowCounts) (bucket int64) {
	w.advance(now)
	at := &w.ring[w.newest%buckets]
	at.add(c, 1)
	w.sum.add(c, 1)
	return w.newest
}

// Fail makes a request that was counted in bucket a failure. It returns false,
// and changes nothing, if that bucket has dropped out.
func (w *window) Fail(now time.Duration, bucket int64) bool {
	w.advance(now)
	if bucket == 0 || bucket < w.oldest || bucket <= w.newest-buckets {
		return false
	}
	w.ring[bucket%buckets].Failures++
	w.sum.Failures++
	return true
}

// Sum returns the counts of the period that ends at now.
func (w *window) Sum(now time.Duration) windowCounts {
	w.advance(now)
	return w.sum
}

// Reset empties the window.
func (w *window) Reset() {
	w.ring, w.sum = [buckets]windowCounts{}, windowCounts{}
}

// advance drops the buckets that are older than the period.
func (w *window) advance(now time.Duration) {
	number := w.number(now)
	for range min(number-w.newest, buckets) {
		w.newest++
		oldest := &w.ring[w.newest%buckets]
		w.sum.add(*oldest, -1)
		*oldest = windowCounts{}
	}
	w.newest = max(w.newest, number)
}

func (c *windowCounts) add(d windowCounts, sign int) {
	c.Requests += sign * d.Requests
	c.Failures += sign * d.Failures
	c.Slow += sign * d.Slow
}
