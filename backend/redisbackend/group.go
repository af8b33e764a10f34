package redisbackend

import (
	"context"
	"errors"
	"fmt"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/backend"
)

// SaveGroup implements backend.Groups. Unlike GroupResult.save it does not publish
// the record as well: nobody can subscribe to groups.
func (b *Backend) SaveGroup(ctx context.Context, groupID string, document []byte) error {
	encoded, err := b.encode(document)
	if err != nil {
		return fmt.Errorf("redisbackend: the record of group %s: %w", groupID, err)
	}
	return b.set(ctx, b.groupKey(groupID, ""), encoded, b.expires)
}

// LoadGroup implements backend.Groups.
func (b *Backend) LoadGroup(ctx context.Context, groupID string) ([]byte, error) {
	packed, err := redis.Bytes(b.pipe.Do(ctx, "GET", b.groupKey(groupID, "")))
	if errors.Is(err, redis.ErrNil) {
		return nil, fmt.Errorf("%w for group %s", backend.ErrNotFound, groupID)
	}
	if err != nil {
		return nil, b.error(err)
	}
	document, err := b.decode(packed)
	if err != nil {
		return nil, fmt.Errorf("redisbackend: the record of group %s: %w: %w", groupID, backend.ErrUnreadable, err)
	}
	return document, nil
}

// DeleteGroup implements backend.Groups.
func (b *Backend) DeleteGroup(ctx context.Context, groupID string) error {
	return b.delete(ctx, b.groupKey(groupID, ""))
}

// LoadMany implements backend.Loader.
func (b *Backend) LoadMany(ctx context.Context, taskIDs ...string) ([][]byte, error) {
	records := make([][]byte, 0, len(taskIDs))
	for len(taskIDs) > 0 {
		n := min(len(taskIDs), maxGroup)
		packed, err := redis.ByteSlices(b.pipe.Do(ctx, "MGET", b.keys(taskIDs[:n])...))
		if err != nil {
			return nil, b.error(err)
		}
		for i, p := range packed {
			record, err := b.decode(p)
			if err != nil {
				return nil, fmt.Errorf("redisbackend: the record of task %s: %w: %w", taskIDs[i], backend.ErrUnreadable, err)
			}
			records = append(records, record)
		}
		taskIDs = taskIDs[n:]
	}
	return records, nil
}

// Forget implements backend.Loader.
func (b *Backend) Forget(ctx context.Context, taskIDs ...string) error {
	for len(taskIDs) > 0 {
		n := min(len(taskIDs), maxGroup)
		if err := b.delete(ctx, b.keys(taskIDs[:n])...); err != nil {
			return err
		}
		taskIDs = taskIDs[n:]
	}
	return nil
}

func (b *Backend) keys(taskIDs []string) []any {
	keys := make([]any, len(taskIDs))
	for i, id := range taskIDs {
		keys[i] = b.key(id)
	}
	return keys
}

// set sets a key for a number of seconds, 0 for ever.
func (b *Backend) set(ctx context.Context, key string, value any, expires int64) error {
	args := []any{key, value}
	if expires > 0 {
		args = append(args, "EX", expires)
	}
	_, err := b.pipe.Do(ctx, "SET", args...)
	return b.error(err)
}

func (b *Backend) delete(ctx context.Context, keys ...any) error {
	_, err := b.pipe.Do(ctx, "DEL", keys...)
	return b.error(err)
}
