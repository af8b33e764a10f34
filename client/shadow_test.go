package client_test

import (
	"context"
	"errors"
	"testing"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// What a shadow sends, or changes otherwise, goes nowhere: it is told what it would be told, and does not wait in vain.
func TestShadowSendsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(cfg *client.Config) {
		cfg.BeforePublish = func(_ context.Context, task *protocol.Task) { t.Errorf("%s is about to be published", task.Name) }
	})
	if err := r.results.Store(t.Context(), backend.Record{TaskID: "kept", Document: []byte(`{"status": "SUCCESS", "result": 1, "task_id": "kept"}`)}); err != nil {
		t.Fatal(err)
	}
	ctx := tasks.ShadowContext(t.Context())
	c := r.client
	one, err := c.Delay(ctx, "a", 1)
	if err != nil || one.ID == "" {
		t.Fatalf("sent: %v, %v", one, err)
	}
	group, err := c.Send(ctx, canvas.Chord([]canvas.Signature{canvas.Sig("a"), canvas.Sig("b")}, canvas.Sig("c")))
	if err != nil || group.Parent() == nil {
		t.Fatalf("sent: %v, %v", group, err)
	}
	if _, err := c.SendAll(ctx, canvas.Sig("a"), canvas.Sig("b")); err != nil {
		t.Error(err)
	}
	if err := c.Publish(ctx, broker.Publication{RoutingKey: "celery"}); err != nil {
		t.Error(err)
	}
	header := group.Parent().Group()
	for what, err := range map[string]error{
		"get": one.Get(ctx, nil), "join": header.Join(ctx, nil), "watch": second(one.Watch(ctx, nil)), "prepare": second(c.Prepare(ctx, canvas.Sig("a"))),
	} {
		if !errors.Is(err, tasks.ErrShadow) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, err := range map[string]error{"forget": c.Result("kept").Forget(ctx), "save": header.Save(ctx), "delete": header.Delete(ctx)} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if state, err := c.Result("kept").State(ctx); state != protocol.Success || err != nil {
		t.Errorf("what it forgets is %s, %v", state, err)
	}
	if _, err := c.RestoreGroup(ctx, header.ID); err == nil {
		t.Error("it has saved a group")
	}
	if n := r.broker.Len("celery"); n > 0 {
		t.Errorf("%d messages", n)
	}
}

func second[T any](_ T, err error) error { return err }
