package fleet

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// TestDeadline: a circuit is open for d − Age after the record was received, at least 0 and at most
// the limit.
func TestDeadline(t *testing.T) {
	const year = `31536000000`
	for name, c := range map[string]struct {
		value string
		age   time.Duration
		want  time.Duration
		errs  string
	}{
		"fresh":            {`{"s":1,"st":"open","d":60000}`, 0, time.Minute, "[]"},
		"aged":             {`{"s":1,"st":"open","d":60000}`, 20 * time.Second, 40 * time.Second, "[]"},
		"over":             {`{"s":1,"st":"open","d":60000}`, 90 * time.Second, 0, "[]"},
		"negative age":     {`{"s":1,"st":"open","d":60000}`, -time.Hour, time.Minute, "[]"},
		"least age":        {`{"s":1,"st":"open","d":60000}`, math.MinInt64, time.Minute, "[]"},
		"a year":           {`{"s":1,"st":"open","d":` + year + `}`, 0, 330 * time.Second, "[record]"}, // MaxOpenFor × (1 + Jitter)
		"a year, aged":     {`{"s":1,"st":"open","d":` + year + `}`, time.Minute, 270 * time.Second, "[record]"},
		"for ever":         {`{"s":1,"st":"open","d":9223372036854775807}`, 0, 330 * time.Second, "[record]"},
		"lease":            {`{"s":1,"st":"half","d":31000}`, time.Second, 30 * time.Second, "[]"},
		"lease for a year": {`{"s":1,"st":"half","d":` + year + `}`, 0, 5 * time.Minute, "[record]"},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newProcess(t, newFakeStore(), func(_ *Config, policy *Policy) { policy.Jitter = 0.1 })
			time.Sleep(time.Hour)
			p.answer(Item{Value: []byte(c.value), Version: 7, Age: c.age})
			if got := p.circuit.Until - time.Hour; !p.circuit.opened || got != c.want {
				t.Errorf("%s: open %v for %v, want %v", name, p.circuit.opened, got, c.want)
			}
			p.wantErrors(c.errs)
			time.Sleep(c.want + time.Second)
			if r, _ := p.role(); r != candidate {
				t.Errorf("%s: got role %v when the time is over, want candidate", name, r)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		long := func(_ *Config, policy *Policy) { policy.MaxOpenFor, policy.ProbeTimeout = time.Second, math.MaxInt64 }
		p := newProcess(t, newFakeStore(), long)
		p.answer(Item{Value: p.leaseRecord().encode(), Version: 7})
		if want := longest + time.Second; p.circuit.Until != want-want%time.Millisecond {
			t.Errorf("the longest lease ends at %v, want %v", p.circuit.Until, want)
		}
		p.wantErrors("[]")
	})
}

// TestOneRecord: a record does not get younger, and an item without a version is no record.
func TestOneRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProcess(t, newFakeStore())
		item := Item{Value: []byte(`{"s":1,"st":"open","d":60000}`), Version: 7, Age: 10 * time.Second}
		p.answer(item)
		time.Sleep(20 * time.Second)
		item.Age = 0
		p.answer(item)
		p.wantCircuit(true, 50*time.Second)
		item.Age = 40 * time.Second
		p.answer(item)
		p.wantCircuit(true, 40*time.Second)
		item.Version, item.Age = 8, 0
		p.answer(item)
		p.wantCircuit(true, 80*time.Second)
	})
	synctest.Test(t, func(t *testing.T) {
		p := newProcess(t, newFakeStore())
		p.answer(Item{Value: []byte(`{"s":1,"st":"open","d":60000}`)})
		p.wantCircuit(false, 0)
	})
}

// TestFollow: a closed or suspect record closes an open circuit if it follows an open or half one,
// and only then. An absent record closes nothing.
func TestFollow(t *testing.T) {
	const (
		open    = `{"s":1,"st":"open","d":60000}`
		half    = `{"s":1,"st":"half","d":31000}`
		closed  = `{"s":1,"st":"closed","d":0}`
		suspect = `{"s":1,"st":"suspect","d":60000}`
		poison  = `{"s":1,"st":"ajar","d":60000}`
		foreign = `{"s":2}`
	)
	for name, c := range map[string]struct {
		values []string
		open   bool
	}{
		"open":                        {[]string{open}, true},
		"half":                        {[]string{half}, true},
		"closed after open":           {[]string{open, closed}, false},
		"suspect after open":          {[]string{open, suspect}, true},
		"closed after half":           {[]string{half, closed}, false},
		"suspect after half":          {[]string{half, suspect}, true},
		"closed":                      {[]string{closed}, true},
		"suspect":                     {[]string{suspect}, true},
		"closed after suspect":        {[]string{suspect, closed}, true},
		"absent after open":           {[]string{open, ""}, true},
		"poison after open":           {[]string{open, poison}, true},
		"foreign after open":          {[]string{open, foreign}, true},
		"closed after a flush":        {[]string{open, "", closed}, false},
		"suspect after a flush":       {[]string{open, "", suspect}, true},
		"closed, once it was cleared": {[]string{open, closed, closed}, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newProcess(t, newFakeStore())
			for i, value := range c.values {
				if i == len(c.values)-1 {
					p.circuit.opened = c.values[i] != open && c.values[i] != half
				}
				item := Item{Value: []byte(value), Version: uint64(i + 1)}
				if value == "" {
					item.Version = 0
				}
				p.answer(item)
			}
			if p.circuit.opened != c.open {
				t.Errorf("%s: the circuit is open: %v, want %v", name, p.circuit.opened, c.open)
			}
		})
	}
}

// TestStaleReplica: an answer with a lower version than the known one changes nothing.
func TestStaleReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProcess(t, newFakeStore())
		p.answer(Item{Value: []byte(`{"s":1,"st":"open","d":60000}`), Version: 8})
		p.answer(Item{Value: []byte(`{"s":1,"st":"closed","d":0}`), Version: 7})
		p.wantCircuit(true, time.Minute)
		time.Sleep(2 * time.Minute)
		if p.answer(Item{Version: 7}); p.Due(p.now()) {
			t.Error("it is due again at once")
		}
		p.answer(Item{Value: []byte(`{"s":1,"st":"closed","d":0}`), Version: 9})
		p.wantCircuit(false, 0)
	})
}

// TestPoison: a record that cannot be understood counts as absent, is reported, and is replaced by
// a vote. A record of an unknown schema is never written over.
func TestPoison(t *testing.T) {
	for value, kept := range map[string]bool{
		`}`:                                 false,
		`{"s":1,"st":"ajar","d":60000}`:     false,
		`{"st":"open","d":60000}`:           false,
		`{"s":2,"st":"open","until":"May"}`: true,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeStore()
			s.put(value)
			p := newProcess(t, s)
			p.request()
			p.wantErrors("[record]")
			p.wantCircuit(false, 0)
			if r, _ := p.elect(); r != loner {
				t.Errorf("%s: got role %v, want loner", value, r)
			}
			p.Tripped(t.Context(), time.Minute)
			if got := s.value(); (got == value) != kept {
				t.Errorf("%s became %s", value, got)
			}
		})
	}
}
