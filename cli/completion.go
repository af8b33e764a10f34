package cli

import (
	_ "embed"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/operate/control"
)

// completeCommand is what the scripts of shells run while somebody types.
const completeCommand = "complete"

var (
	//go:embed completion.bash
	bashCompletion string
	//go:embed completion.zsh
	zshCompletion string
	//go:embed completion.fish
	fishCompletion string
)

// shells are those that we complete command lines for.
var shells = []string{"bash", "zsh", "fish"}

func (p *program) completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a script that has a shell complete command lines",
		ArgsUsage: strings.Join(shells, " | "),
		Description: "bash, in ~/.bashrc:  source <(" + p.name + " completion bash)\n" +
			"zsh, in ~/.zshrc, behind compinit:  source <(" + p.name + " completion zsh)\n" +
			"fish:  " + p.name + " completion fish > ~/.config/fish/completions/" + p.name + ".fish",
		Action: p.printCompletion,
	}
}

var unfitForNames = regexp.MustCompile(`\W`)

func (p *program) printCompletion(c *cli.Context) error {
	shell := c.Args().First()
	switch {
	case shell == "":
		return usage(c, fmt.Errorf("missing argument: one of %s", strings.Join(shells, ", ")), false)
	case c.NArg() > 1:
		return usage(c, fmt.Errorf("got unexpected argument '%s'", c.Args().Get(1)), false)
	}
	if err := p.needsName(c); err != nil {
		return err
	}
	script, known := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[shell]
	if !known {
		return usage(c, fmt.Errorf("invalid argument: %w", oneOf(shell, shells)), false)
	}
	names := map[string]string{"Name": p.name, "Function": unfitForNames.ReplaceAllString(p.name, "_"), "Complete": completeCommand}
	return template.Must(template.New(shell).Parse(script)).Execute(p.stdout, names)
}

// completingCommand prints what the last of its arguments, the words of a command line up to the
// cursor, may become: a line for each, with what it means behind a tab. Nothing: files may do.
func (p *program) completingCommand() *cli.Command {
	return &cli.Command{
		Name:   completeCommand,
		Hidden: true,
		Action: func(c *cli.Context) error {
			for _, s := range p.suggest(c.App, c.Args().Slice()) {
				if _, err := io.WriteString(p.stdout, s.text+"\t"+s.meaning+"\n"); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// suggestion is what a word may become.
type suggestion struct{ text, meaning string }

// unfinished stands for the last word while the others are read.
const unfinished = "\x00"

// suggest reads words as a command line is read, and says what the last may become.
func (p *program) suggest(app *cli.App, words []string) []suggestion {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	reader := argParser{app: app, rest: append(slices.Clone(words[:len(words)-1]), unfinished)}
	for len(reader.rest) > 0 {
		arg := reader.rest[0]
		reader.rest = reader.rest[1:]
		if arg == unfinished && reader.command == nil {
			break
		}
		err := reader.take(arg)
		if err != nil && reader.command == nil && !strings.HasPrefix(arg, "-") { // no such command
			return nil
		} // what else is wrong is told when the line is run
	}
	var all []suggestion
	named, prefix := "", ""
	if name, _, given := strings.Cut(last, "="); given && strings.HasPrefix(name, "--") {
		if flag, _ := reader.find(name[2:]); flag != nil {
			named, prefix = flag.Names()[0], name+"="
		}
	}
	for _, option := range slices.Concat(reader.global, reader.local) {
		if name, waits := strings.CutSuffix(option, "="+unfinished); waits {
			named = name[2:]
		}
	}
	switch {
	case named != "":
		all = only(values(reader.command, named))
	case strings.HasPrefix(last, "-") && !slices.Contains(words[:len(words)-1], "--"):
		all = options(app, reader.command)
	case reader.command == nil:
		for _, command := range app.VisibleCommands() {
			all = append(all, suggestion{command.Name, command.Usage})
		}
	case slices.Equal(reader.positional, []string{unfinished}):
		all = p.firstArguments(reader.command.Name)
	}
	var fit []suggestion
	for _, s := range all {
		s.text = prefix + s.text
		if len(s.text) >= len(last) && strings.EqualFold(s.text[:len(last)], last) {
			fit = append(fit, s)
		}
	}
	return fit
}

// options are those that may be given now, the short ones behind the others.
func options(app *cli.App, command *cli.Command) (all []suggestion) {
	flags := visibleFlags(app.Flags)
	if command != nil {
		flags = append(visibleFlags(command.Flags), flags...)
	}
	var short []suggestion
	for _, flag := range flags {
		for _, name := range flag.Names() {
			s := suggestion{"--" + name, flagUsage(flag)}
			list := &all
			if len(name) == 1 {
				s.text, list = "-"+name, &short
			}
			if !slices.ContainsFunc(*list, func(known suggestion) bool { return known.text == s.text }) {
				*list = append(*list, s)
			}
		}
	}
	return append(all, short...)
}

func visibleFlags(flags []cli.Flag) (visible []cli.Flag) {
	for _, flag := range flags {
		if f, ok := flag.(cli.VisibleFlag); ok && f.IsVisible() {
			visible = append(visible, flag)
		}
	}
	return visible
}

// flagUsage says what a flag does, without the marks around what its value is called.
func flagUsage(flag cli.Flag) string {
	if f, ok := flag.(cli.DocGenerationFlag); ok {
		return strings.ReplaceAll(f.GetUsage(), "`", "")
	}
	return ""
}

func only(texts []string) (all []suggestion) {
	for _, text := range texts {
		all = append(all, suggestion{text: text})
	}
	return all
}

// values are those of an option that has few.
func values(command *cli.Command, name string) []string {
	switch name {
	case "loglevel":
		var names []string
		for _, l := range levels {
			names = append(names, l.name)
		}
		return names
	case "log-format":
		return logFormats
	case "pool":
		return pools
	case "queue-order-strategy":
		return []string{"round_robin", "priority", "sorted"}
	case "unknown-task":
		return []string{"fail", "leave", "park", "forward:"}
	case "scheduler":
		return schedulerAliases()
	case "serializer":
		return []string{"json", "yaml", "msgpack", "pickle"}
	}
	for _, flag := range ignoredFlags {
		if command != nil && command.Name == "worker" && flag.name == name {
			return flag.choices
		}
	}
	return nil
}

// firstArguments are what a command may be told first.
func (p *program) firstArguments(command string) (all []suggestion) {
	switch command {
	case "inspect", "control":
		commands := control.Panel()
		for _, name := range p.commandNames(command == "inspect", commands) {
			s := suggestion{text: name}
			if i := slices.IndexFunc(commands, func(c control.Command) bool { return c.Name == name }); i >= 0 {
				s.meaning = commands[i].Help
			}
			all = append(all, s)
		}
		return all
	case "send":
		return only(p.reg.Names())
	case "list":
		return only(listings)
	case "dlq":
		return only(dlqActions)
	case "beat":
		return only(beatActions)
	case "completion":
		return only(shells)
	}
	return nil
}
