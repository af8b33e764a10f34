package client

import "context"

// Call sends a task, waits for its result and returns it: a remote call.
//
//	sum, err := client.Call[int](ctx, c, "proj.add", 1, 2)
//
// A task that fails gives its Python exception, as a *protocol.Exception.
func Call[T any](ctx context.Context, c *Client, task string, args ...any) (T, error) {
	result, err := c.Delay(ctx, task, args...)
	if err != nil {
		var none T
		return none, err
	}
	return Get[T](ctx, result)
}

// Get is [AsyncResult.Get] that returns the result.
func Get[T any](ctx context.Context, result *AsyncResult) (T, error) {
	var value T
	err := result.Get(ctx, &value)
	return value, err
}
