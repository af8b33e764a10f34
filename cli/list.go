package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/settings"
)

// listings are what can be listed.
var listings = []string{"queues", "bindings"}

func (p *program) listCommand() *cli.Command {
	return &cli.Command{
		Name:      "list",
		Usage:     "list queues with their messages, or bindings",
		ArgsUsage: "queues | bindings",
		Description: "queues shows how many messages of each queue are where:\n\n" +
			"READY    waiting, all priorities together and by priority step\n" +
			"UNACKED  claimed by a worker, Python's too, and not settled\n" +
			"PARKED   kept in Redis until their time\n" +
			"DEAD     dead letters in Redis; see '" + p.name + " dlq'\n\n" +
			"bindings shows which exchanges deliver to which queues. RabbitMQ tells bindings, what is unacked, and queues that\n" +
			"the settings do not name by its management plugin only: see manager_hostname, manager_port, manager_userid and\n" +
			"manager_password of broker_transport_options.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "bindings of all exchanges, not only those of task_queues", DisableDefaultText: true},
			&cli.BoolFlag{Name: "json", Aliases: []string{"j"}, Usage: "print JSON, one object a line", DisableDefaultText: true},
		},
		Action: p.runList,
	}
}

func (p *program) runList(c *cli.Context) (err error) {
	what := c.Args().First()
	switch {
	case what == "":
		return usage(c, fmt.Errorf("missing argument: one of %s", strings.Join(listings, ", ")), false)
	case !slices.Contains(listings, what):
		return usage(c, fmt.Errorf("no such command '%s'.%s", what, didYouMean(what, listings, "")), false)
	case c.NArg() > 1:
		return usage(c, fmt.Errorf("got unexpected argument '%s'", c.Args().Get(1)), false)
	}
	conf, err := p.commandSettings(c)
	if err != nil {
		return err
	}
	m, err := openManagement(c, conf)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt)
	defer stop()
	if what == "bindings" {
		return p.listBindings(ctx, c, m, conf)
	}
	return p.listQueues(ctx, c, m, conf)
}

// queueLine is a line of list queues --json.
type queueLine struct {
	Name       string         `json:"name"`
	Type       string         `json:"type,omitempty"`
	Ready      int            `json:"ready"`
	ByPriority map[string]int `json:"ready_by_priority,omitempty"`
	// What the broker does not know is left out.
	Unacked   *int `json:"unacked,omitempty"`
	Parked    *int `json:"parked,omitempty"`
	Dead      *int `json:"dead,omitempty"`
	Consumers *int `json:"consumers,omitempty"`
}

// column is a figure of queues besides those that are ready.
type column struct {
	head  string
	known bool
	of    func(q *broker.QueueState) int
	field func(line *queueLine) **int
}

func columns(known broker.Figures) []column {
	all := []column{
		{"UNACKED", known.Unacked, func(q *broker.QueueState) int { return q.Unacked }, func(l *queueLine) **int { return &l.Unacked }},
		{"PARKED", known.Parked, func(q *broker.QueueState) int { return q.Parked }, func(l *queueLine) **int { return &l.Parked }},
		{"DEAD", known.Dead, func(q *broker.QueueState) int { return q.Dead }, func(l *queueLine) **int { return &l.Dead }},
		{"CONSUMERS", known.Consumers, func(q *broker.QueueState) int { return q.Consumers }, func(l *queueLine) **int { return &l.Consumers }},
	}
	return slices.DeleteFunc(all, func(c column) bool { return !c.known })
}

func (p *program) listQueues(ctx context.Context, c *cli.Context, m broker.Management, conf *settings.Settings) error {
	var named []string
	for _, q := range conf.Queues().All() {
		named = append(named, q.Name)
	}
	states, err := m.Queues(ctx, named, []string{conf.EventExchange})
	if err != nil {
		return err
	}
	steps, figures := m.Steps(), columns(m.Figures())
	head := []string{"QUEUE", "READY"}
	for _, step := range steps {
		head = append(head, fmt.Sprintf("P%d", step))
	}
	for _, figure := range figures {
		head = append(head, figure.head)
	}
	rows := [][]string{head}
	for _, q := range states {
		line := queueLine{Name: q.Name, Type: q.Type, ByPriority: map[string]int{}}
		row := []string{cmp.Or(q.Name, "(unknown)"), ""}
		for i, n := range q.Ready {
			line.Ready += n
			if len(steps) > 0 {
				line.ByPriority[strconv.Itoa(steps[i])] = n
				row = append(row, strconv.Itoa(n))
			}
		}
		row[1] = strconv.Itoa(line.Ready)
		for _, figure := range figures {
			n := figure.of(&q)
			*figure.field(&line) = &n
			row = append(row, strconv.Itoa(n))
		}
		rows = append(rows, row)
		if c.Bool("json") {
			if err := p.printJSON(line); err != nil {
				return err
			}
		}
	}
	if !c.Bool("json") {
		printFigures(p.stdout, rows)
	}
	return nil
}

// printFigures prints a table of names and, to the right, figures.
func printFigures(out io.Writer, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		fmt.Fprintf(out, "%-*s", widths[0], row[0])
		for i, cell := range row[1:] {
			fmt.Fprintf(out, "  %*s", widths[i+1], cell)
		}
		fmt.Fprintln(out)
	}
}

// bindingLine is a line of list bindings --json.
type bindingLine struct {
	Queue      string `json:"queue"`
	Exchange   string `json:"exchange"`
	RoutingKey string `json:"routing_key"`
	Pattern    string `json:"pattern,omitempty"`
}

func (p *program) listBindings(ctx context.Context, c *cli.Context, m broker.Management, conf *settings.Settings) error {
	var exchanges []string
	for _, q := range conf.Queues().All() {
		if !slices.Contains(exchanges, q.Exchange) {
			exchanges = append(exchanges, q.Exchange)
		}
	}
	if c.Bool("all") {
		var err error
		if exchanges, err = m.Exchanges(ctx); err != nil {
			return err
		}
	}
	var lines []bindingLine
	for _, exchange := range exchanges {
		bindings, err := m.Bindings(ctx, exchange)
		if err != nil {
			return err
		}
		for _, b := range bindings {
			lines = append(lines, bindingLine{b.Queue, exchange, b.RoutingKey, b.Pattern})
		}
	}
	print := func(queue, exchange, key string) { fmt.Fprintf(p.stdout, "%-28s %-28s %s\n", queue, exchange, key) }
	if !c.Bool("json") {
		rule := strings.Repeat("-", 16)
		print("Queue", "Exchange", "Routing Key")
		print(rule, rule, rule)
	}
	for _, line := range lines {
		if !c.Bool("json") {
			print(line.Queue, line.Exchange, line.RoutingKey)
		} else if err := p.printJSON(line); err != nil {
			return err
		}
	}
	return nil
}
