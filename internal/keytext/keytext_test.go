package keytext_test

import (
	"testing"
	"unicode/utf8"

	"github.com/breakerhttp/breakerhttp/internal/keytext"
)

func TestEncode(t *testing.T) {
	for _, tt := range []struct{ key, want string }{
		{"https://api.example.com", "https://api.example.com"},
		{"", ""},
		{"münchen \u2028\x00", "münchen \u2028\x00"},
		{`C:\dir\n`, `C:\dir\n`},
		{"\xff", `\xff`},
		{"\xfe", `\xfe`},
		{"a\\\x80b", `a\\\x80b`},
		{`\xff`, `\\xff`},
		{`\\xff`, `\\\\xff`},
		{"\ufffd", "\ufffd"},
		{"\ufffd\xff", "\ufffd\\xff"},
	} {
		if got := keytext.Encode(tt.key); got != tt.want {
			t.Errorf("Encode(%q): got %q, want %q", tt.key, got, tt.want)
		}
		if got := keytext.Decode(tt.want); got != tt.key {
			t.Errorf("Decode(%q): got %q, want %q", tt.want, got, tt.key)
		}
	}
}

// TestDecodeOther: what Encode has not written is read as it is.
func TestDecodeOther(t *testing.T) {
	for _, text := range []string{`C:\xfiles`, `\x`, `\xf`, `\xff\n`, `\xff\`, `\x+1`, "\xff", `\xé`} {
		if got := keytext.Decode(text); got != text {
			t.Errorf("Decode(%q): got %q, want it as it is", text, got)
		}
	}
}

// FuzzEncode: every key can be read back from its text, so that two keys never have the same one.
func FuzzEncode(f *testing.F) {
	for _, key := range []string{"a", "\xff", `\xff`, `\\`, "a\\\xffx"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		text := keytext.Encode(key)
		if !utf8.ValidString(text) {
			t.Errorf("Encode(%q) is %q, want valid UTF-8", key, text)
		}
		if got := keytext.Decode(text); got != key {
			t.Errorf("Decode(Encode(%q)): got %q", key, got)
		}
	})
}
