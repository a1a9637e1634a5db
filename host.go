package breakerhttp

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
	"github.com/breakerhttp/breakerhttp/internal/fleet"
	"github.com/breakerhttp/breakerhttp/internal/keyed"
)

// A host is a key with its circuit.
type host struct {
	// These and the start of circuit share a cache line: a request needs the member and the circuit,
	// and a refusal the key too.
	member *fleet.Member // nil without a store
	key    string

	circuit circuit.Circuit
	t       *Transport
	series  *series
	hooks   *hookQueue // nil before the first transition for a hook; under the journal's lock
}

// The spaces of the map of hosts. With HostKey, the name in a space is the part of the key after
// the scheme. If the URL of a request is spelt as its key is, that is URL.Host.
const (
	customSpace = iota
	httpsSpace
	httpSpace
)

const (
	httpsPrefix = "https://"
	httpPrefix  = "http://"
)

// find returns the host of a request, and makes it if there is none. It returns nil if the request
// is not guarded.
func (t *Transport) find(req *http.Request) *host {
	if req == nil || req.URL == nil {
		return nil // base refuses it
	}
	if t.key == nil {
		if h, ok := t.hosts.Get(canonical(req.URL)); ok {
			return h
		}
	}
	key := t.keyOf(req)
	if key == "" {
		t.unguarded.Add(1)
		return nil
	}
	h, ok := t.hosts.Get(t.place(key))
	if !ok {
		h, ok = t.add(key)
	}
	if !ok {
		t.untracked.Add(1)
		return nil
	}
	return h
}

// canonical returns the place of a URL that is spelt as its key is, without building a string. For
// other spellings it returns a place that is always empty. The map keeps hosts by their keys only,
// because otherwise callers could multiply its entries by changing case.
func canonical(u *url.URL) keyed.Key {
	switch u.Scheme {
	case "https":
		return keyed.Key{Space: httpsSpace, Name: u.Host}
	case "http":
		return keyed.Key{Space: httpSpace, Name: u.Host}
	}
	return keyed.Key{}
}

func (t *Transport) keyOf(req *http.Request) string {
	if t.key != nil {
		return t.key(req)
	}
	return HostKey(req)
}

// place returns where the map holds a key.
func (t *Transport) place(key string) keyed.Key {
	if t.key == nil {
		if name, ok := strings.CutPrefix(key, httpsPrefix); ok {
			return keyed.Key{Space: httpsSpace, Name: name}
		}
		if name, ok := strings.CutPrefix(key, httpPrefix); ok {
			return keyed.Key{Space: httpSpace, Name: name}
		}
	}
	return keyed.Key{Space: customSpace, Name: key}
}

// add returns the host of a key, and makes it if there is room.
func (t *Transport) add(key string) (*host, bool) {
	key = strings.Clone(key) // it may be part of something large
	shared := t.shares(key)  // asks the user's Skip, so no lock may be held
	h, ok := t.hosts.Add(t.place(key), func(h *host) { h.init(t, key, shared) })
	if ok {
		h.series.initializeFirst()
	}
	return h, ok
}

func (h *host) init(t *Transport, key string, shared bool) {
	h.t, h.key, h.series = t, key, t.metrics.seriesOf(key)
	policy := t.policies.Load().of(key)
	if shared {
		h.join(policy)
	}
	h.circuit.Init(h.own(policy), h)
}

// named returns the host of the key that a person has typed, if there is one.
func (t *Transport) named(key string) (*host, bool) {
	t.mustBeMade()
	return t.hosts.Get(t.place(t.normal(key)))
}

// forced returns the host of the key that a person has typed, and makes it if there is none.
func (t *Transport) forced(key string) *host {
	t.mustBeMade()
	key = strings.Clone(t.normal(key))
	shared := t.shares(key)
	h := t.hosts.AddPinned(t.place(key), func(h *host) { h.init(t, key, shared) })
	h.series.initializeFirst()
	return h
}

// normal returns the key that a person has typed as a request would have it. If the person typed no
// scheme, and only one circuit with that host and port exists, it returns the key of that circuit.
func (t *Transport) normal(typed string) string {
	if t.key != nil {
		return typed
	}
	key := normalKey(typed)
	if strings.Contains(typed, "://") {
		return key
	}
	var present []string
	for _, scheme := range []string{httpsPrefix, httpPrefix} {
		candidate := normalKey(scheme + typed)
		if _, ok := t.hosts.Get(t.place(candidate)); ok {
			present = append(present, candidate)
		}
	}
	if len(present) == 1 {
		return present[0]
	}
	return key
}

// Now implements [circuit.Owner].
func (h *host) Now() time.Duration { return h.t.now() }

// TimeLeft implements [circuit.Owner].
func (h *host) TimeLeft(ctx context.Context) (time.Duration, bool) {
	deadline, ok := ctx.Deadline()
	return time.Until(deadline), ok
}

// Evict implements [keyed.Value]. A circuit whose transitions are yet to be
// delivered stays: otherwise the hook could get those of its successor first.
func (h *host) Evict(seen uint64, lastResort bool) (used uint64, evicted bool) {
	if h.t.journal.delivering(h) {
		return seen, false
	}
	totals, used, evicted := h.circuit.Evict(seen, lastResort)
	if evicted {
		h.series.leave(totals)
		h.t.sympathy.forget(h)
		if h.member != nil {
			h.member.Leave()
		}
	}
	return used, evicted
}
