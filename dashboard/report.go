package dashboard

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// A report is circuits.json, or what has changed of it.
type report struct {
	Now         time.Time                `json:"now"`
	Circuits    []breakerhttp.Snapshot   `json:"circuits"`          // by key
	Removed     []string                 `json:"removed,omitempty"` // keys; of a change only
	Transitions []breakerhttp.Transition `json:"transitions"`       // the oldest first
}

// read returns all that t knows. It may call the hook of t: a circuit may notice
// now that time has passed.
func read(t *breakerhttp.Transport) *report {
	r := newReport()
	r.Circuits = slices.AppendSeq(r.Circuits, t.Snapshots())
	slices.SortFunc(r.Circuits, func(a, b breakerhttp.Snapshot) int { return strings.Compare(a.Key, b.Key) })
	r.Transitions = append(r.Transitions, t.Transitions()...)
	return r
}

// newReport says nothing, in lists that JSON shows as empty rather than null.
func newReport() *report {
	return &report{Now: time.Now(), Circuits: []breakerhttp.Snapshot{}, Transitions: []breakerhttp.Transition{}}
}

// changesSince returns what is in r and not in old.
func (r *report) changesSince(old *report) *report {
	c := newReport()
	c.Now = r.Now
	c.Transitions = append(c.Transitions, later(old.Transitions, r.Transitions)...)
	for _, s := range r.Circuits {
		if before, ok := old.find(s.Key); !ok || !same(before, s) {
			c.Circuits = append(c.Circuits, s)
		}
	}
	for _, s := range old.Circuits {
		if _, ok := r.find(s.Key); !ok {
			c.Removed = append(c.Removed, s.Key)
		}
	}
	return c
}

func (r *report) empty() bool { return len(r.Circuits)+len(r.Removed)+len(r.Transitions) == 0 }

func (r *report) find(key string) (breakerhttp.Snapshot, bool) {
	i, ok := slices.BinarySearchFunc(r.Circuits, key, func(s breakerhttp.Snapshot, key string) int {
		return strings.Compare(s.Key, key)
	})
	if !ok {
		return breakerhttp.Snapshot{}, false
	}
	return r.Circuits[i], true
}

// same reports whether two snapshots of a circuit say the same. The same moment
// reads a little different as the system's clock is adjusted.
func same(a, b breakerhttp.Snapshot) bool {
	const adjusted = 100 * time.Millisecond
	if a.Since.Sub(b.Since).Abs() > adjusted || a.Until.Sub(b.Until).Abs() > adjusted {
		return false
	}
	a.Since, a.Until = b.Since, b.Until
	return a == b
}

// later returns the transitions that have been added since old: the end of the
// list after as much of old as it begins with.
func later(old, list []breakerhttp.Transition) []breakerhttp.Transition {
	for dropped := range old {
		kept := old[dropped:]
		if len(kept) <= len(list) && slices.Equal(kept, list[:len(kept)]) {
			return list[len(kept):]
		}
	}
	return list
}

func writeJSON(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(b, '\n')) // the client's loss
}
