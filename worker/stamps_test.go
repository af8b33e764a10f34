package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// stamp gives a task stamps, as a JSON object; those that names tell are stamped headers.
func stamp(stamps string, names ...string) func(*protocol.Task) {
	return func(task *protocol.Task) { task.StampedHeaders, task.Stamps = names, []byte(stamps) }
}

// Tasks are revoked by the values of their stamped headers.
func TestRevokedByStamps(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*protocol.Task)
		runs   bool
	}{
		{"value", stamp(`{"tenant": "seven"}`, "tenant"), false},
		{"one of several", stamp(`{"other": 1, "tenant": ["six", "seven"]}`, "other", "tenant"), false},
		{"number", stamp(`{"n": 5}`, "n"), false},
		{"text that looks like it", stamp(`{"n": "5"}`, "n"), true},
		{"other value", stamp(`{"tenant": "eight"}`, "tenant"), true},
		{"other header", stamp(`{"user": "seven"}`, "user"), true},
		{"not a stamped header", stamp(`{"tenant": "seven"}`), true},
		{"no object", stamp(`5`, "tenant"), true},
		{"none", func(*protocol.Task) {}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.echoes("app.do")
				b.start()
				b.w.Operations().RevokeByStamps(map[string][]json.RawMessage{"tenant": {json.RawMessage(`"seven"`)}, "n": {json.RawMessage("5")}})
				b.sendChanged(named("do"), tt.change)
				if tt.runs {
					b.wantResult("do", "SUCCESS []")
				} else {
					b.wantResult("do", `REVOKED {"exc_type": "TaskRevokedError", "exc_message": ["revoked"], "exc_module": "celery.exceptions"}`)
					b.wantLog("Discarding revoked task: app.do[do]")
					b.wantEvents("received", "revoked TaskRevokedError")
				}
				b.wantQueued(0, 0)
			})
		})
	}
}

// Tasks that run are stopped by their stamps, and no others.
func TestTerminatedByStamps(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.wait", func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(time.Minute):
				return nil
			}
		}, tasks.Params(""))
		b.start()
		b.sendChanged(named("wait"), stamp(`{"tenant": ["six", "seven"], "n": 1}`, "tenant", "n"))
		b.sendChanged(named("wait").Set(), func(task *protocol.Task) { task.ID = "other"; stamp(`{"tenant": "eight"}`, "tenant")(task) })
		found, err := b.w.Operations().TerminateByStamps(15, map[string][]json.RawMessage{
			"tenant": {json.RawMessage(`"seven"`), json.RawMessage(`"nine"`)}, "n": {json.RawMessage("2")},
		})
		if got := fmt.Sprintf("%s", found); got != `map[tenant:["seven"]]` || err != nil {
			t.Errorf("found by %s, %v", got, err)
		}
		b.sleep(2 * time.Minute)
		b.wantResult("wait", `REVOKED {"exc_type": "TaskRevokedError", "exc_message": ["terminated"], "exc_module": "celery.exceptions"}`)
		b.wantResult("other", "SUCCESS null")
	})
}

// Revocations of others count from when they are heard of.
func TestRevokedElsewhere(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.RevokeExpires = time.Hour
		b.echoes("app.do")
		b.start()
		b.w.Operations().MergeRevoked()
		b.w.Operations().MergeRevoked("do", "other")
		if got := fmt.Sprint(b.w.Operations().Revoked()); got != "[do other]" {
			t.Errorf("revoked: %s", got)
		}
		b.wantResult("do", "") // it may run anywhere
		b.send(named("do"))
		b.wantLog("Discarding revoked task: app.do[do]")
		b.sleep(2 * time.Hour)
		if got := b.w.Operations().Revoked(); len(got) != 0 {
			t.Errorf("after their time %q are revoked", got)
		}
	})
}
