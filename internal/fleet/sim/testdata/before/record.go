package before

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
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

const (
	schema   = 1
	maxBytes = 1024
	maxOpens = math.MaxInt32
)

// A record is what the processes of a fleet know of a host. Its version and its
// age are the store's, never inside: two machines' clocks are not compared.
type record struct {
	Schema  int    `json:"s"`
	State   State  `json:"st"`
	Lasts   millis `json:"d"` // the open time or the lease
	Owner   string `json:"o"`
	Opens   int    `json:"g"`           // in a row: open, probed, open again
	Votes   []vote `json:"v,omitempty"` // processes that have tripped
	Failed  []vote `json:"f,omitempty"` // processes whose probe failed in this round
	foreign bool   // not to be written over
}

// A vote is a process, and the age of what it said when the record was written.
type vote struct {
	ID  string `json:"i"` // of the maker's choice
	Age millis `json:"a"`
}

// millis are milliseconds.
type millis int64

func millisOf(d time.Duration) millis { return millis(d.Milliseconds()) }

func (m millis) duration() time.Duration { return time.Duration(m) * time.Millisecond }

// UnmarshalJSON takes any number. One that is too large is as large as can be.
func (m *millis) UnmarshalJSON(b []byte) error {
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return err
	}
	*m = millis(max(min(f, 1<<62), -1<<62))
	return nil
}

var (
	errPoison  = errors.New("breakerhttp: unusable record")
	errTooLong = errors.New("breakerhttp: the time of a record is longer than the policy allows, and cut")
)

// parse reads a value. What cannot be understood reads as absent, with an error.
func parse(value []byte) (record, error) {
	if len(value) == 0 {
		return record{}, nil
	}
	var head struct {
		Schema int `json:"s"`
	}
	var r record
	switch err := json.Unmarshal(value, &head); {
	case err != nil:
		return record{}, fmt.Errorf("%w: %d bytes that are no record", errPoison, len(value))
	case head.Schema > schema: // the rest may be anything
		return record{foreign: true}, fmt.Errorf("%w: schema %d, want %d", errPoison, head.Schema, schema)
	case len(value) > maxBytes:
		return record{}, fmt.Errorf("%w: %d bytes, want at most %d", errPoison, len(value), maxBytes)
	}
	if err := json.Unmarshal(value, &r); err != nil {
		return record{}, fmt.Errorf("%w: a field of another type", errPoison)
	}
	if !r.valid() {
		return record{}, fmt.Errorf("%w: a field is out of range", errPoison)
	}
	r.Opens = min(r.Opens, maxOpens)
	return r, nil
}

func (r *record) valid() bool {
	return r.Schema == schema && r.Lasts >= 0 && r.Opens >= 0 &&
		slices.Contains([]State{Closed, Suspect, Open, Half}, r.State)
}

// encode leaves out the oldest of the votes for which there is no room.
func (r record) encode() []byte {
	r.Schema = schema
	for {
		b, err := json.Marshal(r)
		switch {
		case err != nil:
			panic(err) // strings and numbers only
		case len(b) <= maxBytes:
			return b
		case len(r.Votes) > 0:
			r.Votes = r.Votes[:len(r.Votes)-1]
		default:
			r.Failed = r.Failed[:len(r.Failed)-1]
		}
	}
}

// young returns the votes that are younger than limit when the record has that
// age, with their ages then.
func young(votes []vote, age, limit time.Duration) (out []vote) {
	for _, v := range votes {
		if older := max(v.Age, 0) + millisOf(age); older >= 0 && older < millisOf(limit) {
			out = append(out, vote{v.ID, older})
		}
	}
	return out
}

// with returns the votes with a fresh one of id: at most most of them, the
// youngest.
func with(votes []vote, id string, most int) []vote {
	out := []vote{{ID: id}}
	for _, v := range votes {
		if v.ID != id {
			out = append(out, v)
		}
	}
	return youngest(out, most)
}

func youngest(votes []vote, most int) []vote {
	slices.SortStableFunc(votes, func(a, b vote) int { return cmp.Compare(a.Age, b.Age) })
	return votes[:min(len(votes), most)]
}
