package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/app"
	"github.com/apium/apium/broker"

	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/settings"
)

func (p *program) purgeCommand() *cli.Command {
	return &cli.Command{
		Name:  "purge",
		Usage: "drop all messages that wait in queues",
		Description: "What workers have claimed, and what is parked until its time, stays.\n" +
			"There is no way back.",
		Flags: []cli.Flag{
			forceFlag(),
			&cli.StringFlag{Name: "queues", Aliases: []string{"Q"}, Usage: "`QUEUES` to purge, separated by commas (default: task_queues, or else celery)"},
			&cli.StringFlag{Name: "exclude-queues", Aliases: []string{"X"}, Usage: "`QUEUES` not to purge"},
			jsonFlag(),
		},
		Action: p.runPurge,
	}
}

func (p *program) runPurge(c *cli.Context) (err error) {
	if err := noArguments(c); err != nil {
		return err
	}
	conf, err := p.commandSettings(c)
	if err != nil {
		return err
	}
	names := purgedQueues(c, conf)
	if len(names) == 0 {
		return nil
	}
	if !c.Bool("force") {
		fmt.Fprintf(p.stdout, "%s: this drops all tasks of %s: %s.\nIt cannot be undone.\n\n(-f skips this question)\n",
			p.painter(c)("WARNING", "31"), plural(len(names), "queue"), strings.Join(names, ", "))
		if !confirm(p.stdin, p.stdout, "Do you want to drop all these tasks?") {
			fmt.Fprintln(p.stderr, "Aborted!")
			return statusError(exitFailure)
		}
	}
	m, err := openManagement(c, conf)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	counts, total, parked := map[string]int{}, 0, 0
	for _, name := range names {
		n, err := m.Purge(c.Context, name)
		if err != nil {
			return err
		}
		waiting := 0
		if parks, ok := m.(broker.ParkedManagement); ok {
			if waiting, err = parks.Parked(c.Context, name); err != nil {
				return err
			}
		}
		counts[name] = n
		total, parked = total+n, parked+waiting
	}
	if c.Bool("json") {
		return p.printJSON(counts)
	}
	queues := fmt.Sprintf("%d %s", len(names), plural(len(names), "queue"))
	if total == 0 {
		fmt.Fprintf(p.stdout, "No messages purged from %s.\n", queues)
	} else {
		fmt.Fprintf(p.stdout, "Purged %d %s from %d known task %s.\n", total, plural(total, "message"), len(names), plural(len(names), "queue"))
	}
	if parked > 0 {
		fmt.Fprintf(p.stderr, "%d %s until their time: '%s control revoke' stops them.\n", parked, plural(parked, "message")+" stay parked", p.name)
	}
	return nil
}

// purgedQueues returns the names of the queues to purge, sorted.
func purgedQueues(c *cli.Context, conf *settings.Settings) []string {
	names := commaList(c.String("queues"))
	if len(names) == 0 {
		for _, q := range conf.Queues().All() {
			names = append(names, q.Name)
		}
	}
	excluded := commaList(c.String("exclude-queues"))
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(excluded, name) })
	slices.Sort(names)
	return slices.Compact(names)
}

// forceFlag answers yes before anything is asked.
func forceFlag() cli.Flag {
	return &cli.BoolFlag{Name: "force", Aliases: []string{"f", "yes", "y"}, Usage: "do not ask", DisableDefaultText: true}
}

// confirm asks until it gets an answer; none is a no.
func confirm(in io.Reader, out io.Writer, question string) bool {
	lines := bufio.NewScanner(in)
	for {
		fmt.Fprintf(out, "%s [y/N]: ", question)
		if !lines.Scan() {
			fmt.Fprintln(out)
			return false
		}
		switch strings.ToLower(strings.TrimSpace(lines.Text())) {
		case "y", "yes":
			return true
		case "n", "no", "":
			return false
		}
		fmt.Fprintln(out, "Error: invalid input")
	}
}

// openManagement connects to where tasks are published.
func openManagement(c *cli.Context, conf *settings.Settings) (broker.Management, error) {
	urls, err := readBroker(c, conf)
	if err != nil {
		return nil, err
	}
	m, err := urls.OpenManagement(c.Context)
	switch {
	case errors.Is(err, fromsettings.ErrUnmanaged):
		return nil, usage(c, err, false)
	case err != nil:
		return nil, &app.ConnectionError{Role: app.RoleBroker, Server: urls.Written.String(), Err: err}
	}
	return m, nil
}
