package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/apium/apium/tasks"
)

var (
	typed = []*regexp.Regexp{
		regexp.MustCompile("(?m)^ {4,}apium ([^#|>\n]*)"), // on a line of its own
		regexp.MustCompile("`apium ([^`>|]*)`"),
		regexp.MustCompile(`(?m)^ExecStart=\S*/apium (.*)$`),
		regexp.MustCompile(`(?m)^CMD \["apium", (.*)\]$`),
	}
	ellipsis = regexp.MustCompile(`…|\.\.\.`)
)

// Every command line of the documentation, and of the units beside it, is one that the program takes.
func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	var files []string
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../docs/deploy/*", "../operate/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	checked := 0
	for _, file := range files {
		if filepath.Base(file) == "changelog.md" {
			continue // of what was once
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range typed {
			for _, line := range form.FindAllStringSubmatch(string(text), -1) {
				args := strings.Fields(strings.NewReplacer(`"`, "", ",", "").Replace(line[1]))
				if ellipsis.MatchString(line[1]) || len(args) == 1 && strings.HasPrefix(args[0], "-") {
					continue // it is about an option
				}
				checked++
				p := newProgram(tasks.NewRegistry(), append([]string{"apium"}, args...), nil, nil)
				taken, err := normalise(p.app(), args)
				if err != nil || slices.ContainsFunc(taken, func(arg string) bool { return strings.HasPrefix(arg, "--"+appOptionsFlag) }) {
					t.Errorf("%s: apium %s: %v", file, line[1], err)
				}
			}
		}
	}
	if checked < 60 {
		t.Errorf("only %d command lines were found", checked)
	}
}
