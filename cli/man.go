package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/internal/build"
)

func (p *program) manCommand() *cli.Command {
	return &cli.Command{
		Name:  "man",
		Usage: "print the manual page of this program",
		UsageText: p.name + " man | man -l -\n" +
			p.name + " man > /usr/local/share/man/man1/" + p.name + ".1",
		Action: func(c *cli.Context) error {
			if err := errors.Join(noArguments(c), p.needsName(c)); err != nil {
				return err
			}
			_, err := io.WriteString(p.stdout, p.manual(c.App))
			return err
		},
	}
}

// needsName refuses what is about the program's name while it has none.
func (p *program) needsName(c *cli.Context) error {
	if strings.Contains(p.name, " ") {
		return usage(c, errors.New("this program has no name yet: build it with 'go build', and call that"), false)
	}
	return nil
}

// manual is the page in roff, made of what --help is made of.
func (p *program) manual(app *cli.App) string {
	m := &manual{program: p.name}
	m.request("TH", strings.ToUpper(p.name), "1", "", "apium "+build.Version(), "User Commands")
	m.request("nh") // names of options stay whole
	m.request("SH", "NAME")
	m.line(roff(p.name) + ` \- ` + roff(app.Usage))
	m.request("SH", "SYNOPSIS")
	m.line(bold(p.name) + " [" + italic("OPTIONS") + "] " + italic("COMMAND") + " [" + italic("OPTIONS") + "] [" + italic("ARGUMENTS") + "]")
	m.request("SH", "OPTIONS")
	m.line("These may stand before or behind the command.")
	m.flags(app.Flags)
	m.request("SH", "COMMANDS")
	for _, command := range app.VisibleCommands() {
		m.command(command)
	}
	m.request("SH", "EXIT STATUS")
	for _, status := range exitStatuses {
		m.request("TP")
		m.line(bold(fmt.Sprint(status.code)))
		m.line(roff(status.when))
	}
	return m.String()
}

// exitStatuses are what docs/operating.md says of them, too.
var exitStatuses = []struct {
	code int
	when string
}{
	{exitOK, "done; a worker was asked to stop with SIGTERM or SIGQUIT, and has"},
	{exitFailure, "it went wrong: the task failed or has no result in time, all workers that answered refuse, there is no such dead letter, " +
		"a question was answered with no, a file cannot be used; a worker was stopped with SIGINT, or in the middle of its work"},
	{exitUsage, "the command line is wrong, and nothing was done"},
	{exitUnavailable, "the broker or the result backend cannot be reached, or no worker answers"},
	{exitRunning, "the pid file belongs to a live process"},
}

type manual struct {
	strings.Builder
	program string
}

// request writes a request of the man macros. Its arguments are plain texts.
func (m *manual) request(name string, args ...string) {
	m.WriteString("." + name)
	for _, arg := range args {
		m.WriteString(` "` + roff(arg) + `"`)
	}
	m.WriteByte('\n')
}

// line writes a line of text that is roff already.
func (m *manual) line(text string) {
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	m.WriteString(text + "\n")
}

func (m *manual) command(c *cli.Command) {
	m.request("SS", strings.Join(c.Names(), ", "))
	m.line(roff(sentence(c.Usage)))
	if synopsis := cmp.Or(c.UsageText, strings.TrimSpace(m.program+" "+c.Name+" "+c.ArgsUsage)); synopsis != "" {
		m.asItIs(synopsis)
	}
	if c.Description != "" {
		for paragraph := range strings.SplitSeq(c.Description, "\n\n") {
			if strings.Contains(paragraph, "  ") || strings.HasPrefix(paragraph, m.program+" ") {
				m.asItIs(paragraph)
				continue
			}
			m.request("PP")
			m.line(roff(strings.ReplaceAll(paragraph, "\n", " ")))
		}
	}
	m.flags(c.Flags)
}

// asItIs keeps lines and columns.
func (m *manual) asItIs(text string) {
	m.request("PP")
	m.request("nf")
	m.request("RS", "4")
	for line := range strings.SplitSeq(text, "\n") {
		m.line(roff(line))
	}
	m.request("RE")
	m.request("fi")
}

// flags writes options by category, in the order in which categories come up.
func (m *manual) flags(flags []cli.Flag) {
	visible := slices.DeleteFunc(visibleFlags(flags), func(f cli.Flag) bool { return f.Names()[0] == "help" })
	var categories []string
	for _, flag := range visible {
		if name := category(flag); !slices.Contains(categories, name) {
			categories = append(categories, name)
		}
	}
	for _, name := range categories {
		if name != "" {
			m.request("PP")
			m.line(italic(name + ":"))
		}
		for _, flag := range visible {
			if category(flag) == name {
				m.flag(flag)
			}
		}
	}
}

func category(flag cli.Flag) string {
	if f, ok := flag.(cli.CategorizableFlag); ok {
		return f.GetCategory()
	}
	return ""
}

func (m *manual) flag(flag cli.Flag) {
	doc, ok := flag.(cli.DocGenerationFlag)
	if !ok {
		return
	}
	var names []string
	for _, name := range flag.Names() {
		dashes := "--"
		if len(name) == 1 {
			dashes = "-"
		}
		names = append(names, bold(dashes+name))
	}
	before, rest, _ := strings.Cut(doc.GetUsage(), "`")
	value, after, named := strings.Cut(rest, "`")
	meaning := roff(before)
	if named {
		meaning += italic(value) + roff(after)
	}
	m.request("TP")
	if doc.TakesValue() {
		m.line(strings.Join(names, ", ") + " " + italic(cmp.Or(value, "VALUE")))
		if byDefault := strings.Trim(doc.GetDefaultText(), `"`); byDefault != "" {
			meaning += roff(" (default: " + byDefault + ")")
		}
	} else {
		m.line(strings.Join(names, ", "))
	}
	m.line(meaning)
	if variables := doc.GetEnvVars(); len(variables) > 0 {
		m.line("[" + roff("$"+strings.Join(variables, ", $")) + "]")
	}
}

// sentence is a text that begins and ends as a sentence does.
func sentence(text string) string {
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

func bold(text string) string   { return `\fB` + roff(text) + `\fR` }
func italic(text string) string { return `\fI` + roff(text) + `\fR` }

var roffed = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, "`", `\(ga`, `^`, `\(ha`, `~`, `\(ti`, `"`, `\(dq`)

// roff writes a text so that it is shown as it is.
func roff(text string) string { return roffed.Replace(text) }
