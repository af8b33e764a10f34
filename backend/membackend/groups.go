package membackend

import (
	"bytes"
	"context"
	"fmt"

	"github.com/apium/apium/backend"
)

// SaveGroup implements backend.Groups.
func (b *Backend) SaveGroup(ctx context.Context, groupID string, document []byte) error {
	return b.locked(ctx, func() error {
		b.groups[groupID] = bytes.Clone(document)
		return nil
	})
}

// LoadGroup implements backend.Groups.
func (b *Backend) LoadGroup(ctx context.Context, groupID string) (document []byte, err error) {
	err = b.locked(ctx, func() error {
		saved, ok := b.groups[groupID]
		if !ok {
			return fmt.Errorf("%w for group %s", backend.ErrNotFound, groupID)
		}
		document = bytes.Clone(saved)
		return nil
	})
	return document, err
}

// DeleteGroup implements backend.Groups.
func (b *Backend) DeleteGroup(ctx context.Context, groupID string) error {
	return b.locked(ctx, func() error {
		delete(b.groups, groupID)
		return nil
	})
}

// LoadMany implements backend.Loader.
func (b *Backend) LoadMany(ctx context.Context, taskIDs ...string) ([][]byte, error) {
	records := make([][]byte, len(taskIDs))
	err := b.locked(ctx, func() error {
		for i, id := range taskIDs {
			records[i] = bytes.Clone(b.records[id])
		}
		return nil
	})
	return records, err
}

// Forget implements backend.Loader.
func (b *Backend) Forget(ctx context.Context, taskIDs ...string) error {
	return b.locked(ctx, func() error {
		for _, id := range taskIDs {
			delete(b.records, id)
		}
		return nil
	})
}
