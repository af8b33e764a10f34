package control_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func contains(text, part string) bool { return strings.Contains(text, part) }

func ids(list ...string) string { return `{"task_id": ["` + strings.Join(list, `", "`) + `"]}` }

func terminating(signal string, list ...string) string {
	return strings.TrimSuffix(ids(list...), "}") + `, "terminate": true, "signal": "` + signal + `"}`
}

func (b *bench) sleep(d time.Duration) { time.Sleep(d); synctest.Wait() }

func TestRevoke(t *testing.T) {
	inBubble(t, func(_ *testing.T, b *bench) {
		b.registerSleepers()
		b.start()
		b.call("revoke", ids("before"))
		b.wantState("before", revokedState("revoked")) // at once
		b.send(call{ID: "before", Task: "app.sleep", Args: []any{1}})
		b.wantLog("Discarding revoked task: app.sleep[before]")

		running := b.send(call{Task: "app.sleep", Args: []any{10}})
		other := b.send(call{Task: "app.sleep", Args: []any{10}})
		reserved := b.send(call{Task: "app.sleep", Args: []any{10}})
		scheduled := b.send(call{Task: "app.sleep", Args: []any{10}, Countdown: 5 * time.Second})
		b.call("revoke", ids(running, reserved, scheduled))
		b.wantState(running, "") // it runs, and goes on
		b.wantState(reserved, revokedState("revoked"))
		b.wantState(scheduled, revokedState("revoked"))
		b.sleep(10 * time.Second)
		b.wantState(running, "SUCCESS null")
		b.wantState(other, "SUCCESS null")
		b.wantState(reserved, revokedState("revoked"))
		b.wantState(scheduled, revokedState("revoked"))
		b.wantLog("Discarding revoked task: app.sleep[" + reserved + "]")
		b.wantLog("Discarding revoked task: app.sleep[" + scheduled + "]")
		b.want("active", "", "[]")

		b.call("revoke", ids(running))
		b.wantState(running, "SUCCESS null") // for ever
	})
}

func TestTerminate(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.registerSleepers()
		b.start()
		obeys := b.send(call{Task: "app.sleep", Args: []any{60}})
		late := b.send(call{Task: "app.late", Args: []any{60}})
		reserved := b.send(call{Task: "app.sleep", Args: []any{60}})
		b.want("revoke", terminating("SIGTERM", obeys, late, reserved), fmt.Sprintf(`{"ok": "terminate: %s, %s, %s"}`, obeys, late, reserved))
		b.wantLog("Terminating " + obeys + " (15)")
		b.wantState(obeys, revokedState("terminated"))
		b.wantState(late, revokedState("terminated"))
		b.wantState(reserved, revokedState("revoked"))
		if n := b.broker.Leased(); n != 0 {
			t.Errorf("%d messages are leased", n)
		}
		b.wantLog("Discarding revoked task: app.sleep[" + reserved + "]")

		stubborn := b.send(call{Task: "app.stubborn", Args: []any{60}})
		killed := b.send(call{Task: "app.stubborn", Args: []any{60}})
		b.call("revoke", terminating("TERM", stubborn))
		b.call("revoke", terminating("KILL", killed))
		b.sleep(0)
		b.wantState(killed, revokedState("terminated"))
		b.wantState(stubborn, "") // it may still return
		b.sleep(time.Second)
		b.wantState(stubborn, revokedState("terminated"))
		b.want("active", "", "[]")
		if s := b.w.Stats(); s.Abandoned != 2 {
			t.Errorf("%d handlers are abandoned, want 2", s.Abandoned)
		}
		b.sleep(time.Minute)
		b.wantState(stubborn, revokedState("terminated"))
	})
}

func TestRevokeByStamps(t *testing.T) {
	inBubble(t, func(_ *testing.T, b *bench) {
		b.registerSleepers()
		b.start()
		stamped := func(value any, seconds int) string {
			return b.send(call{Task: "app.sleep", Args: []any{seconds}, Stamps: map[string]any{"mystamp": value}})
		}
		running := stamped([]any{"v1", "v0"}, 60)
		other := stamped("v2", 60)
		reserved := stamped("v1", 1)
		b.want("revoke_by_stamped_headers", `{"headers": {"mystamp": ["v1"]}, "terminate": true}`,
			`{"ok": "headers defaultdict(<class 'set'>, {'mystamp': {'v1'}}) revoked"}`)
		b.wantState(running, revokedState("terminated"))
		b.wantState(other, "")
		b.wantState(reserved, revokedState("revoked"))
		b.wantLog("Discarding revoked task: app.sleep[" + reserved + "] (revoked by header: {'mystamp': 'v1'})")
		b.want("revoke_by_stamped_headers", `{"headers": ["mystamp=v2"]}`, `{"ok": "headers {'mystamp': 'v2'} flagged as revoked, but not terminated"}`)
		b.sleep(time.Minute)
		b.wantState(other, "SUCCESS null")
	})
}
