package python

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol/pyjson"
)

// Results returns a store that keeps records in the app's own result backend, whatever that is:
// a child stores them. It does not count the parts of chords.
func (a *App) Results() backend.Store { return &results{newCalls(a.pool)} }

type results struct{ calls *calls }

// Store implements backend.Store.
func (r *results) Store(ctx context.Context, records ...backend.Record) error {
	body := []byte{'['}
	for i, record := range records {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(append(body, `{"record": `...), record.Document...)
		replyTo, correlationID := record.Address()
		body = pyjson.AppendString(append(body, `, "reply_to": `...), replyTo)
		body = append(pyjson.AppendString(append(body, `, "correlation_id": `...), correlationID), '}')
	}
	a, err := r.calls.run(ctx, []byte(`{"store": true}`), append(body, ']'))
	if err != nil {
		return fmt.Errorf("the app's result backend: %w", err)
	}
	var refused [][2]string
	if err := json.Unmarshal(a.Message, &refused); err != nil {
		return fmt.Errorf("python: cannot read what a child says of its records: %w", err)
	}
	var errs []error
	for _, why := range refused {
		errs = append(errs, &backend.RecordError{TaskID: why[0], Err: errors.New(why[1])})
	}
	return errors.Join(errs...)
}

// Close implements backend.Store.
func (r *results) Close() error {
	r.calls.close()
	return nil
}
