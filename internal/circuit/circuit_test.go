package circuit_test

import (
	"context"
	"math"
	"runtime"
	"testing"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// TestMemoryOfHealthyHosts: a circuit whose host only succeeds keeps nothing beside
// itself, and an adaptive one at most 64 bytes, however many requests it has had.
func TestMemoryOfHealthyHosts(t *testing.T) {
	cfg, owned := defaults(), &owner{}
	unused := allocated(func() { new(circuit.Circuit).Init(&cfg, owned) })
	for _, test := range []struct {
		name   string
		change func(*circuit.Config)
		most   uint64
	}{
		{"classic", func(*circuit.Config) {}, 0},
		{"adaptive", adaptive, 64},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := with(test.change)
			least := allocated(func() {
				c := new(circuit.Circuit)
				c.Init(&cfg, owned)
				succeed(t, c, 40, 2)     // more at once than an adaptive circuit lets pass without a look
				succeed(t, c, 1, 70_000) // so many that it forgets that
			})
			if most := unused + test.most; least > most {
				t.Errorf("the circuit of a healthy host takes %d bytes, want at most %d", least, most)
			}
		})
	}
}

// succeed sends so many requests at once, in so many rounds.
func succeed(t *testing.T, c *circuit.Circuit, atOnce, rounds int) {
	by := circuit.Cause{Context: context.Background()}
	var calls [40]circuit.Call
	for range rounds {
		for i := range atOnce {
			calls[i] = circuit.Call{}
			if !c.Enter(&calls[i]) {
				if _, d := c.Admit(&by, &calls[i], true); d != circuit.Admitted {
					t.Fatal("a healthy circuit refuses")
				}
			}
		}
		for i := range atOnce {
			if !c.Succeed(&calls[i], true) {
				t.Fatal("a success needed a decision")
			}
		}
	}
}

// allocated returns how many bytes use allocates. The least of some tries has nothing
// of what others allocate meanwhile.
func allocated(use func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		use()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}
