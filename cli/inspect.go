package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/python"
)

func (p *program) inspectCommand() *cli.Command {
	return &cli.Command{
		Name:        "inspect",
		Usage:       "ask workers, Python's too, what they are doing",
		ArgsUsage:   "COMMAND [ARGUMENT...]",
		Description: p.listCommands(true, control.Panel()),
		Flags:       append(remoteFlags(), listFlag("inspect")),
		Action:      p.runInspect,
	}
}

func (p *program) controlCommand() *cli.Command {
	return &cli.Command{
		Name:        "control",
		Usage:       "tell workers, Python's too, what to do",
		ArgsUsage:   "COMMAND [ARGUMENT...]",
		Description: p.listCommands(false, control.Panel()),
		Flags:       append(remoteFlags(), listFlag("control")),
		Action:      p.runControl,
	}
}

func listFlag(kind string) cli.Flag {
	return &cli.BoolFlag{Name: "list", Usage: "list the " + kind + " commands", DisableDefaultText: true}
}

func (p *program) runInspect(c *cli.Context) error {
	replies, err := p.runRemote(c, true)
	if err != nil || replies == nil {
		return err
	}
	replies = byNode(replies, p.stderr)
	if c.Bool("json") {
		return errors.Join(p.printByNode(replies), refused(replies))
	}
	if !c.Bool("quiet") {
		p.printOnline(len(replies))
	}
	return refused(replies)
}

func (p *program) runControl(c *cli.Context) error {
	replies, err := p.runRemote(c, false)
	if err != nil || replies == nil {
		return err
	}
	if !c.Bool("json") {
		return refused(replies)
	}
	list := make([]map[string]any, len(replies))
	for i, r := range replies {
		list[i] = map[string]any{r.Node: r.Value}
	}
	return errors.Join(p.printJSON(list), refused(replies))
}

// runRemote asks what the arguments say and prints replies as they come, unless they
// are wanted as JSON.
func (p *program) runRemote(c *cli.Context, inspect bool) (replies []control.Reply, err error) {
	app, err := p.describe(c)
	if err != nil {
		return nil, err
	}
	commands := withCommandsOf(app)
	if c.Bool("list") {
		_, err := fmt.Fprintln(p.stdout, p.listCommands(inspect, commands))
		return nil, err
	}
	command, arguments, err := p.readRemote(c, inspect, commands)
	if err != nil {
		return nil, usage(c, err, false)
	}
	conf, err := loadSettings(c, nil, app.Settings)
	if err != nil {
		return nil, err
	}
	signed, err := signedBy(app.Signing)
	if err != nil {
		return nil, err
	}
	o, err := openOperator(c, conf, signed)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	say := func(r control.Reply) { p.sayReply(c, r, true) }
	if c.Bool("json") {
		say = nil
	}
	return o.ask(c, command, arguments, say)
}

// refused is an error if every reply is one.
func refused(replies []control.Reply) error {
	for _, r := range replies {
		if pyjson.Kind(r.Value) != '{' || pyjson.Member(r.Value, "error") == nil || pyjson.Member(r.Value, "ok") != nil {
			return nil
		}
	}
	return statusError(exitFailure)
}

// withCommandsOf returns Celery's commands and those of an app, which may take the place of Celery's.
func withCommandsOf(app *python.Description) (commands []control.Command) {
	own := map[string]bool{}
	for _, c := range app.Commands {
		own[c.Name] = true
		var params []control.Param
		for _, a := range c.Args {
			params = append(params, control.Param{Name: a[0], Kind: a[1]})
		}
		described := control.Command{Name: c.Name, Inspect: c.Type == remoteKind(true), Usage: c.Signature, Help: c.Help}
		commands = append(commands, control.Elsewhere(described, c.Variadic, params...))
	}
	celerys := slices.DeleteFunc(control.Panel(), func(c control.Command) bool { return own[c.Name] })
	return append(celerys, commands...)
}

// readRemote finds the command that is named, and makes keyword arguments of the others.
func (p *program) readRemote(c *cli.Context, inspect bool, commands []control.Command) (name string, arguments []byte, err error) {
	name = c.Args().First()
	if name == "" {
		return "", nil, errors.New("missing argument 'COMMAND'")
	}
	i := slices.IndexFunc(commands, func(c control.Command) bool { return c.Name == name })
	_, own := p.reg.LookupCommand(name)
	switch {
	case own:
		arguments, err = p.ownArguments(name, c.Args().Tail())
		return name, arguments, err
	case i >= 0 && commands[i].Inspect == inspect:
		arguments, err = commands[i].Arguments(c.Args().Tail())
		return name, arguments, err
	}
	names := p.commandNames(inspect, commands)
	hint := didYouMean(name, names, "")
	if i >= 0 {
		hint = fmt.Sprintf(" Did you mean '%s %s %s'?", p.name, remoteKind(!inspect), name)
	}
	kind := remoteKind(inspect)
	return "", nil, fmt.Errorf("command %s not recognized.%s Available %s commands: %s", name, hint, kind, strings.Join(names, ", "))
}

// ownArguments are those of a command that the program registers: JSON values, or texts.
func (p *program) ownArguments(name string, args []string) ([]byte, error) {
	entry, _ := p.reg.LookupCommand(name)
	names := entry.ParamNames()
	if len(args) > len(names) {
		return nil, fmt.Errorf("command '%s' takes arguments: %s", name, strings.Join(names, " "))
	}
	arguments := map[string]any{}
	for i, arg := range args {
		value, err := readArgument(arg)
		if err != nil {
			return nil, err
		}
		arguments[names[i]] = value
	}
	return pyjson.Append(nil, arguments)
}

func remoteKind(inspect bool) string {
	if inspect {
		return "inspect"
	}
	return "control"
}

// commandNames are those that are given, and those that the program registers: they may be either kind.
func (p *program) commandNames(inspect bool, commands []control.Command) []string {
	names := p.reg.Commands()
	for _, c := range commands {
		if c.Inspect == inspect {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// listCommands is a table of commands and what they do.
func (p *program) listCommands(inspect bool, commands []control.Command) string {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	if inspect {
		fmt.Fprintln(table, "Inspect Commands:")
	} else {
		fmt.Fprintln(table, "Control Commands:")
	}
	own := p.reg.Commands()
	for _, c := range commands {
		if c.Inspect == inspect && !slices.Contains(own, c.Name) {
			fmt.Fprintf(table, "  %s\t%s\n", strings.TrimSpace(c.Name+" "+c.Usage), c.Help)
		}
	}
	for _, name := range own {
		entry, _ := p.reg.LookupCommand(name)
		fmt.Fprintf(table, "  %s\tof this program\n", strings.TrimSpace(name+" "+strings.Join(entry.ParamNames(), " ")))
	}
	table.Flush() //nolint:errcheck // a strings.Builder takes everything
	return strings.TrimRight(b.String(), "\n")
}
