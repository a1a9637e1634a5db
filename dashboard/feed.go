package dashboard

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	interval = time.Second       // between a stream's looks at the feed
	fresh    = interval * 9 / 10 // age at which a reading is stale: less than interval, because tickers are not exact
	backlog  = 8                 // changes kept for streams that fell behind
)

// A feed has the events that all streams send. The first stream that looks at the feed after the
// last reading has gone stale makes the next one. The others do not wait for it, because a reading
// may call the Transport's hook.
type feed struct {
	source  *source
	id      string     // no other feed has it, in this process or another
	reading sync.Mutex // held by the stream that makes a reading

	mu      sync.Mutex // guards what follows; writers hold reading too
	last    *report
	version int      // of last; 0 means that there is none
	changes [][]byte // the latest events; the last of them leads to version
}

func newFeed(s *source) *feed { return &feed{source: s, id: rand.Text()} }

// next returns the events that bring a stream from a version to the present one. Version 0 is that
// of a stream that has sent nothing.
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
		return [][]byte{f.event("all", last, present)}, present
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
	now := f.source.read()
	version, changes := f.version, f.changes
	if version == 0 {
		version = 1
	} else if change := now.changesSince(f.last); !change.empty() {
		version++
		changes = append(changes[max(0, len(changes)-backlog+1):], f.event("change", change, version))
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	f.last, f.version, f.changes = now, version, changes
}

// event encodes an event that leads to a version. JSON has no line breaks, so one line of data is
// enough.
func (f *feed) event(name string, r *report, version int) []byte {
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // JSON can express all that is in a report
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "id: %s-%d\nevent: %s\ndata: %s\n\n", f.id, version, name, data)
	return b.Bytes()
}

// versionOf returns the version that the event with this id leads to, or 0 if the event is not of
// this feed.
func (f *feed) versionOf(id string) int {
	digits, ok := strings.CutPrefix(id, f.id+"-")
	version, err := strconv.Atoi(digits)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !ok || err != nil || version > f.version {
		return 0
	}
	return version
}
