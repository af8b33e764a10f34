// Package cli is the command line of a worker program: Celery's commands, options
// and environment variables, for the tasks of one registry.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	_ "github.com/apium/apium/app/sql" // results in SQL
	"github.com/apium/apium/tasks"
)

// Main runs the program's command line for the tasks of reg, and exits. It is
// meant to be all that is in func main. A worker gets its signals from here on; after SIGHUP,
// Main replaces the process by the program, started anew.
func Main(reg *tasks.Registry) {
	p := newProgram(reg, os.Args, os.Stdout, os.Stderr)
	p.signals = catch(append(processSignals, stopSignals...)...)
	start := findOrigin()
	status := p.run(context.Background(), os.Args)
	if p.restart {
		fmt.Fprintln(os.Stderr, start.again())
		status = exitFailure
	}
	os.Exit(status)
}

// Run is Main for a program that does other things, too, such as serving HTTP: args come
// behind the program's name, ctx done is a warm shutdown, and while a worker runs it is stopped
// by SIGTERM, SIGINT and SIGQUIT. Other signals are the program's own.
//
//	err := cli.Run(ctx, reg, "worker", "--config", "celery.json")
//
// What went wrong has been printed by then, and comes as an *Error. Programs that want a worker
// without flags, output and signals take app.NewWorker.
func Run(ctx context.Context, reg *tasks.Registry, args ...string) error {
	args = append(os.Args[:1:1], args...)
	p := newProgram(reg, args, os.Stdout, os.Stderr)
	if status := p.run(ctx, args); status != exitOK {
		return &Error{ExitStatus: status, Err: p.failed}
	}
	return nil
}

// Error is what Run fails with.
type Error struct {
	ExitStatus int   // what Main would have ended the program with, as docs/operating.md lists them
	Err        error // a *UsageError, an *app.ConnectionError or another; nil: all was said by the status
}

func (e *Error) Error() string {
	if e.Err == nil {
		return "cli: the command has failed"
	}
	return e.Err.Error()
}

// Unwrap returns what went wrong.
func (e *Error) Unwrap() error { return e.Err }

// program is what the commands share.
type program struct {
	name   string   // what help texts call it
	args   []string // the command line, behind its name
	reg    *tasks.Registry
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	asks   bool // somebody is there to answer questions

	signals chan os.Signal // nil: they are somebody else's
	restart bool           // the program is to start again
	atEnd   func()         // nil: nothing is left to do
	failed  error          // what run has failed with
}

// run is Main without the process around it: args[0] is the program's name, ctx
// done is a warm shutdown, and the result is the exit status.
func run(ctx context.Context, reg *tasks.Registry, args []string, stdout, stderr io.Writer) int {
	return newProgram(reg, args, stdout, stderr).run(ctx, args)
}

func newProgram(reg *tasks.Registry, args []string, stdout, stderr io.Writer) *program {
	return &program{name: programName(args[0]), args: args[1:], reg: reg, stdin: os.Stdin, stdout: stdout, stderr: stderr, asks: isTerminal(os.Stdin)}
}

func (p *program) run(ctx context.Context, args []string) (status int) {
	app := p.app()
	options, err := normalise(app, args[1:])
	if err == nil {
		err = app.RunContext(ctx, append(args[:1:1], options...))
	}
	status = exitStatus(err, p.stderr)
	var silent statusError
	if !errors.As(err, &silent) {
		p.failed = err
	}
	if p.atEnd != nil {
		p.atEnd()
	}
	return status
}

// leaveSignals has signals end the program, as they end others. One that came just now does.
func (p *program) leaveSignals() {
	if p.signals == nil {
		return
	}
	signal.Stop(p.signals)
	select {
	case sig := <-p.signals:
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			_ = self.Signal(sig)
		}
	default:
	}
}

// programName is how users start the program, without its folder.
func programName(path string) string {
	name := strings.TrimSuffix(filepath.Base(path), ".exe")
	if strings.Contains(filepath.ToSlash(path), "/go-build") { // a file that go run made, and removes
		return "go run ."
	}
	return name
}

func (p *program) app() *cli.App {
	app := &cli.App{
		Name:      p.name,
		HelpName:  p.name,
		Usage:     "run Celery tasks in Go",
		Writer:    p.stdout,
		ErrWriter: p.stderr,
		Flags:     globalFlags(),
		Commands: []*cli.Command{
			p.workerCommand(),
			p.beatCommand(),
			p.sendCommand(),
			p.inspectCommand(),
			p.controlCommand(),
			p.statusCommand(),
			p.shadowCommand(),
			p.eventsCommand(),
			p.listCommand(),
			p.purgeCommand(),
			p.unparkCommand(),
			p.doctorCommand(),
			p.reportCommand(),
			p.resultCommand(),
			p.dlqCommand(),
			p.demoCommand(),
			p.stubsCommand(),
			p.healthCommand(),
			p.completionCommand(),
			p.manCommand(),
			p.completingCommand(),
			p.versionCommand(),
		},
		Action: func(c *cli.Context) error { // no command was named
			if c.Bool("version") {
				return p.printVersion(c)
			}
			return cli.ShowAppHelp(c)
		},
		HideHelp:                  true, // urfave's help and version flags are shared by all apps of a process
		HideVersion:               true,
		DisableSliceFlagSeparator: true,
		OnUsageError:              usage,
		ExitErrHandler:            func(*cli.Context, error) {}, // run decides
		Before: func(c *cli.Context) error {
			if c.Args().First() != "worker" {
				p.leaveSignals()
			}
			if dir := c.String("workdir"); dir != "" {
				return os.Chdir(dir)
			}
			return nil
		},
	}
	for _, command := range app.Commands {
		command.OnUsageError = usage
		command.HideHelp = true
		command.Flags = append(command.Flags, helpFlag())
	}
	return app
}

// invalidFlag is what package flag says of a value that a flag does not take.
var invalidFlag = regexp.MustCompile(`(?s)^invalid value "(.*)" for flag -(\S+): (.*)$`)

// usage turns an error about flags into a UsageError of the command it concerns.
func usage(c *cli.Context, err error, _ bool) error {
	command := c.App.Name
	if c.Command != nil && c.Command.Name != "" && c.Command.Name != command {
		command += " " + c.Command.Name
	}
	message := err.Error()
	if invalid := invalidFlag.FindStringSubmatch(message); invalid != nil {
		value, flag, why := invalid[1], "--"+invalid[2], invalid[3]
		if why == "parse error" {
			why = fmt.Sprintf("'%s' is not a valid integer", value)
		}
		message = fmt.Sprintf("invalid value for '%s': %s", flag, why)
	}
	first, size := utf8.DecodeRuneInString(message)
	return &UsageError{Command: command, Message: string(unicode.ToUpper(first)) + message[size:]}
}
