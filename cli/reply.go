package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// sayReply prints a node's reply as Celery does (celery/bin/base.py: CLIContext.pretty).
func (p *program) sayReply(c *cli.Context, r control.Reply, body bool) {
	paint := p.painter(c)
	status, text := pretty(r.Value, paint)
	arrow := paint("->", "1;37") + " "
	if c.Bool("quiet") {
		arrow = ""
	}
	fmt.Fprintf(p.stdout, "%s %s%s\n", arrow, paint(r.Node+": ", "1;36"), status)
	if text = indent(text); body && text != "" {
		fmt.Fprintln(p.stdout, text)
	}
}

// pretty writes a reply for people to read, and says whether it is an error.
func pretty(raw []byte, paint func(text, color string) string) (status, text string) {
	ok := paint("OK", "1;32")
	switch pyjson.Kind(raw) {
	case '[':
		var items []string
		for _, value := range pyjson.Elements(raw) {
			items = append(items, paint("*", "37")+" "+pythonText(value))
		}
		if items == nil {
			return ok, "- empty -"
		}
		return ok, strings.Join(items, "\n")
	case '{':
		if value := pyjson.Member(raw, "ok"); value != nil {
			_, text := pretty(value, paint)
			return ok, indent(text)
		}
		if value := pyjson.Member(raw, "error"); value != nil {
			_, text := pretty(value, paint)
			return paint("ERROR", "1;31"), indent(text)
		}
		return ok, string(indentJSON(nil, raw, 0))
	}
	return ok, pythonText(raw)
}

// indent moves every line four columns to the right, empty ones too.
func indent(text string) string { return "    " + strings.ReplaceAll(text, "\n", "\n    ") }

// pythonText is Python's str of a JSON value.
func pythonText(raw []byte) string {
	if pyjson.Kind(raw) == '"' {
		if text, err := pyjson.Unquote(raw); err == nil {
			return text
		}
	}
	return protocol.Repr(raw)
}

// printOnline is the last line of inspect and status.
func (p *program) printOnline(nodes int) {
	fmt.Fprintf(p.stdout, "\n%d %s online.\n", nodes, plural(nodes, "node"))
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

// printByNode prints an object of replies.
func (p *program) printByNode(replies []control.Reply) error {
	line := []byte{'{'}
	for _, r := range replies {
		line = append(pyjson.AppendKey(line, r.Node), r.Value...)
	}
	_, err := p.stdout.Write(append(line, "}\n"...))
	return err
}

// printJSON prints one line.
func (p *program) printJSON(value any) error {
	line, err := pyjson.Append(nil, value)
	if err != nil {
		return err
	}
	_, err = p.stdout.Write(append(line, '\n'))
	return err
}
