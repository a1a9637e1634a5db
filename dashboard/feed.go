package dashboard

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

const (
	interval = time.Second       // of a stream's looks at the feed
	fresh    = interval * 9 / 10 // a reading is good for: a bit less, for tickers are not exact
	backlog  = 8                 // changes kept for streams that fell behind
)

// A feed is what streams send, the same to all of them. Whichever looks first
// after the last reading has gone stale makes the next one; the others do not
// wait for it, since it may call the hook of t.
type feed struct {
	t       *breakerhttp.Transport
	reading sync.Mutex // held by who makes a reading

	mu      sync.Mutex // and reading, to write what follows
	last    *report
	version int      // of last; 0: there is none, and last is nil
	changes [][]byte // the latest events; the last of them led to version
}

// next returns the events that bring a stream from a version, 0 for none, to
// the present one.
func (f *feed) next(version int) (events [][]byte, present int) {
	f.refresh()
	f.mu.Lock()
	last, present, changes := f.last, f.version, f.changes
	f.mu.Unlock()
	behind := present - version
	switch {
	case behind == 0:
		return nil, present
	case version == 0, behind > len(changes):
		return [][]byte{event("all", last)}, present
	}
	return changes[len(changes)-behind:], present
}

// refresh makes a reading if the last one has gone stale.
func (f *feed) refresh() {
	if !f.reading.TryLock() {
		return
	}
	defer f.reading.Unlock()
	if f.version > 0 && time.Since(f.last.Now) < fresh {
		return
	}
	now := read(f.t)
	version, changes := f.version, f.changes
	if version == 0 {
		version = 1
	} else if change := now.changesSince(f.last); !change.empty() {
		version++
		changes = append(changes[max(0, len(changes)-backlog+1):], event("change", change))
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	f.last, f.version, f.changes = now, version, changes
}

// event encodes an event of a stream. JSON has no line breaks, so one line of
// data is enough.
func event(name string, r *report) []byte {
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // a report has nothing that JSON has not
	}
	b := append([]byte("event: "+name+"\ndata: "), data...)
	return append(b, "\n\n"...)
}
