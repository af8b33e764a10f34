package gossip

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/worker"
)

// mingleTimeout is how long a worker waits for one more neighbor, as in Celery.
const mingleTimeout = time.Second

// Mingle exchanges revoked ids and the logical clock with all workers that answer. It
// waits a second for them.
func Mingle(ctx context.Context, w *worker.Worker, ask *control.Client, log *slog.Logger) error {
	log.Info("mingle: searching for neighbors")
	arguments, err := pyjson.Append(nil, map[string]any{"from_node": w.Hostname(), "revoked": w.Operations().Revoked()})
	if err != nil {
		return fmt.Errorf("mingle: %w", err)
	}
	replies, err := ask.Ask(ctx, control.Question{Command: "hello", Arguments: arguments, Timeout: mingleTimeout}, nil)
	var neighbors []control.Reply
	for _, reply := range replies {
		if reply.Node != w.Hostname() && pyjson.Kind(reply.Value) != 'n' {
			neighbors = append(neighbors, reply)
		}
	}
	if err != nil {
		err = fmt.Errorf("mingle: %w", err)
	}
	if len(neighbors) == 0 {
		log.Info("mingle: all alone")
		return err
	}
	log.Info(fmt.Sprintf("mingle: sync with %d nodes", len(neighbors)), logline.EventKey, "mingle: sync", "nodes", len(neighbors))
	var revoked []string
	for _, reply := range neighbors {
		log.Debug("mingle: processing reply from "+reply.Node, logline.EventKey, "mingle: processing a reply", "node", reply.Node)
		ids, err := syncWith(w, reply.Value)
		if err != nil {
			log.Error(fmt.Sprintf("mingle: sync with %s failed: %v", reply.Node, err),
				logline.EventKey, "mingle: sync failed", "node", reply.Node, "error", err)
		}
		revoked = append(revoked, ids...)
	}
	w.Operations().MergeRevoked(revoked...) // all at once: it writes the state file
	log.Info("mingle: sync complete")
	return err
}

// syncWith takes over a neighbor's clock, and returns the ids it knows to be revoked.
func syncWith(w *worker.Worker, reply []byte) ([]string, error) {
	var hello struct {
		Clock   int64           `json:"clock"`
		Revoked json.RawMessage `json:"revoked"`
	}
	if err := pyjson.Unmarshal(reply, &hello); err != nil {
		return nil, err
	}
	ids, err := revokedIDs(hello.Revoked)
	if err != nil {
		return nil, err
	}
	w.Clock().Adjust(hello.Clock)
	return ids, nil
}

// revokedIDs reads ids in their order: a list, or before Celery 5.7 an object whose values
// are times on the neighbor's clock.
func revokedIDs(raw []byte) (ids []string, err error) {
	if raw == nil || pyjson.Kind(raw) == 'n' {
		return nil, nil
	}
	if pyjson.Kind(raw) == '[' {
		err = pyjson.Unmarshal(raw, &ids)
		return ids, err
	}
	for id := range pyjson.Members(raw) {
		ids = append(ids, id)
	}
	return ids, pyjson.Valid(raw)
}
