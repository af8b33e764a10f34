// Package fnmatch has the shell patterns of Python's fnmatch, which match names in task
// routes and the destinations of remote control commands.
package fnmatch

import (
	"regexp"
	"strings"
)

// quoteMembers quotes what has a meaning in a character class of Go's regexp.
var quoteMembers = strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `^`, `\^`)

// Translate makes a shell pattern a regular expression that matches whole names, as
// fnmatch.translate does. It does not compile if the pattern has a range that ends before
// it begins.
func Translate(glob string) string {
	var re strings.Builder
	re.WriteString(`(?s)^`)
	for i := 0; i < len(glob); i++ {
		switch glob[i] {
		case '*':
			re.WriteString(`.*`)
		case '?':
			re.WriteByte('.')
		case '[':
			class, size := translateClass(glob[i:])
			re.WriteString(class)
			i += size - 1
		default:
			re.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		}
	}
	re.WriteString(`\z`)
	return re.String()
}

// translateClass takes [abc], [a-z] or [!abc] off the beginning of a glob. A bracket that
// comes first is a member; one that is not closed is itself.
func translateClass(glob string) (re string, size int) {
	from, negate := 1, ""
	if strings.HasPrefix(glob[from:], "!") {
		from, negate = 2, "^"
	}
	search := from
	if strings.HasPrefix(glob[from:], "]") {
		search++
	}
	length := strings.IndexByte(glob[search:], ']')
	if length < 0 {
		return `\[`, 1
	}
	end := search + length
	return "[" + negate + quoteMembers.Replace(glob[from:end]) + "]", end + 1
}
