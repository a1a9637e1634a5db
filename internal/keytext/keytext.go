// Package keytext writes keys, which are any bytes, as valid UTF-8, and reads them back. Two keys
// never have the same text.
package keytext

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// escape begins the text of a byte that is not UTF-8: \xff.
const escape = `\x`

// Encode returns the text of a key. That is the key itself, unless the key has bytes that are not
// UTF-8, or contains \x: then such a byte is written \xff, and a backslash \\.
func Encode(key string) string {
	if utf8.ValidString(key) && !strings.Contains(key, escape) {
		return key
	}
	const hex = "0123456789abcdef"
	var text strings.Builder
	for i, r := range key {
		switch _, size := utf8.DecodeRuneInString(key[i:]); {
		case r == utf8.RuneError && size == 1:
			text.WriteString(escape)
			text.WriteByte(hex[key[i]>>4])
			text.WriteByte(hex[key[i]&0xf])
		case r == '\\':
			text.WriteString(`\\`)
		default:
			text.WriteRune(r)
		}
	}
	return text.String()
}

// Decode returns the key that Encode wrote as text. Any other text is returned as it is.
func Decode(text string) string {
	if !strings.Contains(text, escape) {
		return text
	}
	var key strings.Builder
	for rest := text; rest != ""; {
		plain, escaped, found := strings.Cut(rest, `\`)
		key.WriteString(plain)
		if !found {
			break
		}
		switch {
		case strings.HasPrefix(escaped, `\`):
			key.WriteByte('\\')
			rest = escaped[1:]
		case strings.HasPrefix(escaped, "x") && len(escaped) >= 3:
			b, err := strconv.ParseUint(escaped[1:3], 16, 8)
			if err != nil {
				return text
			}
			key.WriteByte(byte(b))
			rest = escaped[3:]
		default:
			return text
		}
	}
	return key.String()
}
