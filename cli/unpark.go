package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/broker"
)

func (p *program) unparkCommand() *cli.Command {
	return &cli.Command{
		Name:  "unpark",
		Usage: "give the messages that are parked until their time back to their queues",
		Description: "Workers of this program keep what is due later than --park-after in Redis. Python's workers\n" +
			"find it there when it is due, at their next sweep: up to 100 seconds late. When they are to\n" +
			"take over, stop the workers of this program and unpark: Python's then hold the messages\n" +
			"themselves, and are on time.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "also while workers run that park them again", DisableDefaultText: true},
			&cli.StringFlag{Name: "queues", Aliases: []string{"Q"}, Usage: "`QUEUES`, separated by commas (default: all that have parked messages)"},
			jsonFlag(),
		},
		Action: p.runUnpark,
	}
}

func (p *program) runUnpark(c *cli.Context) (err error) {
	if err := noArguments(c); err != nil {
		return err
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
	parks, ok := m.(broker.ParkedManagement)
	if !ok {
		return errors.New("there is nothing to give back: this broker delivers parked messages by itself, to workers of either kind")
	}
	queues := commaList(c.String("queues"))
	if len(queues) == 0 {
		if queues, err = parks.ParkedQueues(c.Context); err != nil {
			return err
		}
	}
	if !c.Bool("force") {
		if err := noneParks(c.Context, parks, queues); err != nil {
			return err
		}
	}
	counts, total := map[string]int{}, 0
	for _, queue := range queues {
		n, err := parks.Unpark(c.Context, queue)
		counts[queue], total = n, total+n
		if err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return p.printJSON(counts)
	}
	_, err = fmt.Fprintf(p.stdout, "%d parked %s back in %d %s.\n", total, plural(total, "message"), len(queues), plural(len(queues), "queue"))
	return err
}

// noneParks refuses to give back what workers that run would park again.
func noneParks(ctx context.Context, m broker.ParkedManagement, queues []string) error {
	for _, queue := range queues {
		names, err := m.Consumers(ctx, queue)
		if err != nil {
			return err
		}
		if len(names) > 0 {
			return fmt.Errorf("%s would park the messages of queue '%s' again: stop the %s first, or say --force",
				strings.Join(names, ", "), queue, plural(len(names), "worker"))
		}
	}
	return nil
}
