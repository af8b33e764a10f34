package fnmatch_test

import (
	"regexp"
	"testing"

	"github.com/apium/apium/internal/fnmatch"
)

// The expectations are what Python's fnmatch.fnmatchcase says.
func TestTranslate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		glob, name string
		want       bool
	}{
		{"shop.*", "shop.add", true},
		{"shop.*", "shop", false},
		{"shop.*", "shopXadd", false},
		{"*.add", "shop.add\nx", false},
		{"a*", "a\nb", true},
		{"a?", "ab", true},
		{"a?", "aé", true},
		{"a?", "a", false},
		{"[ab]c", "bc", true},
		{"[a-c]x", "bx", true},
		{"[!a-c]x", "bx", false},
		{"[!a-c]x", "dx", true},
		{"[^a]", "^", true},
		{"[^a]", "b", false},
		{"[]a]", "]", true},
		{"[!]a]", "b", true},
		{"[!]a]", "]", false},
		{"[a", "[a", true},
		{"[]", "[]", true},
		{"[!]", "[!]", true},
		{`[\d]`, `\`, true},
		{`[\d]`, "1", false},
		{"a+(b)", "a+(b)", true},
		{"é*", "été", true},
		{"é*", "eté", false},
		{"é*", "éa", true},
	} {
		if got := regexp.MustCompile(fnmatch.Translate(tt.glob)).MatchString(tt.name); got != tt.want {
			t.Errorf("%q matches %q: %v, want %v", tt.glob, tt.name, got, tt.want)
		}
	}
}
