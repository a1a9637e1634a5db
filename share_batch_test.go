package breakerhttp_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/store/storetest"
)

// A loadingStore keeps which keys were read at once.
type loadingStore struct {
	*storetest.Memory
	mu    sync.Mutex
	loads [][]string
}

func (s *loadingStore) Load(ctx context.Context, keys []string) ([]breakerhttp.Item, error) {
	s.mu.Lock()
	s.loads = append(s.loads, slices.Sorted(slices.Values(keys)))
	s.mu.Unlock()
	return s.Memory.Load(ctx, keys)
}

// taken returns what was read since the last time.
func (s *loadingStore) taken() [][]string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	loads := s.loads
	s.loads = nil
	return loads
}

// TestOneLoadForAll: one read is for all circuits that are due, but for those that
// have been evicted.
func TestOneLoadForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &loadingStore{Memory: storetest.NewMemory()}
		tr := newTransport(t, respond(http.StatusOK), breakerhttp.WithMaxCircuits(3), breakerhttp.WithStore(store, breakerhttp.Sharing{}))
		var kept []string
		for i := range 4 {
			_, _ = get(tr, fmt.Sprintf("http://%d.test", i))
		}
		for s := range tr.Snapshots() {
			kept = append(kept, "default/"+s.Key)
		}
		slices.Sort(kept)
		store.taken()
		time.Sleep(20 * time.Second)
		_, _ = get(tr, "http://3.test")
		if diff := cmp.Diff([][]string{kept}, store.taken()); diff != "" {
			t.Errorf("reads (-want +got):\n%s", diff)
		}
		time.Sleep(time.Second)
		_, _ = get(tr, kept[0][len("default/"):])
		_, _ = get(tr, kept[1][len("default/"):])
		if got := store.taken(); len(got) > 0 {
			t.Errorf("what was read along with others is read again: %v", got)
		}
	})
}
