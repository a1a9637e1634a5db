package circuit

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestWindowAgainstList(t *testing.T) { rapid.Check(t, againstList) }

func FuzzWindowAgainstList(f *testing.F) {
	for seed := range byte(8) {
		input := make([]byte, 1<<12)
		_, _ = rand.NewChaCha8([32]byte{seed}).Read(input)
		f.Add(input)
	}
	f.Fuzz(rapid.MakeFuzz(againstList))
}

// entry is a request in a list that forgets nothing.
type entry struct {
	bucket int64 // by time
	name   int64 // as the window calls it
	windowCounts
}

func againstList(t *rapid.T) {
	period := rapid.SampledFrom([]time.Duration{1, 5, 10, 95, 1000, math.MaxInt64}).Draw(t, "period")
	now := rapid.SampledFrom([]time.Duration{0, 7, math.MaxInt64 / 2}).Draw(t, "origin")
	width := max(period/10, 1)
	w := newWindow(period)
	var list []*entry
	inside := func(e *entry) bool { return int64(now/width)-e.bucket < 10 }
	t.Repeat(map[string]func(*rapid.T){
		"add": func(t *rapid.T) {
			one := rapid.IntRange(0, 1)
			e := &entry{bucket: int64(now / width), windowCounts: windowCounts{
				Requests: 1, Failures: one.Draw(t, "failed"), Slow: one.Draw(t, "slow"),
			}}
			if e.name = w.Add(now, e.windowCounts); e.name == 0 {
				t.Fatal("a bucket is called 0")
			}
			list = append(list, e)
		},
		"fail": func(t *rapid.T) {
			if len(list) == 0 {
				return // not Skip: an input that only skips would fail
			}
			e := list[rapid.IntRange(0, len(list)-1).Draw(t, "which")]
			if got, want := w.Fail(now, e.name), inside(e); got != want {
				t.Fatalf("at %d a failure in bucket %d counts: %v, want %v", now, e.bucket, got, want)
			}
			e.Failures++
		},
		"fail none": func(t *rapid.T) {
			if w.Fail(now, 0) {
				t.Fatal("a failure in no bucket counts")
			}
		},
		"pass": func(t *rapid.T) {
			now += rapid.SampledFrom([]time.Duration{
				0, 1, width - 1, width, (now/width+1)*width - now, 9 * width, 10*width - 1, 10 * width, 25 * width,
			}).Filter(func(d time.Duration) bool { return d <= math.MaxInt64-now && d >= 0 }).Draw(t, "time")
		},
		"reset": func(*rapid.T) {
			w.Reset()
			list = nil
		},
		"": func(t *rapid.T) {
			var want windowCounts
			for e := range slices.Values(list) {
				if inside(e) {
					want.Requests += e.Requests
					want.Failures += e.Failures
					want.Slow += e.Slow
				}
			}
			if diff := cmp.Diff(want, w.Sum(now)); diff != "" {
				t.Fatalf("sum at %d (-want +got):\n%s", now, diff)
			}
		},
	})
}

// TestBucketsDropOutOneAtATime is the rule that a tumbling window breaks.
func TestBucketsDropOutOneAtATime(t *testing.T) {
	w := newWindow(10 * time.Second)
	for i := range time.Duration(10) {
		w.Add(i*time.Second, windowCounts{Requests: 1})
	}
	for i := range time.Duration(12) {
		now := (9 + i) * time.Second
		if got, want := w.Sum(now).Requests, max(0, 10-int(i)); got != want {
			t.Errorf("at %v the window has %d requests, want %d", now, got, want)
		}
	}
}

func TestAFailureLooksAtTheTime(t *testing.T) {
	for now, want := range map[time.Duration]bool{10*time.Second - 1: true, 10 * time.Second: false} {
		w := newWindow(10 * time.Second)
		bucket := w.Add(0, windowCounts{Requests: 1})
		if got := w.Fail(now, bucket); got != want {
			t.Errorf("at %v a failure of a request at 0 counts: %v, want %v", now, got, want)
		}
	}
}

// TestTimeThatGoesBack is what concurrent callers do: each took the time before
// it got the lock.
func TestTimeThatGoesBack(t *testing.T) {
	w := newWindow(10 * time.Second)
	w.Add(5*time.Second, windowCounts{Requests: 1})
	w.Add(4*time.Second, windowCounts{Requests: 1})
	if got := w.Sum(3 * time.Second).Requests; got != 2 {
		t.Errorf("the window has %d requests, want 2", got)
	}
	if got := w.Sum(14 * time.Second).Requests; got != 2 {
		t.Errorf("nine buckets later it has %d requests, want 2", got)
	}
	if got := w.Sum(15 * time.Second).Requests; got != 0 {
		t.Errorf("ten buckets later it has %d requests, want 0", got)
	}
}
