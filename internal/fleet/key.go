package fleet

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"
)

// maxKey is the greatest length of a circuit's key that is stored as it is. DynamoDB takes keys of
// 2,048 bytes.
const maxKey = 512

// RecordKey returns the key of a circuit's record. Different circuits have different records, and
// so have circuits of different namespaces.
func RecordKey(namespace, key string) string {
	return strings.NewReplacer("%", "%25", "/", "%2F").Replace(namespace) + "/" + short(key)
}

// short returns a key that any store takes: a key that is too long, or that is not valid UTF-8, is
// replaced by its beginning and a hash. So is a key that looks like that, because callers who choose
// keys must not get the record of another one.
func short(key string) string {
	if len(key) <= maxKey && utf8.ValidString(key) && !looksHashed(key) {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	hash := "#" + hex.EncodeToString(sum[:16])
	start := key[:min(len(key), maxKey-len(hash))]
	for i, r := range start {
		if _, n := utf8.DecodeRuneInString(start[i:]); r == utf8.RuneError && n == 1 {
			return start[:i] + hash
		}
	}
	return start + hash
}

// looksHashed reports whether key may end with a hash that short has written.
func looksHashed(key string) bool {
	at := len(key) - len("#") - 32
	return at >= 0 && key[at] == '#'
}

// processID identifies this process in the owners of its records, and is its voter by default.
var processID = func() string {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}()

var transports atomic.Uint64

// newOwner returns an owner that no other Transport has, in this process or another.
func newOwner() string { return processID + "-" + strconv.FormatUint(transports.Add(1), 36) }

// ownedHere reports whether a Transport of this process has written the record.
func ownedHere(owner string) bool { return strings.HasPrefix(owner, processID+"-") }

// newVoter returns the entry by which a process appears in the lists of a record.
func newVoter(instance string) vote {
	if instance == "" {
		return vote{ID: processID}
	}
	sum := sha256.Sum256([]byte(instance))
	return vote{ID: hex.EncodeToString(sum[:8]), Name: printable(instance)}
}

// printable returns the name of a process as people see it: at most maxName bytes, with U+FFFD in
// place of what cannot be printed. A line feed would forge a line of a log.
func printable(name string) string {
	return cut(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, name), maxName)
}

// cut returns the beginning of s: no more than most bytes. It does not cut a rune in two.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
