package main

import (
	"sync"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// The types of events.
const (
	storyEvent      = "story"      // what this is about
	upstreamEvent   = "upstream"   // a server changes
	requestEvent    = "request"    // the client has made a request
	transitionEvent = "transition" // a circuit changes
)

// An event is something to show.
type event struct {
	Type string  `json:"type"`
	At   float64 `json:"at"` // seconds since the start
	Host string  `json:"host,omitempty"`
	Text string  `json:"text,omitempty"` // what happens, for people

	*request               // of a requestEvent
	twin       bool        // the client without breakers made it
	Transition *transition `json:"transition,omitempty"`
}

type transition = breakerhttp.Transition

// A feed takes events from many, and gives them to one. It never blocks: a
// circuit's hook must not wait for a terminal.
type feed struct {
	start  time.Time
	mu     sync.Mutex
	events []event
}

func (f *feed) add(e event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e.At = time.Since(f.start).Seconds()
	f.events = append(f.events, e)
}

// take returns the events since the last take.
func (f *feed) take() []event {
	f.mu.Lock()
	defer f.mu.Unlock()
	events := f.events
	f.events = nil
	return events
}

func (f *feed) elapsed() time.Duration { return time.Since(f.start) }
