package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/app"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/compression"
	"github.com/apium/apium/protocol/serializer"
	"github.com/apium/apium/settings"
)

// errNoReplies is in Celery's words: scripts look for them.
var errNoReplies = &unavailableError{errors.New("No nodes replied within time constraint")} //nolint:staticcheck // see above

// remoteFlags are those of inspect, control and status.
func remoteFlags() []cli.Flag {
	timeout := seconds(time.Second)
	return []cli.Flag{
		&cli.GenericFlag{Name: "timeout", Aliases: []string{"t"}, Value: &timeout, Usage: "wait `SECONDS` for the next reply"},
		&cli.StringFlag{Name: "destination", Aliases: []string{"d"}, Usage: "`NODES` to ask, separated by commas (default: all)"},
		jsonFlag(),
	}
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Aliases: []string{"j"}, Usage: "print JSON", DisableDefaultText: true}
}

// operator is a connection of an operator's command.
type operator struct {
	ctx       context.Context //nolint:containedctx // of the command; ends with SIGINT and SIGTERM
	stop      func()
	conf      *settings.Settings
	urls      fromsettings.Connections
	publisher fromsettings.Publisher
	decoder   protocol.Decoder
	signed    protocol.Serializer
}

// operator connects as commands do that take no arguments.
func (p *program) operator(c *cli.Context) (*operator, error) {
	if err := noArguments(c); err != nil {
		return nil, err
	}
	conf, signed, err := p.commandApp(c)
	if err != nil {
		return nil, err
	}
	return openOperator(c, conf, signed)
}

// openOperator connects to the broker. signed is what the app signs with; nil: it does not.
func openOperator(c *cli.Context, conf *settings.Settings, signed protocol.Serializer) (*operator, error) {
	o := &operator{conf: conf, signed: signed}
	var err error
	if o.urls, err = readBroker(c, o.conf); err != nil {
		return nil, err
	}
	o.decoder = protocol.Decoder{Location: o.conf.Location(), Serializer: serializer.Signing(signed), Decompress: compression.Decompress}
	if o.decoder.Accept, err = protocol.NewAccept(o.conf.AcceptContent...); err != nil {
		return nil, err
	}
	o.ctx, o.stop = signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
	if o.publisher, err = o.urls.OpenPublisher(o.ctx); err != nil {
		o.stop()
		return nil, &app.ConnectionError{Role: app.RoleBroker, Server: o.urls.Written.String(), Err: err}
	}
	return o, nil
}

func (o *operator) Close() error {
	o.stop()
	return o.publisher.Close()
}

func (o *operator) client() *control.Client {
	return &control.Client{
		Broadcaster: o.publisher, Asker: o.publisher, Exchange: o.conf.ControlExchange, Decoder: o.decoder, Signed: o.signed,
	}
}

// ask asks workers what the flags say, and hands over each reply as it comes.
func (o *operator) ask(c *cli.Context, command string, arguments []byte, heard func(control.Reply)) ([]control.Reply, error) {
	replies, err := o.client().Ask(o.ctx, control.Question{
		Command: command, Arguments: arguments, Destination: commaList(c.String("destination")), Timeout: flagSeconds(c, "timeout"),
	}, heard)
	switch {
	case err != nil:
		return replies, &unavailableError{fmt.Errorf("unable to run '%s %s': %w", c.Command.Name, command, err)}
	case len(replies) == 0:
		return nil, errNoReplies
	}
	return replies, nil
}

// byNode drops all but the last reply of a node; a node with several is told of.
func byNode(replies []control.Reply, stderr io.Writer) []control.Reply {
	var kept []control.Reply
	places := map[string]int{}
	for _, r := range replies {
		if place, double := places[r.Node]; double {
			fmt.Fprintf(stderr, "Several workers are called %s: give each a name of its own with -n.\n", r.Node)
			kept[place] = r
			continue
		}
		places[r.Node] = len(kept)
		kept = append(kept, r)
	}
	return kept
}
