package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// GroupResult stands for the results of a group's tasks.
type GroupResult struct {
	ID      string
	Members []*AsyncResult // in order; some may be groups

	result *AsyncResult // the same as the result of what was sent
}

// Parent returns the result of what ran before the group; nil if nothing did.
func (g *GroupResult) Parent() *AsyncResult { return g.result.parent }

// Join waits until all tasks are done and decodes their results into out, a pointer to a
// slice or nil, in order and nested as the groups are. If tasks failed, the error is the
// *protocol.Exception of the first of them in that order.
func (g *GroupResult) Join(ctx context.Context, out any) error {
	c := g.result.client
	switch {
	case c.cfg.Loader == nil:
		return ErrNoBackend
	case tasks.Shadowed(ctx):
		return tasks.ErrShadow
	}
	ids := g.taskIDs()
	raw, err := backend.WaitAll(ctx, c.cfg.Loader, ids...)
	if err != nil {
		return fmt.Errorf("client: group %s: %w", g.ID, err)
	}
	results := make(map[string]json.RawMessage, len(ids))
	for i, id := range ids {
		record, err := protocol.DecodeResult(raw[i])
		if err != nil {
			return fmt.Errorf("client: record of task %s: %w", id, err)
		}
		var value json.RawMessage
		if err := c.Result(id).decode(record, &value); err != nil {
			return err
		}
		results[id] = value
	}
	if out == nil {
		return nil
	}
	if err := pyjson.Unmarshal(g.append(nil, results), out); err != nil {
		return fmt.Errorf("client: results of group %s: %w", g.ID, err)
	}
	return nil
}

// append writes the results of the members as a JSON array.
func (g *GroupResult) append(dst []byte, results map[string]json.RawMessage) []byte {
	dst = append(dst, '[')
	for _, member := range g.Members {
		dst = pyjson.AppendComma(dst)
		if member.group != nil {
			dst = member.group.append(dst, results)
		} else {
			dst = append(dst, results[member.ID]...)
		}
	}
	return append(dst, ']')
}

// taskIDs are those of all tasks in the group and in the groups in it, in order.
func (g *GroupResult) taskIDs() (ids []string) {
	for _, member := range g.Members {
		ids = append(ids, member.taskIDs()...)
	}
	return ids
}

// Ready says whether all tasks are done.
func (g *GroupResult) Ready(ctx context.Context) (bool, error) {
	done, err := g.count(ctx, protocol.State.Ready)
	return done == len(g.taskIDs()), err
}

// Successful says whether all tasks have succeeded.
func (g *GroupResult) Successful(ctx context.Context) (bool, error) {
	done, err := g.CompletedCount(ctx)
	return done == len(g.taskIDs()), err
}

// Failed says whether any task has failed.
func (g *GroupResult) Failed(ctx context.Context) (bool, error) {
	failed, err := g.count(ctx, func(s protocol.State) bool { return s == protocol.Failure })
	return failed > 0, err
}

// CompletedCount returns how many tasks have succeeded.
func (g *GroupResult) CompletedCount(ctx context.Context) (int, error) {
	return g.count(ctx, func(s protocol.State) bool { return s == protocol.Success })
}

// count reads all records in one round trip.
func (g *GroupResult) count(ctx context.Context, is func(protocol.State) bool) (n int, err error) {
	loader := g.result.client.cfg.Loader
	if loader == nil {
		return 0, ErrNoBackend
	}
	records, err := loader.LoadMany(ctx, g.taskIDs()...)
	if err != nil {
		return 0, fmt.Errorf("client: group %s: %w", g.ID, err)
	}
	for _, record := range records {
		if record == nil {
			continue
		}
		state, err := backend.State(record)
		if err != nil {
			return 0, fmt.Errorf("client: a record of group %s: %w", g.ID, err)
		}
		if is(state) {
			n++
		}
	}
	return n, nil
}

// Save stores which tasks the group is made of, for [Client.RestoreGroup] and for
// Python's GroupResult.restore.
func (g *GroupResult) Save(ctx context.Context) error {
	c := g.result.client
	if c.backend.Groups == nil {
		return ErrNoChords
	}
	if tasks.Shadowed(ctx) {
		return nil
	}
	record := append(g.result.appendTuple([]byte(`{"result": `)), '}')
	if err := c.backend.Groups.SaveGroup(ctx, g.ID, record); err != nil {
		return fmt.Errorf("client: save group %s: %w", g.ID, err)
	}
	return nil
}

// Delete deletes what Save has stored.
func (g *GroupResult) Delete(ctx context.Context) error {
	c := g.result.client
	if c.backend.Groups == nil {
		return ErrNoChords
	}
	if tasks.Shadowed(ctx) {
		return nil
	}
	if err := c.backend.Groups.DeleteGroup(ctx, g.ID); err != nil {
		return fmt.Errorf("client: delete group %s: %w", g.ID, err)
	}
	return nil
}

// Forget deletes the records of all tasks in the group.
func (g *GroupResult) Forget(ctx context.Context) error {
	alone := AsyncResult{ID: g.ID, client: g.result.client, group: g}
	return alone.Forget(ctx)
}

// RestoreGroup returns a group that was saved here or by Python. It returns
// backend.ErrNotFound if there is none of that id.
func (c *Client) RestoreGroup(ctx context.Context, id string) (*GroupResult, error) {
	if c.backend.Groups == nil {
		return nil, ErrNoChords
	}
	raw, err := c.backend.Groups.LoadGroup(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("client: group %s: %w", id, err)
	}
	var record struct{ Result json.RawMessage }
	if err = pyjson.Unmarshal(raw, &record); err == nil {
		var result *AsyncResult
		if result, err = c.decodeTuple(record.Result); err == nil && result.group != nil {
			return result.group, nil
		}
	}
	return nil, fmt.Errorf("client: the record of group %s is none of a group: %w", id, errors.Join(err, backend.ErrUnreadable))
}
