package main

import (
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/servertest"
)

// TestSharers: all send what they are asked to, and without Redis only those do
// that need none for a healthy host.
func TestSharers(t *testing.T) {
	for _, s := range sharers {
		t.Run(s.name, func(t *testing.T) {
			store := servertest.Redis(t)
			team, err := s.hire(store.Addr, 2)
			if err != nil {
				t.Fatal(err)
			}
			defer team.dismiss()
			var up, down shift
			team.work(200*time.Millisecond, &up)
			if up.sent == 0 || up.sent != up.asked {
				t.Errorf("sent %d of %d requests, want all", up.sent, up.asked)
			}
			store.Kill()
			team.work(200*time.Millisecond, &down)
			if want := down.asked; s.module == "" && down.sent != want {
				t.Errorf("without Redis sent %d of %d requests, want all", down.sent, want)
			}
			if s.module != "" && down.sent != 0 {
				t.Errorf("without Redis sent %d of %d requests, want none, as docs/benchmarks.md says", down.sent, down.asked)
			}
		})
	}
}
