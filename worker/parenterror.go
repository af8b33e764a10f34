package worker

import (
	"context"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// parentError returns the exception of whatever made the first failed task of a result tuple fail: the
// first of those before it that has failed, which AsyncResult.get raises instead of its own. If none is
// known, it is err.
func (c *chords) parentError(ctx context.Context, tree []byte, err error) error {
	ids := protocol.TaskIDs(nil, tree)
	if failed, _ := c.firstFailed(ctx, ids); failed != "" {
		parents, _ := before(tree, failed)
		if _, parent := c.firstFailed(ctx, parents); parent != nil {
			return parent
		}
	}
	return err
}

// firstFailed returns the first of some tasks that has failed, and its exception; "": there is none, or the
// backend does not say.
func (c *chords) firstFailed(ctx context.Context, ids []string) (failed string, exception error) {
	if len(ids) == 0 {
		return "", nil
	}
	records, _ := c.loader.LoadMany(ctx, ids...)
	for i, record := range records {
		if result, err := protocol.DecodeResult(record); record != nil && err == nil && result.State.Ready() && result.State != protocol.Success {
			return ids[i], joinError(ids[i], result.Result)
		}
	}
	return "", nil
}

// before returns the tasks that ran before one of a result tuple, the first of them in front. found tells
// whether the tuple has that one.
func before(tuple []byte, id string) (ids []string, found bool) {
	parts := pyjson.Elements(tuple)
	if len(parts) != 2 {
		return nil, false
	}
	for _, child := range pyjson.Elements(parts[1]) {
		if ids, found = before(child, id); found {
			return ids, true
		}
	}
	own := pyjson.Elements(parts[0])
	if len(own) != 2 || pyjson.Text(own[0]) != id {
		return nil, false
	}
	return lineage(own[1]), true
}

// lineage returns the tasks of a result tuple, after those that ran before it.
func lineage(tuple []byte) (ids []string) {
	parts := pyjson.Elements(tuple)
	if len(parts) != 2 {
		return nil
	}
	if own := pyjson.Elements(parts[0]); len(own) == 2 {
		ids = lineage(own[1])
	}
	return protocol.TaskIDs(ids, tuple)
}
