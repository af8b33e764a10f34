package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/membroker"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

const revokedRecord = `REVOKED {"exc_type": "TaskRevokedError", "exc_message": ["revoked"], "exc_module": "celery.exceptions"}`

// A task that is revoked has the state REVOKED at once, unless it runs or has run.
func TestRevokedStateIsStoredAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		release := make(chan struct{})
		b.reg.Register("app.wait", func() { <-release })
		b.start()
		b.send(named("wait"))
		for id, document := range map[string]string{
			"done":     `{"status": "SUCCESS", "result": 1, "traceback": null, "children": [], "task_id": "done"}`,
			"received": `{"status": "RECEIVED", "result": null, "traceback": null, "children": [], "task_id": "received"}`,
			"own":      `{"status": "PROGRESS", "result": null, "traceback": null, "children": [], "task_id": "own"}`,
			"broken":   `{`,
		} {
			if err := b.results.Store(t.Context(), backend.Record{TaskID: id, Document: []byte(document)}); err != nil {
				t.Fatal(err)
			}
		}
		b.w.Operations().Revoke(t.Context(), "wait", "done", "received", "own", "broken", "nobody")
		b.w.Operations().Revoke(t.Context(), "done")
		b.wantResult("wait", "")
		b.wantResult("done", "SUCCESS 1")
		b.wantResult("received", revokedRecord)
		b.wantResult("own", "PROGRESS null")
		b.wantResult("nobody", revokedRecord)
		if got := b.record("nobody"); got != `{"status": "REVOKED", "result": `+revokedRecord[len("REVOKED "):]+`, "traceback": null, "children": null, "task_id": "nobody"}` {
			t.Errorf("record = %s", got)
		}
		close(release)
		b.sleep(time.Second)
		b.wantResult("wait", "SUCCESS null") // it ran, and went on
	})
}

// away is a backend that cannot be read, or cannot be written to.
type away struct {
	*membackend.Backend
	reading, writing error
}

func (a *away) LoadMany(ctx context.Context, ids ...string) ([][]byte, error) {
	if a.reading != nil {
		return nil, a.reading
	}
	return a.Backend.LoadMany(ctx, ids...)
}

func (a *away) Store(ctx context.Context, records ...backend.Record) error {
	if a.writing != nil {
		return a.writing
	}
	return a.Backend.Store(ctx, records...)
}

// unkept is a broker that does not find what it keeps for later.
type unkept struct{ broker.Consumer }

func (unkept) Park(context.Context, ...broker.Parked) ([]string, error) { return nil, nil }
func (unkept) Due(ctx context.Context, _ time.Time, _ int) ([]broker.Delivery, error) {
	return nil, errors.New("the broker is away")
}

func (unkept) Recall(context.Context, ...string) ([]broker.Delivery, error) {
	return nil, errors.New("the broker is away")
}

// What cannot be stored of a revocation is told to the log; the task does not run all the same.
func TestRevokingWithoutABackend(t *testing.T) {
	for name, a := range map[string]*away{
		"reading": {reading: errors.New("the backend is away")}, "writing": {writing: errors.New("the backend is away")},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				a.Backend = b.results
				b.cfg.Store = a
				l := b.echoes("app.do")
				b.start()
				b.w.Operations().Revoke(t.Context(), "do")
				b.wantLog("Failed to mark tasks as revoked in backend: the backend is away")
				a.reading, a.writing = nil, nil
				b.send(named("do"))
				b.wantResult("do", revokedRecord)
				l.want(t)
			})
		})
	}
}

func TestRevokingWithoutTheBroker(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.Consumer = unkept{b.broker.Consumer(queue)}
		b.echoes("app.do")
		b.start()
		b.w.Operations().Revoke(t.Context(), "do")
		b.wantLog("Cannot discard revoked tasks before they are due: the broker is away")
		b.wantLog("Cannot look for parked messages: the broker is away. Trying again")
	})
}

// Stamps that were revoked are known to the next worker, too.
func TestStateDBOfStamps(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.StateDB = filepath.Join(t.TempDir(), "state")
		earlier, err := worker.New(worker.Config{Registry: tasks.NewRegistry(), Consumer: new(membroker.Broker).Consumer(queue), StateDB: b.cfg.StateDB})
		if err != nil {
			t.Fatal(err)
		}
		earlier.Operations().RevokeByStamps(map[string][]json.RawMessage{"tenant": {json.RawMessage(`"seven"`)}})
		l := b.echoes("app.do")
		b.start()
		b.sendChanged(named("do"), stamp(`{"tenant": "seven"}`, "tenant"))
		b.wantResult("do", revokedRecord)
		b.sendChanged(canvas.Sig("app.do").Set(canvas.TaskID("other")), stamp(`{"tenant": "eight"}`, "tenant"))
		l.want(t, "app.do []")
	})
}
