package fleet

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
	Absent  State = ""        // there is no record, or none that can be understood
	Closed  State = "closed"  // the host is healthy
	Suspect State = "suspect" // fewer than Quorum processes have tripped
	Open    State = "open"    // no process calls the host until the time is over
	Half    State = "half"    // the owner of the lease probes
)

const (
	schema   = 1
	maxWrite = 1024 // bytes of a record that this process writes
	maxRead  = 4096 // bytes of a record that is parsed
	maxOpens = math.MaxInt32
	maxName  = 63 // bytes of the name of a process
)

// A record is what the processes of a fleet know of a host. Its version and its age are kept by the
// store and never inside: the clocks of two machines are not compared.
type record struct {
	Schema  int      `json:"s"`
	State   State    `json:"st"`
	Lasts   millis   `json:"d"` // the open time or the lease
	Owner   string   `json:"o"`
	Opens   int64    `json:"g"`            // openings in a row, without a successful probe between them
	Healthy *millis  `json:"w,omitempty"`  // of a suspect: how long the host had been healthy when it was written
	Votes   []vote   `json:"v,omitempty"`  // processes that have tripped
	Failed  []vote   `json:"f,omitempty"`  // processes whose probe failed in this round
	By      []string `json:"by,omitempty"` // names of the processes that opened it
	Ignored int64    `json:"n,omitempty"`  // probes in a row, of any process, without a verdict
	foreign bool     // of another schema: not to be overwritten
}

// A vote is a process, and how old its vote or failed probe was when the record was written.
type vote struct {
	ID         string `json:"i"`
	Age        millis `json:"a"`
	RetryAfter millis `json:"r,omitempty"` // what was left then of a failed probe's Retry-After
	Name       string `json:"n,omitempty"` // the beginning of the voter's Instance, if it has one
}

// millis are milliseconds.
type millis int64

func millisOf(d time.Duration) millis { return millis(d.Milliseconds()) }

func (m millis) duration() time.Duration { return time.Duration(m) * time.Millisecond }

// UnmarshalJSON accepts any number. One that is out of range becomes the largest, or the smallest.
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

// parse reads a value. For a value that it does not understand, it returns an absent record and an
// error.
func parse(value []byte) (record, error) {
	var head struct {
		Schema int `json:"s"`
	}
	var r record
	switch {
	case len(value) == 0:
		return record{}, nil
	case len(value) > maxRead:
		return record{}, fmt.Errorf("%w: %d bytes, want at most %d", errPoison, len(value), maxRead)
	case json.Unmarshal(value, &head) != nil:
		return record{}, fmt.Errorf("%w: %d bytes that are no record", errPoison, len(value))
	case head.Schema > schema: // the rest may be anything
		return record{foreign: true}, fmt.Errorf("%w: schema %d, want %d", errPoison, head.Schema, schema)
	case json.Unmarshal(value, &r) != nil:
		return record{}, fmt.Errorf("%w: a field of another type", errPoison)
	case !r.valid():
		return record{}, fmt.Errorf("%w: a field is out of range", errPoison)
	}
	r.Opens, r.Ignored = min(r.Opens, maxOpens), min(max(r.Ignored, 0), maxOpens)
	for i, name := range r.By {
		r.By[i] = printable(name)
	}
	if r.Healthy != nil {
		*r.Healthy = min(max(*r.Healthy, 0), millisOf(longest))
	}
	return r, nil
}

func (r *record) valid() bool {
	return r.Schema == schema && r.Lasts >= 0 && r.Opens >= 0 &&
		slices.Contains([]State{Closed, Suspect, Open, Half}, r.State)
}

// encode returns the JSON of the record. If that is longer than maxWrite, it leaves out names
// first, then the oldest votes.
func (r record) encode() []byte {
	r.Schema = schema
	r.Votes, r.Failed = slices.Clone(r.Votes), slices.Clone(r.Failed)
	for {
		b, err := json.Marshal(r)
		if err != nil {
			panic(err) // strings and numbers only
		}
		named := slices.IndexFunc(r.Votes, func(v vote) bool { return v.Name != "" })
		switch {
		case len(b) <= maxWrite:
			return b
		case len(r.By) > 0:
			r.By = r.By[:len(r.By)-1]
		case named >= 0:
			r.Votes[named].Name = ""
		case len(r.Votes) > 0:
			r.Votes = r.Votes[:len(r.Votes)-1]
		default:
			r.Failed = r.Failed[:len(r.Failed)-1]
		}
	}
}

// young returns the votes that are younger than limit once the record has this age. Their ages are
// those at that time.
func young(votes []vote, age, limit time.Duration) (out []vote) {
	for _, v := range votes {
		older := max(v.Age, 0) + millisOf(age)
		if older < 0 || older >= millisOf(limit) {
			continue
		}
		v.Age = older
		v.RetryAfter = max(0, v.RetryAfter-millisOf(age))
		out = append(out, v)
	}
	return out
}

// with adds v to votes, in place of an earlier vote of the same process, and returns the youngest:
// no more than most.
func with(votes []vote, v vote, most int) []vote {
	out := []vote{v}
	for _, w := range votes {
		if w.ID != v.ID {
			out = append(out, w)
		}
	}
	return youngest(out, most)
}

// youngest returns the youngest of the votes: no more than most.
func youngest(votes []vote, most int) []vote {
	slices.SortStableFunc(votes, func(a, b vote) int { return cmp.Compare(a.Age, b.Age) })
	return votes[:min(len(votes), most)]
}
