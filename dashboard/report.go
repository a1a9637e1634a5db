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

// A report is circuits.json, or what has changed of it.
type report struct {
	Now         time.Time                `json:"now"`
	Transport   string                   `json:"transport,omitempty"` // its name; not of a change
	Process     *process                 `json:"process,omitempty"`   // not of a change
	Circuits    []circuit                `json:"circuits"`            // by key
	Removed     []string                 `json:"removed,omitempty"`   // keys; of a change only
	Transitions []breakerhttp.Transition `json:"transitions"`         // the oldest first
}

// A process is what runs the Transport.
type process struct {
	Host  string    `json:"host"`
	PID   int       `json:"pid"`
	Since time.Time `json:"since"` // it has had this Handler
}

// A circuit is a Snapshot with its policy in words.
type circuit struct {
	breakerhttp.Snapshot
	policyText string
}

func describe(s breakerhttp.Snapshot) circuit {
	c := circuit{s, inWords(s.Policy)}
	c.Policy.TripWhen = nil // functions cannot be compared
	return c
}

// MarshalJSON writes the policy in words beside what the Snapshot writes.
func (c circuit) MarshalJSON() ([]byte, error) {
	type fields breakerhttp.Snapshot // without MarshalJSON, which would take the place of this one
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

// read returns all that the Transport knows. It may call the Transport's hook: a circuit may notice
// now that time has passed.
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

// newReport returns a report of nothing, with lists that JSON shows as empty rather than null.
func newReport() *report {
	return &report{Now: time.Now(), Circuits: []circuit{}, Transitions: []breakerhttp.Transition{}}
}

// changesSince returns what is in r and not in old.
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

// seq is that of the latest transition, 0 if there was none.
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

// same reports whether two descriptions of a circuit say the same. The same moment reads slightly
// different as the system's clock is adjusted.
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
