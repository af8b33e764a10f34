package cli

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

// UsageError is a mistake on the command line: exit status 2, as Celery's.
type UsageError struct {
	Command string // "shopworker worker"
	Message string
}

func (e *UsageError) Error() string {
	return fmt.Sprintf("Usage: %s [OPTIONS]\nTry '%s --help' for help.\n\nError: %s", e.Command, e.Command, e.Message)
}

// normalise rewrites a command line as Celery users write it into what package
// flag reads: -lINFO, -EB, options after arguments, and the application's own
// options (-A, -b, …) before or after the command.
func normalise(app *cli.App, args []string) ([]string, error) {
	p := argParser{app: app, rest: args}
	for len(p.rest) > 0 {
		arg := p.rest[0]
		p.rest = p.rest[1:]
		if err := p.take(arg); err != nil {
			return nil, err
		}
	}
	out := p.global
	if slices.Contains(out, "--version") {
		return []string{"--version"}, nil // whatever else is asked for
	}
	if p.command != nil {
		out = append(out, p.command.Name)
		out = append(out, p.local...)
	}
	if p.mistake != nil {
		if !p.namesApp() {
			return nil, p.mistake
		}
		out = append(out, "--"+appOptionsFlag+"="+p.appOptions())
	}
	if len(p.positional) > 0 {
		out = append(append(out, "--"), p.positional...)
	}
	return out, nil
}

// argParser sorts arguments into the application's options, the command's
// options and the command's arguments.
type argParser struct {
	app        *cli.App
	command    *cli.Command // nil until it was named
	rest       []string
	global     []string
	local      []string
	positional []string
	ofApp      []string // options that may be the Python app's own
	mistake    error    // what is wrong with the first of these if it is not
}

func (p *argParser) take(arg string) error {
	switch {
	case arg == "--":
		p.positional = append(p.positional, p.rest...)
		p.rest = nil
		return nil
	case strings.HasPrefix(arg, "--"):
		return p.long(arg[2:])
	case len(arg) > 1 && arg[0] == '-' && (arg[1] < '0' || arg[1] > '9') && arg[1] != '.':
		return p.short(arg[1:])
	case p.command == nil:
		return p.setCommand(arg)
	}
	p.positional = append(p.positional, arg) // a negative number among them
	return nil
}

func (p *argParser) setCommand(name string) error {
	p.command = p.app.Command(name)
	if hint := elsewhere(p.app.Name, name); p.command == nil && hint != "" {
		return p.fail("There is no command '%s' here. %s", name, hint)
	}
	if p.command == nil {
		var names []string
		for _, c := range p.app.VisibleCommands() {
			names = append(names, c.Name)
		}
		return p.fail("No such command '%s'.%s", name, didYouMean(name, names, ""))
	}
	return nil
}

func (p *argParser) long(arg string) error {
	name, value, hasValue := strings.Cut(arg, "=")
	flag, list := p.find(name)
	if flag == nil {
		return p.unknown("--"+arg, hasValue, p.fail("No such option '--%s'.%s", name, didYouMean(name, p.longNames(), "--")))
	}
	if !hasValue && takesValue(flag) {
		if len(p.rest) == 0 {
			return p.fail("Option '--%s' requires an argument.", name)
		}
		value, hasValue, p.rest = p.rest[0], true, p.rest[1:]
	}
	give(list, flag, value, hasValue)
	return nil
}

// short takes a group of one-letter options; the first that needs a value takes
// what is left of the group, or the next argument.
func (p *argParser) short(group string) error {
	for group != "" {
		_, size := utf8.DecodeRuneInString(group)
		name := group[:size]
		group = group[size:]
		flag, list := p.find(name)
		if flag == nil {
			return p.unknown("-"+name+group, group != "", p.fail("No such option '-%s'.", name))
		}
		if !takesValue(flag) {
			give(list, flag, "", false)
			continue
		}
		value := strings.TrimPrefix(group, "=")
		if group == "" {
			if len(p.rest) == 0 {
				return p.fail("Option '-%s' requires an argument.", name)
			}
			value, p.rest = p.rest[0], p.rest[1:]
		}
		give(list, flag, value, true)
		return nil
	}
	return nil
}

// find looks an option up in the command first, then in the application.
func (p *argParser) find(name string) (cli.Flag, *[]string) {
	if p.command != nil {
		if f := findFlag(p.command.Flags, name); f != nil {
			return f, &p.local
		}
	}
	if f := findFlag(p.app.Flags, name); f != nil {
		return f, &p.global
	}
	return nil, nil
}

func (p *argParser) longNames() []string {
	flags := slices.Clone(p.app.Flags)
	if p.command != nil {
		flags = append(flags, p.command.Flags...)
	}
	var names []string
	for _, f := range flags {
		for _, name := range f.Names() {
			if len(name) > 1 {
				names = append(names, name)
			}
		}
	}
	return names
}

func (p *argParser) fail(format string, args ...any) error {
	command := p.app.Name
	if p.command != nil {
		command += " " + p.command.Name
	}
	return &UsageError{Command: command, Message: fmt.Sprintf(format, args...)}
}

func findFlag(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func takesValue(f cli.Flag) bool {
	doc, ok := f.(cli.DocGenerationFlag)
	return ok && doc.TakesValue()
}

// give adds an option to a list under its first name. Of an option that is given several
// times the last counts, as in Celery; ours that are lists add up.
func give(list *[]string, flag cli.Flag, value string, hasValue bool) {
	name := "--" + flag.Names()[0]
	if _, several := flag.(*cli.StringSliceFlag); !several {
		*list = slices.DeleteFunc(*list, func(given string) bool { return given == name || strings.HasPrefix(given, name+"=") })
	}
	if hasValue {
		name += "=" + value
	}
	*list = append(*list, name)
}

// noArguments refuses arguments.
func noArguments(c *cli.Context) error {
	if c.NArg() > 0 {
		return usage(c, fmt.Errorf("got unexpected argument '%s'", c.Args().First()), false)
	}
	return nil
}
