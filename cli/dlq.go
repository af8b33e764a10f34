package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/app"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/fromsettings"
)

// dlqActions are what can be done with dead letters.
var dlqActions = []string{"list", "show", "replay", "drop"}

func (p *program) dlqCommand() *cli.Command {
	return &cli.Command{
		Name:      "dlq",
		Usage:     "look at dead letters, replay them or drop them",
		ArgsUsage: "list | show ID | replay ID... | drop ID...",
		Description: "Dead letters are messages that a worker has given up: it cannot read them, they killed\n" +
			"workers again and again, or no task is known by their name and the worker was told to park them.\n" +
			"In RabbitMQ, whoever looks at them has them for that moment.\n\n" +
			p.name + " dlq list --limit 20\n" +
			p.name + " dlq show 5f1c0f3a9b7d2e44\n" +
			p.name + " dlq replay --all",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Aliases: []string{"j"}, Usage: "print JSON, one object a line; raw is the message in base64", DisableDefaultText: true},
			&cli.BoolFlag{Name: "all", Usage: "replay or drop every letter there is now", DisableDefaultText: true},
			forceFlag(),
			&cli.IntFlag{Name: "limit", Value: 100, Usage: "list `N` letters at most, 0 for all"},
			&cli.IntFlag{Name: "offset", Usage: "leave out the `N` oldest"},
		},
		Action: p.runDLQ,
	}
}

func (p *program) runDLQ(c *cli.Context) (err error) {
	action, ids := c.Args().First(), c.Args().Tail()
	if err := checkDLQ(c, action, ids, p.asks); err != nil {
		return usage(c, err, false)
	}
	conf, err := p.commandSettings(c)
	if err != nil {
		return err
	}
	cs, err := readBroker(c, conf)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt)
	defer stop()
	letters, err := cs.OpenDeadLetters(ctx)
	switch {
	case errors.Is(err, fromsettings.ErrUnmanaged):
		return usage(c, err, false)
	case err != nil:
		return &app.ConnectionError{Role: app.RoleBroker, Server: cs.Written.String(), Err: err}
	}
	defer func() { err = errors.Join(err, letters.Close()) }()
	switch action {
	case "list":
		return p.listLetters(ctx, letters, c)
	case "show":
		return p.showLetter(ctx, letters, ids[0], c.Bool("json"))
	case "replay":
		return p.moveLetters(ctx, letters, ids, "Replayed", letters.Replay)
	}
	return p.moveLetters(ctx, letters, ids, "Dropped", p.asked(c, letters.Drop))
}

// checkDLQ finds mistakes before anything is connected to. asks tells whether somebody is
// there to answer a question.
func checkDLQ(c *cli.Context, action string, ids []string, asks bool) error {
	all := c.Bool("all")
	switch {
	case action == "":
		return fmt.Errorf("missing argument: one of %s", strings.Join(dlqActions, ", "))
	case c.Int("limit") < 0 || c.Int("offset") < 0:
		return errors.New("--limit and --offset cannot be negative")
	}
	switch action {
	case "list":
		if len(ids) > 0 {
			return fmt.Errorf("got unexpected argument '%s'; 'show' takes an ID", ids[0])
		}
	case "show":
		if len(ids) != 1 {
			return errors.New("'show' takes one ID; 'list' prints them")
		}
	case "replay", "drop":
		switch {
		case len(ids) == 0 && !all:
			return fmt.Errorf("'%s' takes IDs, or --all; 'list' prints them", action)
		case len(ids) > 0 && all:
			return errors.New("give IDs or --all, not both")
		case action == "drop" && all && !c.Bool("force") && !asks:
			return errors.New("'drop --all' asks first, which it cannot do here: say --force if all dead letters are to go")
		}
	default:
		return fmt.Errorf("no such action '%s'.%s", action, didYouMean(action, dlqActions, ""))
	}
	return nil
}

func (p *program) listLetters(ctx context.Context, d broker.DeadLetters, c *cli.Context) error {
	limit := c.Int("limit")
	if limit == 0 {
		limit = -1
	}
	letters, err := d.List(ctx, c.Int("offset"), limit)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		encoder := json.NewEncoder(p.stdout)
		for _, l := range letters {
			if err := encoder.Encode(l); err != nil {
				return err
			}
		}
		return nil
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	if len(letters) > 0 {
		fmt.Fprintln(table, "ID\tTIME\tQUEUE\tTASK\tREASON")
	}
	for _, l := range letters {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", l.ID, l.Time.Format(time.RFC3339), l.Queue, cmp.Or(l.Task, "-"), l.Reason)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	count, err := d.Count(ctx)
	if err != nil {
		return err
	}
	if more := count - c.Int("offset") - len(letters); more > 0 && len(letters) > 0 {
		fmt.Fprintf(p.stderr, "%d more; see --limit and --offset.\n", more)
	} else if count == 0 {
		fmt.Fprintln(p.stderr, "There are no dead letters.")
	}
	return nil
}

func (p *program) showLetter(ctx context.Context, d broker.DeadLetters, id string, asJSON bool) error {
	l, err := d.Get(ctx, id)
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(p.stdout).Encode(l)
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"ID", l.ID},
		{"Time", l.Time.Format(time.RFC3339Nano)},
		{"Queue", l.Queue},
		{"Reason", l.Reason},
		{"Worker", l.Hostname},
		{"Task", cmp.Or(l.Task, "-")},
		{"Task ID", cmp.Or(l.TaskID, "-")},
		{"Redeliveries", fmt.Sprint(l.Redeliveries)},
	} {
		fmt.Fprintf(table, "%s:\t%s\n", line[0], line[1])
	}
	if err := table.Flush(); err != nil {
		return err
	}
	var indented bytes.Buffer
	const shown = 1000 // of a large message
	switch {
	case l.Size > 0:
		fmt.Fprintf(p.stdout, "Message (%d bytes; --json prints all), its beginning:\n%q\n", l.Size, l.Raw[:min(len(l.Raw), shown)])
	case json.Indent(&indented, l.Raw, "", "  ") == nil:
		fmt.Fprintf(p.stdout, "Message:\n%s\n", indented.Bytes())
	case utf8.Valid(l.Raw):
		fmt.Fprintf(p.stdout, "Message (no JSON):\n%s\n", l.Raw)
	default:
		fmt.Fprintf(p.stdout, "Message (no text):\n%q\n", l.Raw)
	}
	return nil
}

// letterMover replays or drops letters, and returns the ids of those that were there.
type letterMover func(ctx context.Context, ids ...string) (moved []string, err error)

// asked asks before all letters are dropped.
func (p *program) asked(c *cli.Context, drop letterMover) letterMover {
	if !c.Bool("all") || c.Bool("force") {
		return drop
	}
	return func(ctx context.Context, ids ...string) ([]string, error) {
		fmt.Fprintf(p.stdout, "%s: this drops %d dead %s. It cannot be undone.\n\n(-f skips this question)\n",
			p.painter(c)("WARNING", "31"), len(ids), plural(len(ids), "letter"))
		if len(ids) > 0 && !confirm(p.stdin, p.stdout, "Do you want to drop them?") {
			fmt.Fprintln(p.stderr, "Aborted!")
			return nil, statusError(exitFailure)
		}
		return drop(ctx, ids...)
	}
}

// moveLetters replays or drops letters, those named or all, and tells what it did.
func (p *program) moveLetters(ctx context.Context, d broker.DeadLetters, ids []string, done string, move letterMover) error {
	named := len(ids) > 0
	if !named {
		var err error
		if ids, err = d.IDs(ctx, 0, -1); err != nil {
			return err
		}
	}
	moved, err := move(ctx, ids...)
	if errors.As(err, new(statusError)) {
		return err
	}
	fmt.Fprintf(p.stdout, "%s %d of %d.\n", done, len(moved), len(ids))
	if err != nil {
		return err
	}
	if !named {
		return nil
	}
	was := map[string]bool{}
	for _, id := range moved {
		was[id] = true
	}
	var missing []string
	for _, id := range ids {
		if !was[id] {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: %s", broker.ErrNoLetter, strings.Join(missing, ", "))
	}
	return nil
}
