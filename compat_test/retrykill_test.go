package compat_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestKillDuringRetries kills our workers while tasks that are acknowledged late retry,
// at once, after a countdown and automatically. Each of them comes to its end.
func TestKillDuringRetries(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(0), journal: server.url(1), module: "features"}
	const n, kills = 400, 8
	a.run(t, nil, `
import sys, features
tasks = features.app.tasks
again = lambda options: [["sleep", 0.01], ["retry", options]]
done = [["return", "done"]]
with features.app.producer_pool.acquire() as producer:
    for i in range(int(sys.argv[1])):
        plan = [[again({"countdown": 0})], [again({"countdown": 0.3, "priority": 3})], [again({"countdown": 0.1, "max_retries": 9})]][i % 3]
        name = "features.late"
        if i % 4 == 3:
            name, plan = "features.auto_late", [[["sleep", 0.01], ["raise", "ValueError", "bad"]]]
        # The last attempts are all the same: a redelivered message counts for one more.
        tasks[name].apply_async([plan + plan + [done]], task_id="t%d" % i, producer=producer)
`, fmt.Sprint(n))
	victims := [2]*process{}
	for i := range victims {
		victims[i] = startWorker(t, a, "-c", "4", "-n", fmt.Sprintf("w%d@host", i))
	}
	for i := range kills {
		before := server.journalLen(t, "ran")
		eventually(t, patience, "work goes on", func() bool {
			return server.journalLen(t, "ran") > before+20+rand.IntN(60) || server.idle(t, "celery")
		})
		victims[i%2].kill()
		victims[i%2] = startWorker(t, a, "-c", "4", "-n", fmt.Sprintf("k%d@host", i))
	}
	eventually(t, patience, "all messages are settled", func() bool { return server.idle(t, "celery") })
	for i := range n {
		id := fmt.Sprintf("t%d", i)
		raw, _ := server.do(t, "GET", "celery-task-meta-"+id).([]byte)
		var record struct {
			Status string
			Result any
		}
		if err := json.Unmarshal(raw, &record); err != nil || record.Status != "SUCCESS" || record.Result != "done" {
			t.Errorf("task %s: %s", id, raw)
		}
	}
	ran := server.journalLen(t, "ran")
	t.Logf("%d tasks of 3 attempts, %d kills: %d runs", n, kills, ran)
	if ran > 3*n+kills*8*3 {
		t.Errorf("%d runs of %d tasks: more than what was running was run again", ran, n)
	}
}
