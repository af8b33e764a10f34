package redisbackend

import (
	"context"
	"fmt"
	"slices"

	"github.com/gomodule/redigo/redis"
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
	return b.get(ctx, b.groupKey(groupID, ""), "group", groupID)
}

// DeleteGroup implements backend.Groups.
func (b *Backend) DeleteGroup(ctx context.Context, groupID string) error {
	return b.delete(ctx, b.groupKey(groupID, ""))
}

// LoadMany implements backend.Loader.
func (b *Backend) LoadMany(ctx context.Context, taskIDs ...string) ([][]byte, error) {
	records := make([][]byte, 0, len(taskIDs))
	for batch := range slices.Chunk(taskIDs, maxGroup) {
		packed, err := redis.ByteSlices(b.pipe.Do(ctx, "MGET", b.keys(batch)...))
		if err != nil {
			return nil, b.error(err)
		}
		for i, p := range packed {
			record, err := b.readable(p, "task", batch[i])
			if err != nil {
				return nil, err
			}
			records = append(records, record)
		}
	}
	return records, nil
}

// Forget implements backend.Loader.
func (b *Backend) Forget(ctx context.Context, taskIDs ...string) error {
	for batch := range slices.Chunk(taskIDs, maxGroup) {
		if err := b.delete(ctx, b.keys(batch)...); err != nil {
			return err
		}
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
