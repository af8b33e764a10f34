package control_test

import (
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

// told is a task as active, reserved and scheduled tell of it.
type told struct {
	ID           string         `json:"id"`
	Name         string         `json:"name"`
	Type         string         `json:"type"`
	Hostname     string         `json:"hostname"`
	Args         any            `json:"args"`
	Kwargs       any            `json:"kwargs"`
	TimeStart    *float64       `json:"time_start"`
	Acknowledged bool           `json:"acknowledged"`
	DeliveryInfo map[string]any `json:"delivery_info"`
	WorkerPID    *int           `json:"worker_pid"`
}

func (b *bench) wantTold(what string, got told, c call, id string, started bool) {
	b.t.Helper()
	delivery := map[string]any{"exchange": "", "routing_key": "celery", "priority": int64(c.Priority), "redelivered": false}
	if got.ID != id || got.Name != c.Task || got.Type != c.Task || got.Hostname != node || fmt.Sprint(got.Args) != fmt.Sprint(c.Args) ||
		fmt.Sprint(got.DeliveryInfo) != fmt.Sprint(delivery) || (got.TimeStart != nil) != started || (got.WorkerPID != nil) != started {
		b.t.Errorf("%s: %+v", what, got)
	}
	if started && (*got.WorkerPID != os.Getpid() || *got.TimeStart != float64(time.Now().Unix())) {
		b.t.Errorf("%s: pid %d, started at %f", what, *got.WorkerPID, *got.TimeStart)
	}
}

func TestInspectTasks(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.registerSleepers()
		b.start()
		calls := []call{
			{Task: "app.sleep", Args: []any{60}},
			{Task: "app.late", Args: []any{60}, Priority: 3},
			{Task: "app.sleep", Args: []any{60}},
			{Task: "app.sleep", Args: []any{60}, Countdown: 5 * time.Second},
			{Task: "app.late", Args: []any{60}, Countdown: time.Hour}, // so far ahead that it is parked
		}
		var ids []string
		for _, c := range calls {
			ids = append(ids, b.send(c))
		}
		active := get[[]told](b, "active", "")
		if len(active) != 2 {
			t.Fatalf("active: %+v", active)
		}
		if active[0].ID != ids[0] { // both started at the same time
			active[0], active[1] = active[1], active[0]
		}
		b.wantTold("active", active[0], calls[0], ids[0], true)
		b.wantTold("active", active[1], calls[1], ids[1], true)
		if !active[0].Acknowledged || active[1].Acknowledged {
			t.Error("acknowledged early and late are mixed up")
		}
		if safe := get[[]told](b, "active", `{"safe": true}`); safe[0].Args != "(60,)" || safe[0].Kwargs != "{}" {
			t.Errorf("active safe: %+v", safe)
		}
		reserved := get[[]told](b, "reserved", "")
		if len(reserved) != 1 {
			t.Fatalf("reserved: %+v", reserved)
		}
		b.wantTold("reserved", reserved[0], calls[2], ids[2], false)
		scheduled := get[[]struct {
			ETA      string `json:"eta"`
			Priority int    `json:"priority"`
			Request  told   `json:"request"`
		}](b, "scheduled", "")
		if n := b.broker.Parked(); n != 1 {
			t.Errorf("%d messages are parked, want 1", n)
		}
		if len(scheduled) != 2 || scheduled[0].Priority != 6 || scheduled[0].ETA != time.Now().Add(5*time.Second).UTC().Format("2006-01-02T15:04:05+00:00") {
			t.Fatalf("scheduled: %+v", scheduled)
		}
		b.wantTold("scheduled", scheduled[0].Request, calls[3], ids[3], false)
		b.wantTold("parked", scheduled[1].Request, calls[4], ids[4], false)
		found := get[map[string][]any](b, "query_task", fmt.Sprintf(`{"ids": ["%s", "%s", "%s", "nope"]}`, ids[1], ids[2], ids[3]))
		if len(found) != 3 || found[ids[1]][0] != "active" || found[ids[2]][0] != "reserved" || found[ids[3]][0] != "scheduled" {
			t.Errorf("query_task: %+v", found)
		}
	})
}

func TestStats(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.registerSleepers()
		b.control.BrokerInfo = map[string]any{"transport": "redis"}
		b.start()
		time.Sleep(1500 * time.Millisecond)
		b.send(call{Task: "app.sleep", Args: []any{1}})
		b.send(call{Task: "app.sleep", Args: []any{60}, Countdown: 5 * time.Second})
		type pool struct {
			Size      int   `json:"max-concurrency"`
			Processes []int `json:"processes"`
			Writes    map[string]any
		}
		stats := get[struct {
			Total    map[string]int
			PID      int `json:"pid"`
			Clock    string
			Uptime   int
			Prefetch int `json:"prefetch_count"`
			Broker   map[string]any
			Pool     pool
			Rusage   map[string]float64
		}](b, "stats", "")
		if stats.Total["app.sleep"] != 1 || stats.PID != os.Getpid() || stats.Clock != "1" || stats.Uptime != 2 || stats.Prefetch != 9 ||
			stats.Broker["transport"] != "redis" || stats.Pool.Size != 2 || len(stats.Pool.Processes) != 2 ||
			fmt.Sprint(stats.Pool.Writes) != "map[all:1.00 avg:1.00 inqueues:map[active:0 total:2] raw:1 strategy:fair total:1]" {
			t.Errorf("stats: %+v", stats)
		}
		if len(stats.Rusage) != 16 || stats.Rusage["maxrss"] == 0 {
			t.Errorf("rusage: %v", stats.Rusage)
		}
	})
}

func TestShutdown(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.registerSleepers()
		b.start()
		id := b.send(call{Task: "app.stubborn", Args: []any{10}})
		if reply := b.call("shutdown", ""); reply != "" {
			t.Errorf("shutdown replied %s", reply)
		}
		b.wantLog("Got shutdown from remote")
		if reply := b.call("ping", ""); reply != "" {
			t.Errorf("a worker that shuts down replied %s", reply)
		}
		b.ended.Wait()
		synctest.Wait()
		b.wantState(id, "SUCCESS null")
	})
}

// What is heard behind a shutdown is not answered.
func TestBehindShutdown(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.start()
		shutdown := protocol.ControlRequest{Method: "shutdown", Arguments: []byte(`{"msg": "bye"}`)}
		ping := protocol.ControlRequest{Method: "ping", Ticket: "ticket", ReplyTo: &protocol.ControlAddress{Exchange: "reply.celery.pidbox", RoutingKey: oid}}
		var messages []broker.Publication
		for _, r := range []protocol.ControlRequest{shutdown, ping} {
			messages = append(messages, broker.Publication{Exchange: "celery.pidbox", Message: r.Encode()})
		}
		if err := b.broker.Broadcaster().Broadcast(t.Context(), messages...); err != nil {
			t.Fatal(err)
		}
		b.ended.Wait()
		if reply := b.reply(); reply != "" {
			t.Errorf("ping replied %s", reply)
		}
		b.wantLog("bye")
	})
}

func TestConf(t *testing.T) {
	inBubble(t, func(_ *testing.T, b *bench) {
		b.control.Settings = func(withDefaults bool) map[string]any {
			settings := map[string]any{
				"broker_url": "redis://joe:hidden@a/0;redis://b/0", "result_backend": "redis://:p@h/1", "redis_password": "hidden",
				"broker_transport_options": map[string]any{"password": "hidden", "sep": ":"}, "__odd": 1, "task_acks_late": true,
				"apium_park_after": 10, "worker_pool_restarts": true, "redbeat_redis_url": "redis://:hidden@r/2",
			}
			if withDefaults {
				settings["odd"] = make(chan int)
			}
			return settings
		}
		b.control.BrokerInfo = map[string]any{"transport": "redis"}
		b.control.Version = "v1"
		b.control.Python = func() (map[string]string, string) {
			return map[string]string{"celery": "5.7.0 (spring)", "kombu": "5.7.1", "py": "3.13.1", "redis": "7", "billiard": "4.3"}, "celery.loaders.app.AppLoader"
		}
		b.start()
		b.want("conf", "", `{"apium_park_after": 10, "broker_transport_options": {"password": "********", "sep": ":"}, `+
			`"broker_url": "redis://joe:********@a/0;redis://b/0", "redbeat_redis_url": "redis://:********@r/2", "redis_password": "********", "result_backend": "redis://:********@h/1", `+
			`"task_acks_late": true, "worker_pool_restarts": true}`)
		if odd := get[map[string]any](b, "conf", `{"with_defaults": true}`)["odd"]; odd == nil {
			b.t.Error("what is no JSON is missing")
		}
		b.want("pool_restart", "", `{"ok": "reload started"}`)
		report := get[map[string]string](b, "report", "")["ok"]
		for _, part := range []string{
			"\nsoftware -> apium:v1 go:", "\n            celery:5.7.0 (spring) kombu:5.7.1 py:3.13.1\n            billiard:4.3 redis:7\nplatform -> ",
			"\nloader   -> celery.loaders.app.AppLoader\n", "settings -> transport:redis results:redis://:********@h/1\n\n", "\ntask_acks_late: True\n",
		} {
			if !contains(report, part) {
				b.t.Errorf("the report lacks %q:\n%s", part, report)
			}
		}
	})
}
