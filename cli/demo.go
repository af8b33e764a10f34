package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os/signal"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/app"
	"github.com/apium/apium/client"
	"github.com/apium/apium/internal/embedded"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/tasks/sample"
)

// demoMany is how many tasks the demo sends at once.
const demoMany = 1000

// row is a line of the demo's table: call, time, result.
const row = "  %-38s %10s   %s\n"

func (p *program) demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "show it working: a Redis, a worker and a producer in this process",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "port", Usage: "`PORT` of the embedded Redis; 0: any free one"},
			&cli.BoolFlag{Name: "keep", Usage: "leave Redis and worker running until Ctrl-C, for Python to connect", DisableDefaultText: true},
		},
		Action: p.runDemo,
	}
}

func (p *program) runDemo(c *cli.Context) (err error) {
	ctx, stop := signal.NotifyContext(c.Context, stopSignals...)
	defer stop()
	server, err := embedded.Start(c.Int("port"))
	if err != nil {
		return err
	}
	defer server.Close()
	d := demo{program: p.name, url: server.URL(), keep: c.Bool("keep"), out: p.stdout}
	d.level.Set(math.MaxInt)
	lines := newLineWriter(p.stderr)
	defer lines.Flush()
	sample.Register(p.reg)
	return d.run(ctx, p.reg, slog.New(newLogHandler(lines, "text", &d.level, !c.Bool("no-color") && isTerminal(p.stderr))))
}

// demo is one run of the demo.
type demo struct {
	program string // its name
	url     string
	keep    bool
	out     io.Writer
	level   slog.LevelVar // silent while the table is printed
	client  *client.Client
}

// run starts the worker and plays the producer.
func (d *demo) run(ctx context.Context, reg *tasks.Registry, log *slog.Logger) (err error) {
	conf := settings.Default()
	useEmbedded(conf, d.url)
	w, err := app.NewWorker(ctx, reg, conf, app.Options{Logger: log, WithoutMingle: true})
	if err != nil {
		return err
	}
	producer, err := app.Open(ctx, conf)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, producer.Close()) }()
	d.client = producer.Client
	running, stopWorker := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(running) }()
	defer func() {
		stopWorker()
		err = errors.Join(err, <-ended)
	}()
	if err := d.show(ctx); err != nil || !d.keep {
		return err
	}
	d.level.Set(slog.LevelInfo)
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		ended <- err
		return errors.New("the worker has stopped")
	}
}

// show sends the tasks and prints what becomes of them.
func (d *demo) show(ctx context.Context) error {
	fmt.Fprintf(d.out, "\nApium demo: a Redis, a worker and a producer, all in this process and in memory.\n"+
		"For trying out only; the Redis is at %s\n\n", d.url)
	fmt.Fprintf(d.out, row, "CALL", "TIME", "RESULT")
	add := canvas.Sig("demo.add", 2, 3)
	calls := []demoCall{
		{"demo.add(2, 3)", add},
		{"demo.echo('Grüße, κόσμε')", canvas.Sig("demo.echo", "Grüße, κόσμε")},
		{"demo.echo(value=[1.0, None, True])", canvas.Sig("demo.echo").Kw(map[string]any{"value": []any{1.0, nil, true}})},
		{"demo.fail('no tea left', 'ValueError')", canvas.Sig("demo.fail", "no tea left", "ValueError")},
		{"demo.add(2)", canvas.Sig("demo.add", 2)},
		{"demo.add(2, 3)  countdown=1", add.Set(canvas.Countdown(time.Second))},
		{"demo.unknown()", canvas.Sig("demo.unknown")},
	}
	for _, call := range calls {
		if err := d.call(ctx, call); err != nil {
			return err
		}
	}
	if err := d.many(ctx); err != nil {
		return err
	}
	d.farewell()
	return nil
}

// demoCall is a call and what Python calls it.
type demoCall struct {
	text string
	sig  canvas.Signature
}

func (d *demo) call(ctx context.Context, call demoCall) error {
	start := time.Now()
	result, err := d.client.Send(ctx, call.sig)
	if err != nil {
		return err
	}
	var value any
	var text string
	err = result.Get(ctx, &value)
	var exception *protocol.Exception
	switch {
	case errors.As(err, &exception):
		text = exception.Error()
	case err != nil:
		return err
	default:
		text = pythonRepr(value)
	}
	fmt.Fprintf(d.out, row, call.text, milliseconds(time.Since(start)), text)
	return nil
}

// many sends a batch of tasks and adds up what they took.
func (d *demo) many(ctx context.Context) error {
	calls := make([]canvas.Signature, demoMany)
	for i := range calls {
		calls[i] = canvas.Sig("demo.add", i, i)
	}
	start := time.Now()
	results, err := d.client.SendAll(ctx, calls...)
	if err != nil {
		return err
	}
	right := 0
	for i, result := range results {
		var sum int
		if err := result.Get(ctx, &sum); err != nil {
			return err
		}
		if sum == 2*i {
			right++
		}
	}
	took := time.Since(start)
	fmt.Fprintf(d.out, row, fmt.Sprintf("demo.add(…) × %d", demoMany), milliseconds(took),
		fmt.Sprintf("%d of %d right, %.0f tasks/s", right, demoMany, demoMany/took.Seconds()))
	return nil
}
