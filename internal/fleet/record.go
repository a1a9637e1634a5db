package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// State of a record.
type State string

const (
	Absent  State = ""        // there is none, or none that can be understood
	Closed  State = "closed"  // the host is well
	Suspect State = "suspect" // fewer than Quorum processes have tripped
	Open    State = "open"    // nobody asks the host until the time is over
	Half    State = "half"    // the owner of the lease probes
)

const schema = 1

// A record is what the processes of a fleet know of a host. Its version and its
// age are the store's, never inside: two machines' clocks are not compared.
type record struct {
	Schema  int    `json:"s"`
	State   State  `json:"st"`
	Millis  int64  `json:"d"` // the open time or the lease
	Owner   string `json:"o"`
	Opens   int    `json:"g"`           // in a row: open, probed, open again
	Votes   []vote `json:"v,omitempty"` // processes that have tripped
	Failed  []vote `json:"f,omitempty"` // processes whose probe failed in this round
	foreign bool   // of a newer schema: not to be overwritten
}

// A vote is a process, and the age of what it said when the record was written.
type vote struct {
	ID     string `json:"i"`
	Millis int64  `json:"a"`
}

var errPoison = errors.New("breakerhttp: unusable record")

// parse reads a value. What cannot be understood reads as absent, with an error.
func parse(value []byte) (record, error) {
	var r record
	if len(value) == 0 {
		return r, nil
	}
	if err := json.Unmarshal(value, &r); err != nil {
		return record{}, fmt.Errorf("%w: %d bytes that are no record", errPoison, len(value))
	}
	switch {
	case r.Schema < 1 || r.Millis < 0 || r.Opens < 0:
		return record{}, fmt.Errorf("%w: a field is out of range", errPoison)
	case r.Schema > schema:
		return record{foreign: true}, fmt.Errorf("%w: schema %d, want %d", errPoison, r.Schema, schema)
	case !slices.Contains([]State{Closed, Suspect, Open, Half}, r.State):
		return record{}, fmt.Errorf("%w: its state is unknown", errPoison)
	}
	return r, nil
}

func (r record) encode() []byte {
	r.Schema = schema
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return b
}

// young returns the votes that are younger than limit now, their ages brought up
// to date, without those of id.
func young(votes []vote, age, limit time.Duration, id string) []vote {
	var out []vote
	for _, v := range votes {
		if v.Millis < 0 {
			v.Millis = 0
		}
		v.Millis += age.Milliseconds()
		if v.ID != id && v.Millis >= 0 && v.Millis < limit.Milliseconds() {
			out = append(out, v)
		}
	}
	return out
}

// with adds a fresh vote of id, and keeps at most most, the youngest.
func with(votes []vote, id string, most int) []vote {
	votes = append(votes, vote{ID: id})
	slices.SortStableFunc(votes, func(a, b vote) int { return int(a.Millis - b.Millis) })
	return votes[:min(len(votes), most)]
}
