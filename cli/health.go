package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/operate/metrics"
)

const (
	// defaultMetricsAddr is the address in all examples.
	defaultMetricsAddr = ":9808"
	// answersWithin is how long a worker may take to say how it is.
	answersWithin = 5 * time.Second
)

func (p *program) healthCommand() *cli.Command {
	return &cli.Command{
		Name:  "health",
		Usage: "ask a worker or a beat at its metrics address whether it is ready, for health checks",
		Description: "It asks /readyz, which says whether it is connected and at work; with --live /livez, which says whether the process answers.\n" +
			"Where there is no shell and no curl, as in a container with nothing but this program, that is a health check.",
		Flags: []cli.Flag{
			&cli.StringFlag{
				Name: "metrics-addr", Value: defaultMetricsAddr, Usage: "`[HOST]:PORT` given to the worker as --metrics-addr",
				EnvVars: []string{"CELERY_WORKER_METRICS_ADDR", "CELERY_BEAT_METRICS_ADDR", "APIUM_METRICS_ADDR"},
			},
			&cli.BoolFlag{Name: "live", Usage: "whether the process answers, whatever its broker does", DisableDefaultText: true},
			&cli.GenericFlag{Name: "timeout", Aliases: []string{"t"}, Value: new(seconds(answersWithin)), Usage: "`SECONDS` to wait for an answer"},
		},
		Action: p.runHealth,
	}
}

func (p *program) runHealth(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	address, page := metrics.Address(c.String("metrics-addr")), "/readyz"
	if c.Bool("live") {
		page = "/livez"
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return usage(c, fmt.Errorf("invalid value for '--metrics-addr': %w", err), false)
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1" // who serves all serves this machine
		if ip.To4() == nil {
			host = "::1"
		}
	}
	ctx, cancel := context.WithTimeout(c.Context, cmp.Or(flagSeconds(c, "timeout"), answersWithin))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+page, http.NoBody)
	if err != nil {
		return usage(c, err, false)
	}
	response, err := (&http.Client{Transport: &http.Transport{}}).Do(request) // never by way of a proxy
	if err != nil {
		return &unavailableError{err}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1000))
	if err != nil {
		return &unavailableError{err}
	}
	answer := strings.TrimSpace(string(text))
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", response.Status, answer)
	}
	fmt.Fprintln(p.stdout, answer)
	return nil
}
