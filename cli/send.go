package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/app"
	"github.com/apium/apium/client"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/settings"
)

func (p *program) sendCommand() *cli.Command {
	return &cli.Command{
		Name:      "send",
		Aliases:   []string{"call"}, // Celery's name
		Usage:     "publish a task, as Python's send_task does",
		ArgsUsage: "NAME [ARGUMENT...]",
		Description: "Prints the task's id. Arguments are JSON values; what is no JSON is a string:\n\n" +
			p.name + " send demo.add 2 3 --wait\n" +
			p.name + " send shop.mail '[\"ann\", \"bob\"]' hello --kwargs '{\"urgent\": true}' --countdown 10",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "args", Aliases: []string{"a"}, Usage: "all arguments as one JSON `ARRAY`"},
			&cli.StringFlag{Name: "kwargs", Aliases: []string{"k"}, Usage: "keyword arguments as a JSON `OBJECT`"},
			&cli.StringFlag{Name: "queue", Aliases: []string{"Q"}, Usage: "`QUEUE` to publish to (default: what task_routes says, or else celery)"},
			&cli.StringFlag{Name: "exchange", Usage: "`EXCHANGE` to publish to"},
			&cli.StringFlag{Name: "routing-key", Usage: "`KEY` by which the exchange finds the queue"},
			&cli.StringFlag{Name: "serializer", Usage: "`SERIALIZER` of the message (default: task_serializer)"},
			&cli.GenericFlag{Name: "countdown", Value: new(seconds), Usage: "run it `SECONDS` from now"},
			&cli.StringFlag{Name: "eta", Usage: "run it at a `TIME` (ISO 8601)"},
			&cli.StringFlag{Name: "expires", Usage: "do not run it after a `TIME` (ISO 8601, or seconds from now)"},
			&cli.IntFlag{Name: "priority", Usage: "`PRIORITY` 0 to 9; on Redis 0 is the most urgent"},
			&cli.StringFlag{Name: "task-id", Usage: "`ID` of the task (default: a new UUID)"},
			&cli.BoolFlag{Name: "ignore-result", Usage: "ask for no result", DisableDefaultText: true},
			&cli.BoolFlag{Name: "wait", Aliases: []string{"w"}, Usage: "print the result as JSON, or the exception with exit status 1", DisableDefaultText: true},
			&cli.GenericFlag{Name: "timeout", Value: new(seconds), Usage: "wait `SECONDS` at most (default: for ever)"},
		},
		Action: p.runSend,
	}
}

func (p *program) runSend(c *cli.Context) (err error) {
	conf, signed, err := p.commandApp(c)
	if err != nil {
		return err
	}
	call, err := readCall(c, conf.Location())
	if err != nil {
		return usage(c, err, false)
	}
	if err := checkRoute(call, conf); err != nil {
		return err
	}
	wait := c.Bool("wait")
	urls := fromsettings.URLs(conf)
	if wait && urls.BackendURL == "" {
		return usage(c, errors.New("--wait needs a --result-backend to read the result from"), false)
	}
	if !wait {
		urls.BackendURL, conf.ResultBackend = "", ""
	}
	if err := urls.Read(conf); err != nil {
		return usage(c, err, false)
	}
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt)
	defer stop()
	if wait { // nothing is sent whose result cannot be read
		store, err := openResults(ctx, &urls)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, store.Close()) }()
	}
	producer, err := app.OpenSigned(ctx, conf, signed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, producer.Close()) }()
	result, err := producer.Send(ctx, call)
	if err != nil {
		return err
	}
	if !wait {
		fmt.Fprintln(p.stdout, result.ID)
		return nil
	}
	fmt.Fprintln(p.stderr, result.ID) // stdout is for the result alone
	ctx, cancel := withTimeout(ctx, c)
	defer cancel()
	return p.printResult(ctx, result)
}

func (p *program) printResult(ctx context.Context, result *client.AsyncResult) error {
	var value json.RawMessage
	err := result.Get(ctx, &value)
	var exception *protocol.Exception
	switch {
	case err == nil:
		fmt.Fprintln(p.stdout, string(value))
		return nil
	case errors.As(err, &exception):
		if exception.Traceback != "" {
			fmt.Fprintln(p.stderr, strings.TrimRight(exception.Traceback, "\n"))
		}
		fmt.Fprintln(p.stdout, exception.Error())
		return statusError(exitFailure)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("task %s has no result yet", result.ID)
	}
	return err
}

// readCall makes a call of the arguments and flags. Times without an offset are of the zone.
func readCall(c *cli.Context, zone *time.Location) (canvas.Signature, error) {
	var none canvas.Signature
	name := c.Args().First()
	if name == "" {
		return none, errors.New("missing argument 'NAME'")
	}
	args, err := readArguments(c)
	if err != nil {
		return none, err
	}
	call := canvas.Sig(name, args...)
	if text := c.String("kwargs"); text != "" {
		var kwargs map[string]any
		if err := pyjson.Unmarshal([]byte(text), &kwargs); err != nil {
			return none, fmt.Errorf("invalid value for '--kwargs': %w", err)
		}
		call = call.Kw(kwargs)
	}
	opts, err := readOptions(c, zone)
	return call.Set(opts...), err
}

func readArguments(c *cli.Context) (args []any, err error) {
	for _, arg := range c.Args().Tail() {
		value, err := readArgument(arg)
		if err != nil {
			return nil, err
		}
		args = append(args, value)
	}
	if text := c.String("args"); text != "" {
		if args != nil {
			return nil, errors.New("give arguments one by one or as --args, not both")
		}
		if err := pyjson.Unmarshal([]byte(text), &args); err != nil {
			return nil, fmt.Errorf("invalid value for '--args': %w", err)
		}
	}
	return args, nil
}

// readOptions reads the flags that stand for options of Python's apply_async.
func readOptions(c *cli.Context, zone *time.Location) ([]canvas.Option, error) {
	var opts []canvas.Option
	if queue := c.String("queue"); queue != "" {
		opts = append(opts, canvas.Queue(queue))
	}
	for flag, option := range map[string]string{"exchange": "exchange", "routing-key": "routing_key", "serializer": "serializer"} {
		if value := c.String(flag); value != "" {
			opts = append(opts, canvas.Opt(option, value))
		}
	}
	if id := c.String("task-id"); id != "" {
		opts = append(opts, canvas.TaskID(id))
	}
	if c.Bool("ignore-result") {
		opts = append(opts, canvas.IgnoreResult(true))
	}
	if priority := c.Int("priority"); priority < 0 || priority > 9 {
		return nil, fmt.Errorf("priority %d is not between 0 and 9", priority)
	} else if c.IsSet("priority") {
		opts = append(opts, canvas.Priority(priority))
	}
	countdown := flagSeconds(c, "countdown")
	if countdown > 0 {
		opts = append(opts, canvas.Countdown(countdown))
	}
	eta, err := readTime(c, "eta", zone)
	switch {
	case err != nil:
		return nil, err
	case !eta.IsZero() && countdown > 0:
		return nil, errors.New("give a countdown or an ETA, not both")
	case !eta.IsZero():
		opts = append(opts, canvas.ETA(eta))
	}
	expires, err := readTime(c, "expires", zone)
	if err == nil && !expires.IsZero() {
		opts = append(opts, canvas.ExpiresAt(expires))
	}
	return opts, err
}

// checkRoute reports a call that goes to a queue which is not declared, where
// task_create_missing_queues is off.
func checkRoute(call canvas.Signature, conf *settings.Settings) error {
	router := conf.Router()
	_, err := canvas.Apply(call, nil, nil, canvas.Environment{
		Now: time.Now(), NewID: protocol.NewID, Route: router.Route, Queue: router.Destination, DefaultQueue: conf.TaskDefaultQueue,
	})
	return err
}

// readArgument takes JSON, or a plain string that does not look like an attempt at it.
func readArgument(arg string) (any, error) {
	err := pyjson.Valid([]byte(arg))
	if err == nil {
		return json.RawMessage(arg), nil
	}
	if strings.ContainsAny(arg[:min(1, len(arg))], `[{"`) {
		return nil, fmt.Errorf("argument '%s' is not JSON: %w", arg, err)
	}
	return arg, nil
}

// readTime takes an ISO 8601 time, by default that of the time zone of the settings, or
// seconds from now.
func readTime(c *cli.Context, name string, zone *time.Location) (time.Time, error) {
	text := c.String(name)
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := parseSeconds(text); err == nil {
		return time.Now().Add(d), nil
	}
	t, err := protocol.ParseTime(text, zone)
	if err != nil {
		return t, fmt.Errorf("invalid value for '--%s': %w", name, err)
	}
	return t, nil
}
