package main

import "fmt"

// A tally is what became of requests.
type tally struct {
	Requests    int     `json:"requests"`
	Answered    int     `json:"answered"`
	Failed      int     `json:"failed"`
	Refused     int     `json:"refused"`
	Interrupted int     `json:"interrupted"`
	Sent        int     `json:"sent"`         // with retries
	InVain      int     `json:"sent_in_vain"` // and not answered well
	Seconds     float64 `json:"seconds"`      // that the callers waited
}

func (t *tally) add(r *request) {
	t.Requests++
	t.Sent += r.Sent
	t.InVain += r.Sent
	t.Seconds += r.Seconds
	switch r.Outcome {
	case answered:
		t.Answered++
		t.InVain-- // all attempts but the last
	case failed:
		t.Failed++
	case refused:
		t.Refused++
	case interrupted:
		t.Interrupted++
		t.InVain -= min(r.Sent, 1) // nobody knows about the last
	}
}

func (t *tally) plus(o tally) {
	t.Requests += o.Requests
	t.Answered += o.Answered
	t.Failed += o.Failed
	t.Refused += o.Refused
	t.Interrupted += o.Interrupted
	t.Sent += o.Sent
	t.InVain += o.InVain
	t.Seconds += o.Seconds
}

// total returns the tallies of all hosts.
func (b *board) total() (with, without tally) {
	for _, r := range b.rows {
		with.plus(r.with)
		without.plus(r.without)
	}
	return with, without
}

// saved says what breakers are good for, as measured with the twin.
func (b *board) saved() string {
	with, without := b.total()
	return fmt.Sprintf("The circuit breakers have kept %d requests from servers in trouble, and %.0fs of waiting from their callers. "+
		"Sent in vain: %d instead of %d. Waited: %.1fs instead of %.1fs.",
		max(without.InVain-with.InVain, 0), max(without.Seconds-with.Seconds, 0),
		with.InVain, without.InVain, with.Seconds, without.Seconds)
}
