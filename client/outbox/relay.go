package outbox

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/client"
)

// Relay publishes what is in the table until ctx is done, and then returns. It may run in any number of goroutines and
// processes. While database or broker cannot be reached it tries again, and says so in the log.
func (b *Box) Relay(ctx context.Context, db *sql.DB, c *client.Client) {
	pause := b.options.Every
	for ctx.Err() == nil {
		n, err := b.relay(ctx, db, c)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			b.options.Logger.ErrorContext(ctx, "outbox: messages are not published yet", "error", err, "again_in", pause)
		case n == portion:
			continue
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-b.wake:
		case <-timer.C:
		}
		timer.Stop()
		if pause = b.options.Every; err != nil {
			pause = max(pause, errorPause)
		}
	}
}

// errorPause is how long is waited at least after an error that is not the first.
const errorPause = 5 * time.Second

// relay publishes a portion, and returns how many rows that were.
func (b *Box) relay(ctx context.Context, db *sql.DB, c *client.Client) (n int, err error) {
	// What is published must be noted, also if ctx is done meanwhile.
	noting, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseLasts)
	defer cancel()
	held, err := b.claim(noting, db)
	if err != nil {
		return 0, err
	}
	if len(held.rows) > 0 {
		err = b.publish(ctx, noting, held, c)
	}
	return len(held.rows), errors.Join(err, held.end(noting))
}

// publish publishes rows in one call, or one by one if any of them is refused.
func (b *Box) publish(ctx, noting context.Context, held *claim, c *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, publishWithin)
	defer cancel()
	var all []broker.Publication
	var ids []any
	bad := false
	for i := range held.rows {
		r := &held.rows[i]
		all, ids, bad = append(all, r.messages(time.Now())...), append(ids, r.id), bad || r.bad != nil
	}
	if !bad {
		err := c.Publish(ctx, all...)
		if err == nil {
			return b.remove(noting, held, ids)
		}
		if broker.Refusals(err) == nil {
			return err
		}
	}
	for i := range held.rows {
		r := &held.rows[i]
		err := r.bad
		if err == nil {
			err = c.Publish(ctx, r.messages(time.Now())...)
		}
		switch {
		case err == nil:
			err = b.remove(noting, held, []any{r.id})
		case r.bad != nil || broker.Refusals(err) != nil:
			b.options.Logger.ErrorContext(ctx, "outbox: a message is refused, and stays in the table", "id", r.id, "error", err)
			err = b.refuse(noting, held, r.id, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// messages are those of a row, as they are to be published now: what counts from when they were made is less by now.
func (r *row) messages(now time.Time) []broker.Publication {
	age := max(now.Sub(r.At), 0)
	for i := range r.Publications {
		p := &r.Publications[i]
		p.Delay = max(p.Delay-age, 0)
		if left := &p.Message.Properties.Expiration; *left > 0 {
			*left = max(*left-age, time.Millisecond)
		}
	}
	r.At = r.At.Add(age)
	return r.Publications
}
