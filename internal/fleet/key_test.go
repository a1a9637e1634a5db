package fleet

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestRecordKey(t *testing.T) {
	long := strings.Repeat("x", 511)
	for _, c := range []struct{ namespace, key, want string }{
		{"default", "https://api.example.com", "default/https://api.example.com"},
		{"a", "b/x", "a/b/x"},
		{"a/b", "x", "a%2Fb/x"},
		{"a%2Fb", "x", "a%252Fb/x"},
		{"", "", "/"},
		{"ns", long + "y", "ns/" + long + "y"},
		{"ns", long + "yz", "ns/" + long[:479] + "#57fd9a93b4d8eb8a95a5f8fa10d34fba"},
		{"ns", "h\xff", "ns/h#"},
		{"ns", strings.Repeat("ß", 300), "ns/" + strings.Repeat("ß", 239) + "#"},
	} {
		got := RecordKey(c.namespace, c.key)
		if !strings.HasPrefix(got, strings.TrimSuffix(c.want, c.want[min(len(c.want), strings.LastIndexByte(c.want, '#')+1):])) {
			t.Errorf("RecordKey(%q, %q) is %q, want %q", c.namespace, c.key, got, c.want)
		}
		if !utf8.ValidString(got) || len(got) > len("a%252Fb/")+maxKey {
			t.Errorf("RecordKey(%q, %q) is %q", c.namespace, c.key, got)
		}
	}
	seen := map[string]string{}
	for _, key := range []string{long + "ab", strings.TrimPrefix(RecordKey("ns", long+"ab"), "ns/"), strings.TrimPrefix(RecordKey("ns", "h\xff"), "ns/"), long + "ac", "h\xff", "h\xfe", "h", "h\uFFFD", "\xff", ""} {
		got := RecordKey("ns", key)
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q have one record, %q", key, other, got)
		}
		seen[got] = key
	}
}
