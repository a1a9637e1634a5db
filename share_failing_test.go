package breakerhttp_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// TestFailingHostAsks: who has failed twice in a row asks the others before it
// sends again, a second later. One failure, and a host that is well again, make
// no request wait.
func TestFailingHostAsks(t *testing.T) {
	const read, answer = 20 * time.Millisecond, 10 * time.Millisecond
	for name, c := range map[string]struct {
		statuses []int
		open     bool // for others, by now
		want     time.Duration
	}{
		"open for others":           {[]int{503, 503}, true, read},
		"open for nobody":           {[]int{503, 503}, false, read + answer},
		"a failure":                 {[]int{503}, false, answer},
		"a success between":         {[]int{503, 200, 503}, false, answer},
		"a success since":           {[]int{503, 503, 200}, false, answer},
		"open for others, one only": {[]int{200, 503}, true, answer},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 1)
				_, _ = get(f.processes[0], host)
				time.Sleep(2 * time.Second)
				f.store.misbehave(func(context.Context) error { time.Sleep(read); return nil })
				for _, status := range c.statuses {
					f.status.Store(int64(status))
					_, _ = get(f.processes[0], host)
				}
				time.Sleep(1100 * time.Millisecond)
				if c.open {
					f.put(`{"s":1,"st":"open","d":60000,"g":1}`)
				}
				f.status.Store(http.StatusOK)
				before := time.Now()
				_, err := get(f.processes[0], host)
				if took := time.Since(before); took != c.want {
					t.Errorf("the request took %v, want %v", took, c.want)
				}
				if refused := errors.Is(err, breakerhttp.ErrOpen); refused != (c.want == read) {
					t.Errorf("the request was refused: %v", refused)
				}
				time.Sleep(read)
			})
		})
	}
}
