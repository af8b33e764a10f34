package cli

import (
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/operate/control"
)

func (p *program) statusCommand() *cli.Command {
	return &cli.Command{
		Name:   "status",
		Usage:  "list the workers that are online, Python's too",
		Flags:  remoteFlags(),
		Action: p.runStatus,
	}
}

func (p *program) runStatus(c *cli.Context) (err error) {
	o, err := p.operator(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	say := func(r control.Reply) { p.sayReply(c, r, false) }
	if c.Bool("json") {
		say = nil
	}
	replies, err := o.ask(c, "ping", nil, say)
	if err != nil {
		return err
	}
	replies = byNode(replies, p.stderr)
	if c.Bool("json") {
		return p.printByNode(replies)
	}
	p.printOnline(len(replies))
	return nil
}
