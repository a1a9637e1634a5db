package dashboard

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/keytext"
)

// maxForm is the size in bytes of the largest form that a control reads.
const maxForm = 64 << 10

// control returns a handler that acts on the circuit that the form names, and answers with the
// circuit.
func control(t *breakerhttp.Transport, act func(key string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		name := r.PostFormValue("key")
		if name == "" {
			http.Error(w, "the form value key is missing", http.StatusBadRequest)
			return
		}
		before, ok := t.Snapshot(keytext.Decode(name))
		if !ok {
			http.Error(w, noCircuit(t, name), http.StatusNotFound)
			return
		}
		act(before.Key)
		after, ok := t.Snapshot(before.Key)
		if !ok {
			w.WriteHeader(http.StatusNoContent) // done, and evicted: it is no longer forced
			return
		}
		writeJSON(w, describe(after))
	})
}

// noCircuit returns a message that says that there is no circuit of a name, and which names are
// like it.
func noCircuit(t *breakerhttp.Transport, name string) string {
	var keys []string
	for s := range t.Snapshots() {
		keys = append(keys, keytext.Encode(s.Key))
	}
	if len(keys) == 0 {
		return fmt.Sprintf("there is no circuit %q, nor any other", name)
	}
	return fmt.Sprintf("there is no circuit %q; the nearest: %q", name, nearest(name, keys, 3))
}

// nearest returns at most n keys, those most like a name: those that share the most pairs of
// neighbouring bytes with it, without schemes (Dice's coefficient).
func nearest(name string, keys []string, n int) []string {
	wanted := pairs(name)
	likeness := make(map[string]float64, len(keys))
	for _, key := range keys {
		have := pairs(key)
		shared := 0
		for pair := range have {
			if wanted[pair] {
				shared++
			}
		}
		likeness[key] = float64(shared) / float64(len(have)+len(wanted)+1)
	}
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(likeness[b], likeness[a]), strings.Compare(a, b))
	})
	return keys[:min(n, len(keys))]
}

// pairs returns the pairs of neighbouring bytes of a key, without its scheme and in lower case.
func pairs(key string) map[string]bool {
	if _, host, ok := strings.Cut(key, "://"); ok {
		key = host
	}
	key = strings.ToLower(key)
	set := map[string]bool{}
	for i := range len(key) - 1 {
		set[key[i:i+2]] = true
	}
	return set
}
