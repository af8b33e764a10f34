package house_test

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// saidAs is a log line in a table of docs/troubleshooting.md.
var saidAs = regexp.MustCompile("(?m)^\\| (`[^|]*`) \\|")

// Each log line that docs/troubleshooting.md explains is one of the program.
func TestExplainedLogLinesAreThere(t *testing.T) {
	t.Parallel()
	texts := texts(t)
	found := 0
	for _, row := range saidAs.FindAllStringSubmatch(read(t, "docs/troubleshooting.md"), -1) {
		for line := range strings.SplitSeq(strings.Trim(row[1], "`"), "`, `") {
			found++
			for part := range strings.SplitSeq(line, "…") {
				// Between two variables there may be but a word.
				if part = strings.TrimSpace(part); part != "" && !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, part) }) {
					t.Errorf("nothing says %q of %q", part, line)
				}
			}
		}
	}
	if found < 30 {
		t.Errorf("only %d lines were found", found)
	}
}

// texts are all string literals of the program.
func texts(t *testing.T) (list []string) {
	t.Helper()
	eachParsed(t, func(_ *token.FileSet, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			if literal, is := n.(*ast.BasicLit); is && literal.Kind == token.STRING {
				if text, err := strconv.Unquote(literal.Value); err == nil {
					list = append(list, text)
				}
			}
			return true
		})
	})
	return list
}
