package dashboard

import (
	"encoding/json"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/keytext"
)

// A report is circuits.json, or a change of it.
type report struct {
	Now         time.Time                `json:"now"`
	Transport   string                   `json:"transport,omitempty"` // its name; not in a change
	Process     *process                 `json:"process,omitempty"`   // not in a change
	Circuits    []circuit                `json:"circuits"`            // sorted by key
	Removed     []string                 `json:"removed,omitempty"`   // keys; only in a change
	Transitions []breakerhttp.Transition `json:"transitions"`         // the oldest first
}

// A process is what runs the Transport.
type process struct {
	Host  string    `json:"host"`
	PID   int       `json:"pid"`
	Since time.Time `json:"since"` // when it made this Handler
}

// A circuit is a Snapshot with its policy in words.
type circuit struct {
	breakerhttp.Snapshot
	policyText string
}

// describe returns a circuit as reports have it.
func describe(s breakerhttp.Snapshot) circuit {
	c := circuit{s, inWords(s.Policy)}
	c.Policy.TripWhen = nil // functions cannot be compared
	return c
}

// MarshalJSON writes the policy in words beside what the Snapshot writes.
func (c circuit) MarshalJSON() ([]byte, error) {
	type fields breakerhttp.Snapshot // without Snapshot's MarshalJSON, which would replace this one
	s := fields(c.Snapshot)
	s.Key = keytext.Encode(s.Key)
	return json.Marshal(struct {
		fields
		PolicyText string `json:"policy_text"`
	}{s, c.policyText})
}

// A source is what reports are made of.
type source struct {
	t       *breakerhttp.Transport
	process process
}

func newSource(t *breakerhttp.Transport) *source {
	host, _ := os.Hostname() // "" is shown as it is
	return &source{t, process{Host: host, PID: os.Getpid(), Since: time.Now()}}
}

// read returns all that the Transport knows. It may call the Transport's hook, because it may find
// that a transition is due.
func (s *source) read() *report {
	r := newReport()
	r.Transport, r.Process = s.t.Name(), &s.process
	for snapshot := range s.t.Snapshots() {
		r.Circuits = append(r.Circuits, describe(snapshot))
	}
	slices.SortFunc(r.Circuits, func(a, b circuit) int { return strings.Compare(a.Key, b.Key) })
	r.Transitions = append(r.Transitions, s.t.Transitions()...)
	return r
}

// newReport returns an empty report, with lists that JSON shows as [] and not as null.
func newReport() *report {
	return &report{Now: time.Now(), Circuits: []circuit{}, Transitions: []breakerhttp.Transition{}}
}

// changesSince returns the change that leads from old to r.
func (r *report) changesSince(old *report) *report {
	c := newReport()
	c.Now = r.Now
	for _, tr := range r.Transitions {
		if tr.Seq > old.seq() {
			c.Transitions = append(c.Transitions, tr)
		}
	}
	for _, s := range r.Circuits {
		if before, ok := old.find(s.Key); !ok || !same(before, s) {
			c.Circuits = append(c.Circuits, s)
		}
	}
	for _, s := range old.Circuits {
		if _, ok := r.find(s.Key); !ok {
			c.Removed = append(c.Removed, keytext.Encode(s.Key))
		}
	}
	return c
}

// seq returns the Seq of the latest transition, or 0 if there is none.
func (r *report) seq() uint64 {
	if len(r.Transitions) == 0 {
		return 0
	}
	return r.Transitions[len(r.Transitions)-1].Seq
}

func (r *report) empty() bool { return len(r.Circuits)+len(r.Removed)+len(r.Transitions) == 0 }

func (r *report) find(key string) (circuit, bool) {
	i, ok := slices.BinarySearchFunc(r.Circuits, key, func(c circuit, key string) int {
		return strings.Compare(c.Key, key)
	})
	if !ok {
		return circuit{}, false
	}
	return r.Circuits[i], true
}

// same reports whether two descriptions of a circuit say the same. The same moment can differ
// slightly between them, because the system's clock is adjusted.
func same(a, b circuit) bool {
	const adjusted = 100 * time.Millisecond
	if a.Since.Sub(b.Since).Abs() > adjusted || a.Until.Sub(b.Until).Abs() > adjusted {
		return false
	}
	a.Since, a.Until = b.Since, b.Until
	return reflect.DeepEqual(a, b)
}

func writeJSON(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(b, '\n')) // a client that is gone misses nothing
}
