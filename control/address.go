package control

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/apium/apium/protocol"
)

// concerns tells whether a request is meant for a node (kombu/pidbox.py:
// Node.handle_message). An empty destination is everybody.
func concerns(r *protocol.ControlRequest, node string) (bool, error) {
	switch {
	case len(r.Destination) > 0:
		return slices.Contains(r.Destination, node), nil
	case r.Pattern == "" || r.Matcher == "":
		return true, nil
	}
	pattern := r.Pattern
	switch r.Matcher {
	case "glob":
		pattern = globPattern(pattern)
	case "pcre": // Python's re.match: from the start, not necessarily to the end
	default:
		return false, fmt.Errorf("MatcherNotInstalled('No matcher installed for %s')", r.Matcher)
	}
	re, err := regexp.Compile("^(?:" + pattern + ")")
	if err != nil {
		return false, fmt.Errorf("pattern %q: %w", r.Pattern, err)
	}
	return re.MatchString(node), nil
}

// globPattern is the regular expression of a shell pattern (Python's fnmatch.translate).
func globPattern(glob string) string {
	var b strings.Builder
	b.WriteString("(?s)")
	for i := 0; i < len(glob); i++ {
		switch glob[i] {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteByte('.')
		case '[':
			class, length := charClass(glob[i:])
			b.WriteString(class)
			i += length - 1
		default:
			b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		}
	}
	return b.String() + `\z`
}

// charClass translates the class that a pattern starts with, and tells its length. One
// without an end is an ordinary bracket.
func charClass(glob string) (class string, length int) {
	start := 1
	if strings.HasPrefix(glob[1:], "!") {
		start = 2
	}
	end := start + 1 // a bracket that comes first is a member
	for end < len(glob) && glob[end] != ']' {
		end++
	}
	if end >= len(glob) {
		return `\[`, 1
	}
	members := strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `^`, `\^`).Replace(glob[start:end])
	if start == 2 {
		members = "^" + members
	}
	return "[" + members + "]", end + 1
}
