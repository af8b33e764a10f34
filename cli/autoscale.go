package cli

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/worker"
)

// parseAutoscale reads --autoscale: two numbers in either order, or the larger one alone.
// keepAlive is Celery's AUTOSCALE_KEEPALIVE, in seconds.
func parseAutoscale(value, keepAlive string) (worker.Autoscale, error) {
	var bounds []int
	for _, part := range strings.Split(value, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 0 || len(bounds) == 2 {
			return worker.Autoscale{}, fmt.Errorf("expected two comma separated integers or one integer, got '%s'", value)
		}
		bounds = append(bounds, n)
	}
	if len(bounds) == 1 {
		bounds = append(bounds, 0)
	}
	slices.Sort(bounds)
	scale := worker.Autoscale{Max: bounds[1], Min: bounds[0]}
	if scale.Max < 1 {
		return worker.Autoscale{}, fmt.Errorf("the larger number must be at least 1, not %d", scale.Max)
	}
	if keepAlive == "" {
		return scale, nil
	}
	var err error
	if scale.KeepAlive, err = parseSeconds(keepAlive); err != nil {
		return worker.Autoscale{}, fmt.Errorf("AUTOSCALE_KEEPALIVE: %w", err)
	}
	return scale, nil
}

// autoscale is the value of --autoscale; none: it is off.
func autoscale(c *cli.Context) (worker.Autoscale, error) {
	value := c.String("autoscale")
	if value == "" {
		return worker.Autoscale{}, nil
	}
	scale, err := parseAutoscale(value, os.Getenv("AUTOSCALE_KEEPALIVE"))
	if err != nil {
		return scale, fmt.Errorf("invalid value for '--autoscale': %w", err)
	}
	return scale, nil
}
