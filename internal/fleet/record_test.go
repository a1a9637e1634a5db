package fleet

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestParse(t *testing.T) {
	for value, want := range map[string]string{
		``: "absent",
		`{"s":1,"st":"closed","d":0,"o":"9f3c","g":2}`:                               "closed",
		`{"s":1,"st":"suspect","d":60000,"o":"9f3c","g":0,"v":[{"i":"9f3c","a":5}]}`: "suspect",
		`{"s":1,"st":"open","d":60000,"o":"9f3c","g":2,"f":[{"i":"9f3c","a":-5}]}`:   "open",
		`{"s":1,"st":"half","d":31000,"o":"9f3c","g":2,"new":"field"}`:               "half",
		`{"s":1,"st":"open","d":1e30,"v":[{"i":"pod-7/ß","a":1e400}]}`:               "open",
		`{"s":1,"st":"open","d":99999999999999999999,"o":"pod-7"}`:                   "open",
		`{"s":1,"st":"half","d":31000.0,"g":2}`:                                      "half",
		`{"s":1,"st":"open","d":1,"o":"` + strings.Repeat("x", 4000) + `"}`:          "open",
		`{"s":1,"st":"suspect","d":1,"w":-7}`:                                        "suspect",

		`{"st":"open","d":60000}`:                                           "poison",
		`{"s":0,"st":"open","d":60000}`:                                     "poison",
		`{"s":-1,"st":"open","d":60000}`:                                    "poison",
		`{"s":1,"st":"ajar","d":60000}`:                                     "poison",
		`{"s":1,"d":60000}`:                                                 "poison",
		`{"s":1,"st":"open","d":-1}`:                                        "poison",
		`{"s":1,"st":"open","d":1,"g":-1}`:                                  "poison",
		`{"s":1,"st":"open","d":"60s"}`:                                     "poison",
		`{"s":1,"st":"open","d":1,"o":"` + strings.Repeat("x", 5000) + `"}`: "poison",
		`{"s":2,"pad":"` + strings.Repeat("x", 5000) + `"}`:                 "poison",

		`[]`:       "poison",
		`1`:        "poison",
		`open`:     "poison",
		"\x00\xff": "poison",

		`{"s":2,"st":"x"}`:                                  "foreign",
		`{"s":2,"st":{"open":true},"d":"60s"}`:              "foreign",
		`{"s":9,"pad":"` + strings.Repeat("x", 4000) + `"}`: "foreign",
	} {
		r, err := parse([]byte(value))
		got := string(r.State)
		switch {
		case r.foreign:
			got = "foreign"
		case errors.Is(err, errPoison):
			got += "poison" // nothing of it may be used
		case got == "":
			got = "absent"
		}
		if got != want || (err != nil) != (want == "poison" || want == "foreign") {
			t.Errorf("%s is %s (%v), want %s", value, got, err, want)
		}
	}
}

// TestRecordSize: a record is at most 1 KB, which is enough for the votes of the greatest quorum.
// If ids are longer than those of this package, the oldest votes are left out.
func TestRecordSize(t *testing.T) {
	for size, want := range map[int]int{len(New(Config{}).voter.ID): 20, 64: 10, 600: 2} {
		id := strings.Repeat("f", size)
		r := record{State: Suspect, Lasts: millisOf(longest), Owner: New(Config{}).id, Opens: maxOpens}
		for range 20 {
			r.Votes = append(r.Votes, vote{ID: id, Age: millisOf(longest)})
		}
		r.Votes[0].ID = "the youngest"
		b := r.encode()
		got, err := parse(b)
		if err != nil || len(b) > maxWrite || len(got.Votes) != want || got.Votes[0] != r.Votes[0] {
			t.Errorf("with ids of %d bytes: %d bytes with %d votes (%v), want at most %d with %d, the youngest first: %s",
				size, len(b), len(got.Votes), err, maxWrite, want, b)
		}
	}
}

func TestYoung(t *testing.T) {
	votes := []vote{{ID: "a", Age: 0}, {ID: "b", Age: 4000}, {ID: "c", Age: 5000}, {ID: "d", Age: -9000}, {ID: "e", Age: math.MaxInt64}}
	got := young(votes, 5*time.Second, 10*time.Second)
	if want := []vote{{ID: "a", Age: 5000}, {ID: "b", Age: 9000}, {ID: "d", Age: 5000}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	got = with([]vote{{ID: "a", Age: 9000}, {ID: "b", Age: 5000}, {ID: "c", Age: 7000}}, vote{ID: "b"}, 2)
	if want := []vote{{ID: "b", Age: 0}, {ID: "c", Age: 7000}}; !slices.Equal(got, want) {
		t.Errorf("with b, two at most: got %v, want %v", got, want)
	}
}

// FuzzRecord: whatever the store says, a member does not panic, and does not open its circuit for
// longer than its limit. What it writes can be parsed and is at most 1 KB, and it writes nothing
// over a record that it does not understand.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"s":1,"st":"open","d":60000,"o":"9f3c","g":2,"f":[{"i":"9f3c","a":1}]}`), uint64(1), int64(0))
	f.Add([]byte(`{"s":1,"st":"suspect","d":60000,"o":"9f3c","g":2147483647,"v":[{"i":"a","a":0},{"i":"b","a":0}]}`), uint64(1), int64(time.Hour))
	f.Add([]byte(`{"s":1,"st":"half","d":9223372036854775807,"o":"","g":9223372036854775807}`), uint64(math.MaxUint64), int64(math.MinInt64))
	f.Add([]byte(`{"s":1,"st":"closed","g":3}`), uint64(7), int64(math.MaxInt64))
	f.Add([]byte(`{"s":2,"st":1}`), uint64(7), int64(0))
	f.Fuzz(func(t *testing.T, value []byte, version uint64, age int64) {
		synctest.Test(t, func(t *testing.T) {
			p := newProcess(t, newFakeStore(), func(_ *Config, policy *Policy) { policy.OpenGrowth, policy.Jitter = 2, 0.5 })
			p.answer(Item{Value: value, Version: version, Age: time.Duration(age)})
			if limit := p.limit(Half); p.circuit.Until > limit+limit/2 {
				t.Errorf("the circuit is open until %v", p.circuit.Until)
			}
			if due := time.Duration(p.due.Load()); due < 0 || due > 2*p.limit(Half) {
				t.Errorf("the record is read again at %v", due)
			}
			for name, next := range map[string]func() (record, bool){
				"vote":     func() (record, bool) { p.vote = &ownVote{openFor: time.Hour}; return p.voteRecord() },
				"lease":    func() (record, bool) { r, _ := p.role(); return p.leaseRecord(), r == candidate },
				"success":  func() (record, bool) { return p.successRecord(), p.known.rec.State == Half },
				"failure":  func() (record, bool) { return p.failureRecord(time.Hour), p.known.rec.State == Half },
				"released": func() (record, bool) { return p.releaseRecord(), p.known.rec.State == Half },
			} {
				r, ok := next()
				if !ok {
					continue
				}
				r.Owner = p.fleet.id
				if err := readable(r); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if p.known.rec.foreign {
					t.Errorf("%s: it would write over %q", name, value)
				}
			}
		})
	})
}

func readable(r record) error {
	b := r.encode()
	if len(b) > maxWrite {
		return fmt.Errorf("%d bytes: %s", len(b), b)
	}
	back, err := parse(b)
	if err != nil {
		return fmt.Errorf("%w: %s", err, b)
	}
	if again := string(back.encode()); again != string(b) {
		return fmt.Errorf("%s reads as %s", b, again)
	}
	return nil
}
