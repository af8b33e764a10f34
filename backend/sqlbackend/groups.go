package sqlbackend

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol/pyjson"
)

// SaveGroup implements backend.Groups.
func (b *Backend) SaveGroup(ctx context.Context, groupID string, document []byte) error {
	t, err := b.tables(ctx)
	if err != nil {
		return err
	}
	if t.groups.absent != nil {
		return b.said(t.groups.absent)
	}
	result, err := encode(b.codec.results, pyjson.Member(document, "result"))
	if err != nil {
		return fmt.Errorf("sqlbackend: the record of group %s: %w", groupID, err)
	}
	refused, err := b.store(ctx, &t.groups, []*row{{id: groupID, result: result, now: time.Now()}})
	return b.said(errors.Join(append(refused, err)...))
}

// LoadGroup implements backend.Groups.
func (b *Backend) LoadGroup(ctx context.Context, groupID string) ([]byte, error) {
	t, err := b.tables(ctx)
	if err != nil {
		return nil, err
	}
	if t.groups.absent != nil {
		return nil, b.said(fmt.Errorf("%w for group %s", backend.ErrNotFound, groupID))
	}
	var stored []byte
	var contentType, contentEncoding string
	columns, into := []string{"result"}, []any{&stored}
	if b.layout.kind == Django {
		columns, into = append(columns, "content_type", "content_encoding"), append(into, &contentType, &contentEncoding)
	}
	d := b.db.Dialect
	query := d.Bind("SELECT " + d.Quoted(columns...) + " FROM " + t.groups.full(d) + " WHERE " + d.Quote(t.groups.key) + " = ?")
	err = b.db.Retry(ctx, func(ctx context.Context) error { return b.db.QueryRowContext(ctx, query, groupID).Scan(into...) })
	if errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("%w for group %s", backend.ErrNotFound, groupID)
	}
	if err := b.said(err); err != nil {
		return nil, err
	}
	var result []byte
	if b.layout.kind == Django {
		result, err = decodeText(contentType, contentEncoding, stored)
	} else {
		result, err = decode(b.codec.serializer, stored)
	}
	if err != nil {
		return nil, fmt.Errorf("sqlbackend: the record of group %s: %w", groupID, err)
	}
	return append(append([]byte(`{"result": `), result...), '}'), nil
}

// DeleteGroup implements backend.Groups.
func (b *Backend) DeleteGroup(ctx context.Context, groupID string) error {
	t, err := b.tables(ctx)
	if err != nil {
		return err
	}
	if t.groups.upsert == nil {
		return nil
	}
	return b.delete(ctx, &t.groups, []string{groupID})
}
