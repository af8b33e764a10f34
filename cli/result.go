package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/protocol"
)

func (p *program) resultCommand() *cli.Command {
	return &cli.Command{
		Name:      "result",
		Usage:     "print the result of a task, once it is done",
		ArgsUsage: "TASK_ID",
		Description: "A task that has failed prints its traceback and ends with exit status 1.\n" +
			"Celery forgets nothing and knows nothing: an id that never was is waited for like any other.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "traceback", Usage: "print the traceback there is now, and do not wait", DisableDefaultText: true},
			&cli.GenericFlag{Name: "timeout", Value: new(seconds), Usage: "wait `SECONDS` at most (default: for ever)"},
			&cli.StringFlag{Name: "task", Aliases: []string{"t"}, Usage: "has no effect: all tasks have the same result backend", Hidden: true},
			&cli.BoolFlag{Name: "json", Aliases: []string{"j"}, Usage: "print the whole record as JSON", DisableDefaultText: true},
		},
		Action: p.runResult,
	}
}

func (p *program) runResult(c *cli.Context) (err error) {
	switch {
	case c.NArg() == 0:
		return usage(c, errors.New("missing argument 'TASK_ID'"), false)
	case c.NArg() > 1:
		return usage(c, fmt.Errorf("got unexpected argument '%s'", c.Args().Get(1)), false)
	}
	conf, err := p.commandSettings(c)
	if err != nil {
		return err
	}
	urls := fromsettings.URLs(conf)
	if urls.BackendURL == "" {
		return usage(c, errors.New("there is no --result-backend to read the result from"), false)
	}
	if err := urls.Read(conf); err != nil {
		return usage(c, err, false)
	}
	if urls.Backend.Scheme == "rpc" {
		return usage(c, errors.New("results on rpc:// are messages to the process that has sent the task, and nobody else can read them: "+
			"send it with 'send --wait', or have results stored by another --result-backend, the workers' too"), false)
	}
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt)
	defer stop()
	store, err := openResults(ctx, &urls)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	record, err := loadRecord(ctx, c, store.Loader)
	if err != nil {
		return err
	}
	return p.showRecord(c, record)
}

// loadRecord returns the record of the task that is named; nil if there is none and
// nobody shall wait for it.
func loadRecord(ctx context.Context, c *cli.Context, store backend.Loader) ([]byte, error) {
	id := c.Args().First()
	if c.Bool("traceback") {
		record, err := store.Load(ctx, id)
		if errors.Is(err, backend.ErrNotFound) {
			return nil, nil
		}
		return record, err
	}
	ctx, cancel := withTimeout(ctx, c)
	defer cancel()
	record, err := store.Wait(ctx, id)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("task %s has no result yet", id)
	}
	return record, err
}

func (p *program) showRecord(c *cli.Context, record []byte) error {
	if record == nil {
		fmt.Fprintln(p.stdout)
		return nil
	}
	result, err := protocol.DecodeResult(record)
	if err != nil {
		return err
	}
	traceback := ""
	if result.Traceback != nil {
		traceback = *result.Traceback
	}
	if c.Bool("traceback") {
		fmt.Fprintln(p.stdout, traceback)
		return nil
	}
	if c.Bool("json") {
		fmt.Fprintf(p.stdout, "%s\n", record)
	}
	if result.State == protocol.Success {
		if !c.Bool("json") {
			fmt.Fprintln(p.stdout, resultText(result.Result))
		}
		return nil
	}
	exception, err := protocol.DecodeException(result.Result)
	if err != nil {
		return err
	}
	if traceback = strings.TrimRight(traceback, "\n"); traceback != "" {
		fmt.Fprintln(p.stderr, traceback)
	}
	if last := exception.Error(); !strings.HasSuffix(traceback, last) {
		fmt.Fprintln(p.stderr, last)
	}
	return statusError(exitFailure)
}

// resultText is what Celery prints: Python's str, and nothing for None.
func resultText(raw []byte) string {
	if raw == nil || string(raw) == "null" {
		return ""
	}
	return pythonText(raw)
}
