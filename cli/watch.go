package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

func (p *program) eventsCommand() *cli.Command {
	return &cli.Command{
		Name:  "events",
		Usage: "watch workers, Python's too, and their tasks",
		Description: "On a terminal it shows tables of workers and tasks; keys choose a task, show what is known of it, revoke it, and limit its rate.\n" +
			"Elsewhere it prints a line for every event.\n" +
			"Workers send events of tasks if they were started with -E, or told '" + p.name + " control enable_events'.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "dump", Aliases: []string{"d"}, Usage: "print lines on a terminal, too", DisableDefaultText: true},
			&cli.BoolFlag{Name: "json", Aliases: []string{"j"}, Usage: "print JSON, one event a line", DisableDefaultText: true},
		},
		Action: p.runEvents,
	}
}

func (p *program) runEvents(c *cli.Context) (err error) {
	o, err := p.operator(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	lines := c.Bool("dump") || c.Bool("json") || !isTerminal(p.stdout) || !isTerminal(p.stdin)
	if !lines {
		return p.watchEvents(c, o)
	}
	d := &eventDump{out: p.stdout}
	hear := d.print
	if c.Bool("json") {
		hear = p.printEvent
	} else {
		fmt.Fprintln(p.stdout, "-> evdump: starting capture...")
	}
	return o.hearEvents(hear, func(problem string) { fmt.Fprintln(p.stderr, "-> "+problem) })
}

// hearEvents hands over events until the command ends, with the time they came as
// local_received, as in Celery. An error of hear ends it.
func (o *operator) hearEvents(hear func(protocol.Event) error, tell func(problem string)) error {
	ctx, cancel := context.WithCancelCause(o.ctx)
	defer cancel(nil)
	failing := false
	err := o.publisher.Subscribe(ctx, broker.Subscription{
		Exchange: o.conf.EventExchange, BindingKey: "#",
		Handle: func(_ string, message broker.Content) {
			var received protocol.Received
			message.Read(&received)
			events, err := o.decoder.DecodeEvents(&received)
			if err != nil {
				tell("Cannot read an event: " + err.Error())
			}
			now := strconv.AppendFloat(nil, float64(time.Now().UnixMicro())/1e6, 'f', -1, 64)
			for _, e := range events {
				e["local_received"] = now
				if err := hear(e); err != nil {
					cancel(err)
					return
				}
			}
		},
		OnState: func(subscribed bool, err error) {
			if !subscribed && !failing {
				tell("Connection lost, attempting reconnect: " + err.Error())
			}
			failing = !subscribed
		},
	})
	switch {
	case o.ctx.Err() != nil: // Ctrl-C is how one leaves
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}

// printEvent prints an event as one line of JSON.
func (p *program) printEvent(e protocol.Event) error {
	line := []byte{'{'}
	for _, name := range slices.Sorted(maps.Keys(e)) {
		line = append(pyjson.AppendKey(line, name), e[name]...)
	}
	_, err := p.stdout.Write(append(line, "}\n"...))
	return err
}
