package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// timed are the fields whose requests take nanoseconds, by name. Where the linker puts functions
// can change such a figure by half, because the processor predicts branches by their addresses. So
// several programs measure them, each with the functions in another order. One program measures
// the field of 100,000 hosts, whose requests mostly wait for memory.
type timed map[string]*field

const (
	crowdedField = "crowded"
	variedField  = "varied"
)

func closedField(hosts int) string   { return fmt.Sprintf("closed, %d hosts", hosts) }
func refusingField(hosts int) string { return fmt.Sprintf("refusing, %d hosts", hosts) }

// layouts is the number of these programs, and of orders.
const layouts = 8

// program is the package of this program.
const program = "github.com/breakerhttp/breakerhttp/benchmarks"

// measureLayouts builds and runs the programs, one after the other.
func measureLayouts(budget time.Duration) (timed, error) {
	sum := timed{}
	for seed := range layouts {
		layout := fmt.Sprintf("-ldflags=-randlayout=%d", seed+1)
		cmd := exec.Command("go", "run", layout, program, "-layout", "-for", (budget / layouts).String())
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("layout %d: %w", seed+1, err)
		}
		var one timed
		if err := json.Unmarshal(out, &one); err != nil {
			return nil, fmt.Errorf("layout %d: %w", seed+1, err)
		}
		sum.merge(one)
	}
	return sum, nil
}

// merge adds what another program has measured.
func (t timed) merge(other timed) {
	for name, f := range other {
		if t[name] == nil {
			t[name] = &field{}
		}
		t[name].merge(f)
	}
}

// measureLayout measures in this program, and writes the fields as JSON.
func measureLayout(w io.Writer, budget time.Duration) (err error) {
	part := func(percent int) time.Duration { return budget * time.Duration(percent) / 100 }
	t := timed{}
	for _, hosts := range []int{1, 1000} {
		t[closedField(hosts)] = closed(part(18), hosts)
		if t[refusingField(hosts)], err = refusing(part(14), hosts); err != nil {
			return err
		}
	}
	t[crowdedField] = crowded(part(16))
	t[variedField] = varied(part(20))
	return json.NewEncoder(w).Encode(t)
}
