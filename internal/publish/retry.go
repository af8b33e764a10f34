package publish

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
)

// Policy is how publishing is tried again: as a policy says, unless retry is false, and as the
// retry and retry_policy options of a call change that.
func Policy(policy broker.RetryPolicy, retry bool, call *canvas.Publish) (broker.RetryPolicy, error) {
	if call.Retry != nil {
		if err := pyjson.Unmarshal(call.Retry, &retry); err != nil {
			return policy, fmt.Errorf("retry: %w", err)
		}
	}
	if !retry {
		return broker.RetryPolicy{}, nil
	}
	if call.RetryPolicy == nil {
		return policy, nil
	}
	var given map[string]any
	if err := pyjson.Unmarshal(call.RetryPolicy, &given); err != nil {
		return policy, fmt.Errorf("retry_policy: %w", err)
	}
	for name, value := range given {
		if err := set(&policy, name, value); err != nil {
			return policy, fmt.Errorf("retry_policy: %w", err)
		}
	}
	return policy, nil
}

// set sets a member of a retry_policy. Those that kombu alone has a use for are ignored.
func set(p *broker.RetryPolicy, name string, value any) error {
	if name == "max_retries" && value == nil {
		p.MaxRetries = -1
		return nil
	}
	var number float64
	switch n := value.(type) {
	case int64:
		number = float64(n)
	case float64:
		number = n
	}
	fields := map[string]*time.Duration{
		"interval_start": &p.IntervalStart, "interval_step": &p.IntervalStep, "interval_max": &p.IntervalMax,
	}
	switch field := fields[name]; {
	case number < 0:
		return fmt.Errorf("%s must not be %v", name, value)
	case name == "max_retries":
		p.MaxRetries = int(number)
	case field != nil:
		*field = time.Duration(number * float64(time.Second))
	}
	return nil
}

// Retry calls publish until it succeeds, the policy is exhausted, or trying again is no use.
func Retry(ctx context.Context, p broker.RetryPolicy, publish func() error) error {
	wait := min(p.IntervalStart, p.IntervalMax)
	for retries := 0; ; retries++ {
		err := publish()
		if err == nil || ctx.Err() != nil || isFinal(err) || p.MaxRetries >= 0 && retries >= p.MaxRetries {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
		wait = min(wait+p.IntervalStep, p.IntervalMax)
	}
}

// isFinal says that trying again is no use.
func isFinal(err error) bool {
	return errors.Is(err, broker.ErrClosed) || broker.Refusals(err) != nil
}
