package cli

import (
	"os"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// painter returns what colors a text with the parameters of an ANSI sequence; on anything
// but a terminal, and with --no-color, it does not.
func (p *program) painter(c *cli.Context) func(text, color string) string {
	if c.Bool("no-color") || !isTerminal(p.stdout) {
		return func(text, _ string) string { return text }
	}
	return func(text, color string) string { return "\x1b[" + color + "m" + text + "\x1b[0m" }
}

// isTerminal says whether somebody is looking at what is written.
func isTerminal(out any) bool {
	if lines, ok := out.(*lineWriter); ok {
		out = lines.out
	}
	file, ok := out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
