package main

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp/benchmarks/internal/report"
)

// results are all that is measured.
type results struct {
	timed     timed
	loopback  *field
	attacked  *field
	disturbed *field
	collected *field
	uploaded  []*upload
	weights   map[string]weight // by contender
	allocs    map[string]float64
}

const circuits = 500 // that have metrics of their own

// measureAll takes about as long as budget, and in addition the time to meet 100,000
// hosts and to link the programs.
func measureAll(budget time.Duration) (r *results, err error) {
	part := func(percent int) time.Duration { return budget * time.Duration(percent) / 100 }
	r = &results{weights: map[string]weight{}, allocs: map[string]float64{}}
	if r.timed, err = measureLayouts(part(52)); err != nil {
		return nil, err
	}
	if r.attacked, err = attacked(part(4)); err != nil {
		return nil, err
	}
	if r.disturbed, err = disturbed(part(6)); err != nil {
		return nil, err
	}
	if r.collected, err = collected(part(2), circuits); err != nil {
		return nil, err
	}
	if r.uploaded, err = uploaded(part(6)); err != nil {
		return nil, err
	}
	r.loopback = loopback(part(10))
	r.timed[closedField(100_000)] = closed(part(20), 100_000)
	for _, c := range contenders { // at the end, because it leaves a heap full of holes
		r.allocs[c.name] = allocations(c)
		r.weights[c.name] = weigh(c, 100_000)
	}
	return r, nil
}

// allocations is how many a request to a healthy host makes.
func allocations(c contender) float64 {
	l := newLoad(context.Background(), hostNames("allocations", 1))
	rt := c.guard(&stub{http.NoBody})
	meet(rt, l.hosts)
	return testing.AllocsPerRun(1000, func() { l.run(rt, 1) })
}

func (r *results) String() string {
	return strings.Join([]string{r.time(), r.space(), r.ours()}, "\n") + r.failures()
}

// time compares what requests take.
func (r *results) time() string {
	var rows [][]string
	for _, c := range contenders {
		if c.name == nameBase {
			continue
		}
		cells := []string{c.title()}
		for _, hosts := range []int{1, 1000, 100_000} {
			cells = append(cells, r.timed[closedField(hosts)].compared(c.name))
		}
		cells = append(cells, r.slowdown(c.name))
		for _, hosts := range []int{1, 1000} {
			cells = append(cells, r.timed[refusingField(hosts)].refused(c.name))
		}
		rows = append(rows, cells)
	}
	return report.Table(1, []string{
		"time a request", "closed, 1 host", "1,000 hosts", "100,000 hosts",
		fmt.Sprintf("%d goroutines, 1 host", clients), "open, 1 host", "1,000 hosts",
	}, rows)
}

// compared is what a subject takes more than the base, and how many times as
// much as the limit that is.
func (f *field) compared(name string) string {
	if f.find(name) == nil {
		return report.None
	}
	over := f.over(name, nameBase)
	return nanoseconds(over) + ", " + times(over, f.over(nameLimit, nameBase))
}

// refused is what a refusal takes. The base has no part in it.
func (f *field) refused(name string) string {
	if f.find(name) == nil {
		return report.None
	}
	return nanoseconds(f.took(name)) + ", " + times(f.took(name), f.took(nameLimit))
}

func (r *results) slowdown(name string) string {
	f := r.timed[crowdedField]
	over := f.over(name, nameBase)
	return nanoseconds(over) + ", " + times(over, f.over(alone(name), alone(nameBase))) + " alone"
}

// space compares what else they take.
func (r *results) space() string {
	var rows [][]string
	for _, c := range contenders {
		w := r.weights[c.name]
		rows = append(rows, []string{
			c.title(), fmt.Sprint(r.allocs[c.name]), number(max(0, math.Round(w.bytes)), " B"), fmt.Sprintf("%.0f", w.goroutines),
			r.real(c.name),
		})
	}
	return report.Table(1, []string{"", "allocations a request", "memory a host", "goroutines a host", "a real request on loopback"}, rows)
}

// real is what a request to the loopback server takes; unknown where some were
// refused at once.
func (r *results) real(name string) string {
	if r.loopback.find(name).Failed > 0 {
		return report.None
	}
	return number(median(r.loopback.took(name))/1000, " µs")
}

// ours says what the options of breakerhttp cost, and what others can make it
// cost.
func (r *results) ours() string {
	var rows [][]string
	f := r.timed[variedField]
	for _, v := range variants {
		over := f.over(v.name, v.of(nameBase))
		compared := times(over, f.over(v.of(v.limit), v.of(nameBase))) + " " + v.limit
		if v.name == nameAdaptive {
			compared += fmt.Sprintf(", %.2f × %s", median(ratio(f.took(v.name), f.took(nameClassic))), nameClassic)
		}
		rows = append(rows, []string{v.name, nanoseconds(over), compared})
	}
	for _, name := range []string{nameRoom, nameNoRoom} {
		rows = append(rows, []string{name, nanoseconds(r.attacked.took(name)), ""})
	}
	rows = append(rows, []string{nameAmid, nanoseconds(r.disturbed.took(nameAmid)), times(r.disturbed.took(nameAmid), r.disturbed.took(nameApart)) + " " + nameApart})
	bySDK, own := r.collected.took(nameSDK), r.collected.took(nameOwn)
	rows = append(rows,
		[]string{fmt.Sprintf("%s, %d circuits", nameSDK, circuits), number(median(bySDK)/1000, " µs"), times(bySDK, r.collected.took(nameReplayed)) + " " + nameReplayed},
		[]string{fmt.Sprintf("%s, %d circuits", nameOwn, circuits), number(median(own)/1000, " µs"), ""})
	for _, u := range r.uploaded {
		took := u.took.took(nameOurs)
		rows = append(rows, []string{
			u.name + ", on loopback", number(median(took)/1000, " µs"),
			fmt.Sprintf("%.2f × without, in %v writes, %v without", median(ratio(took, u.took.took(nameBase))), u.writes[nameOurs], u.writes[nameBase]),
		})
	}
	return report.Table(1, []string{"breakerhttp", "time", "compared"}, rows)
}

// short is a table for those who have no time.
func (r *results) short() string {
	var rows [][]string
	for _, name := range []string{nameOurs, "sony/gobreaker", "failsafe-go", "hystrix-go", "otelhttp, for scale"} {
		c := named(name)
		refused := report.None
		if f := r.timed[refusingField(1000)]; f.find(name) != nil {
			refused = nanoseconds(f.took(name))
		}
		rows = append(rows, []string{
			c.title(), nanoseconds(r.timed[closedField(1000)].over(name, nameBase)), refused,
			number(math.Round(r.weights[name].bytes), " B"),
		})
	}
	return report.Table(1, []string{"1,000 hosts", "closed", "refusing", "memory a host"}, rows)
}

// failures says who has failed requests to healthy hosts, which are in the times
// all the same.
func (r *results) failures() string {
	var b strings.Builder
	for _, c := range contenders {
		sent, failed := 0, 0
		for _, f := range []*field{r.timed[closedField(1)], r.timed[closedField(1000)], r.timed[closedField(100_000)], r.timed[crowdedField], r.loopback} {
			if s := f.find(c.name); s != nil {
				sent += s.Sent
				failed += s.Failed
			}
		}
		if failed > 0 {
			fmt.Fprintf(&b, "\n%s failed %.1f %% of these requests to healthy hosts.\n", c.name, 100*float64(failed)/float64(sent))
		}
	}
	return b.String()
}
