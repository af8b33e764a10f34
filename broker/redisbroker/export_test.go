package redisbroker

import "context"

// Sweep runs one visibility sweep now.
func (c *Consumer) Sweep(ctx context.Context) error { return c.sweep(ctx) }

// ForgetBeat has a consumer not know what is parked: somebody has just parked it, or changed when it is due.
func (c *Consumer) ForgetBeat() { c.known.learn(saw{}, 0) }

// ID returns the worker's id, the start of its tags.
func (c *Consumer) ID() string { return c.id }

// TagsOf returns the tags of a worker's claims.
func (c *Consumer) TagsOf(ctx context.Context, id string) ([]string, error) { return c.tagsOf(ctx, id) }

// DecodeEntry returns the message of a record.
func DecodeEntry(record []byte) ([]byte, error) {
	e, err := decodeEntry(record)
	return e.raw, err
}

// MoveMissing does what a sweep does of a tag for which it has found no record.
func (c *Consumer) MoveMissing(ctx context.Context, tag string) error {
	_, err := c.move(ctx, moveOptions{parkedOf: "q"}, []move{{tag: tag, index: c.keys.parked("q")}})
	return err
}
