package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// commandLine is a command that documentation shows: a line of its own, or inside a text.
var commandLine = regexp.MustCompile("(?m)(?:^ {4,}|`)(?:go run \\.|apium) ([a-z][^`\n]*)")

// Every command of the documentation is one that the program has, with options it takes.
func TestCommandsOfTheDocumentation(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range append(pages, "../README.md", "../operate/metrics/README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range commandLine.FindAllStringSubmatch(string(text), -1) {
			line, _, _ := strings.Cut(match[1], " #")
			found++
			p := testApp()
			p.stdout, p.stderr = &buffer{}, &buffer{}
			app := p.app()
			for _, command := range app.Commands {
				command.Action = func(*cli.Context) error { return nil }
			}
			options, err := normalise(app, strings.Fields(line))
			if err == nil {
				err = app.RunContext(t.Context(), append([]string{"apium"}, options...))
			}
			if err != nil {
				t.Errorf("%s: apium %s: %v", page, line, err)
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d commands were found", found)
	}
}
