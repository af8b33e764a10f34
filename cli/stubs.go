package cli

import (
	"errors"
	"fmt"
	"go/token"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/internal/stubs"
	"github.com/apium/apium/python"
	"github.com/apium/apium/tasks"
)

func (p *program) stubsCommand() *cli.Command {
	return &cli.Command{
		Name:      "stubs",
		Usage:     "begin the move of a task: write a Python task in Go, or the signature of a Go task in Python",
		ArgsUsage: "[TASK]...",
		Description: "TASKs are names or shell patterns; without one, all are meant.\n\n" +
			p.name + " stubs -A mysite shop.tasks.price > price.go\n" +
			p.name + " stubs --python > go_tasks.py\n" +
			p.name + " stubs --check -A mysite",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "python", Usage: "write Python: a module that calls this program's tasks, for those who have no other", DisableDefaultText: true},
			&cli.BoolFlag{
				Name: "check", DisableDefaultText: true,
				Usage: "compare this program's tasks with the app's, and end with 1 if one has other parameters or defaults, or is not in the app; " +
					"of TASKs also if one is not in Go",
			},
			&cli.StringFlag{Name: "package", Value: "main", Usage: "`NAME` of the Go package"},
			&cli.StringFlag{
				Name: "interpreter", EnvVars: []string{"APIUM_PYTHON"},
				Usage: "the Python that loads the app: a `PATH`, what --python is to the other commands",
			},
		},
		Action: p.runStubs,
	}
}

func (p *program) runStubs(c *cli.Context) error {
	if c.Bool("python") {
		return p.writePython(c)
	}
	if c.String("app") == "" {
		return usage(c, errors.New("missing option '-A' / '--app': the Celery app whose tasks are to be written in Go; "+
			"'--python' writes this program's own in Python"), false)
	}
	if !token.IsIdentifier(c.String("package")) || c.String("package") == "_" {
		return usage(c, fmt.Errorf("invalid value for '--package': '%s' is no name of a Go package", c.String("package")), false)
	}
	project, err := p.describeTasks(c)
	if err != nil {
		return err
	}
	if c.Bool("check") {
		return p.checkStubs(c, project)
	}
	picked, err := stubs.Pick(project.Names(), c.Args().Slice())
	if err != nil {
		return usage(c, err, false)
	}
	project.Keep(picked)
	text, err := stubs.Go(project, c.String("package"), strings.Join(append([]string{p.name, "stubs", "-A", c.String("app")}, c.Args().Slice()...), " "))
	if err != nil {
		return err
	}
	_, err = io.WriteString(p.stdout, text)
	return err
}

// checkStubs says how the tasks with Go handlers differ from those of the app.
func (p *program) checkStubs(c *cli.Context, project *stubs.Project) error {
	names := slices.Concat(project.Names(), p.reg.Names())
	slices.Sort(names)
	picked, err := stubs.Pick(slices.Compact(names), c.Args().Slice())
	if err != nil {
		return usage(c, err, false)
	}
	var entries []*tasks.Entry
	var missing []string
	for _, name := range picked {
		if entry, ok := p.reg.Lookup(name); ok {
			entries = append(entries, entry)
		} else {
			missing = append(missing, name+": has no Go handler")
		}
	}
	differences := stubs.Check(project, entries)
	if c.NArg() > 0 {
		differences = append(differences, missing...)
	}
	for _, line := range differences {
		fmt.Fprintln(p.stdout, line)
	}
	fmt.Fprintf(p.stderr, "%d tasks are in Go, %d are not; %d differences.\n", len(entries), len(missing), len(differences))
	if len(differences) > 0 {
		return statusError(exitFailure)
	}
	return nil
}

func (p *program) writePython(c *cli.Context) error {
	if path := c.Args().First(); strings.ContainsRune(path, os.PathSeparator) { // what --python is to all other commands
		return usage(c, fmt.Errorf("behind 'stubs', '--python' writes a Python module and takes no value: name the Python %s with --interpreter", path), false)
	}
	picked, err := p.pickGoTasks(c)
	if err != nil {
		return usage(c, err, false)
	}
	_, err = io.WriteString(p.stdout, stubs.Python(picked, p.name+" stubs --python"))
	return err
}

// describeTasks asks Python what the app's tasks look like.
func (p *program) describeTasks(c *cli.Context) (*stubs.Project, error) {
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt)
	defer stop()
	opts := python.Options{
		Interpreter: c.String("interpreter"),
		App:         c.String("app"),
		Environ:     appEnvironment(c),
		Argv:        p.pythonArgv(),
		Stdout:      os.Stderr, // what the app prints is no Go
	}
	if before := c.Lineage(); opts.Interpreter == "" && len(before) > 1 {
		opts.Interpreter = before[1].String("python") // as for the other commands, before this one
	}
	description, err := python.DescribeTasks(ctx, opts)
	var broken *python.LoadError
	switch {
	case errors.As(err, &broken) && broken.HasCelery:
		return nil, usage(c, fmt.Errorf("\n%w", err), false)
	case err != nil:
		return nil, usage(c, fmt.Errorf("%w\nName the project's Python with --interpreter", err), false)
	}
	return stubs.Read(description)
}

// pickGoTasks returns the tasks with Go handlers that the command line asks for.
func (p *program) pickGoTasks(c *cli.Context) (picked []*tasks.Entry, err error) {
	names, err := stubs.Pick(p.reg.Names(), c.Args().Slice())
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if entry, ok := p.reg.Lookup(name); ok && entry.InGo() {
			picked = append(picked, entry)
		}
	}
	return picked, nil
}
