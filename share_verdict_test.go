package breakerhttp_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// TestStoreLostInOutage: while the store is down, what was shared lasts until
// its time is up; then every process probes for itself.
func TestStoreLostInOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 4)
		f.open()
		f.run(30 * time.Second)
		f.store.misbehave(noAnswer)
		f.run(25 * time.Second)
		if hits := f.hits.Load(); hits != 0 {
			t.Errorf("got %d hits before the time was up, want none", hits)
		}
		f.run(10 * time.Second)
		if hits := f.hits.Load(); hits != 4 {
			t.Errorf("got %d hits, want a probe a process", hits)
		}
		f.status.Store(http.StatusOK)
		f.run(65 * time.Second)
		f.wantStates(breakerhttp.StateClosed)
		f.store.misbehave(nil)
		f.run(3 * time.Minute) // with its record still open, the fleet probes once more
		f.wantStates(breakerhttp.StateClosed)
		if got := f.record(); got.State != "closed" {
			t.Errorf("the record is %+v, want closed", got)
		}
	})
}
