package app

import (
	"context"

	"github.com/apium/apium/beat"
	"github.com/apium/apium/beat/schedule"
)

// List connects, and returns all entries with their last and next runs.
func (b *Beat) List(ctx context.Context) ([]beat.Listed, error) {
	publisher, err := b.places.OpenPublisher(ctx)
	if err != nil {
		return nil, connectionError(err, RoleBroker, b.places.Written)
	}
	defer func() { _ = publisher.Close() }() // nothing was published
	slots, err := b.slots(publisher)
	if err != nil {
		return nil, &ConfigError{err}
	}
	deadline := schedule.NoDeadline
	if given := b.conf.BeatCronStartingDeadline; given != nil {
		deadline = *given
	}
	return beat.List(ctx, b.sources, slots, b.opts.Schedule, deadline)
}

// SendNow connects, and sends what an entry calls, whatever its schedule says; that goes on as if nothing had
// been sent. It returns the id of the task, or a *beat.UnknownError.
func (b *Beat) SendNow(ctx context.Context, entry string) (id string, err error) {
	sig, err := beat.Signature(ctx, b.sources, entry)
	if err != nil {
		return "", err
	}
	publisher, err := b.places.OpenPublisher(ctx)
	if err != nil {
		return "", connectionError(err, RoleBroker, b.places.Written)
	}
	defer func() { _ = publisher.Close() }() // it has been published by then
	producer, err := b.producer(publisher, b.opts.Registry)
	if err != nil {
		return "", &ConfigError{err}
	}
	result, err := producer.Send(ctx, sig)
	if err != nil {
		return "", err
	}
	return result.ID, nil
}
