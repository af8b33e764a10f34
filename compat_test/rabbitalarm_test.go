package compat_test

import (
	"testing"

	"github.com/apium/apium/internal/rabbittest"
)

// TestAlarmHoldsUpPublishersAlone has RabbitMQ short of memory, while a worker has a task that sends another one and many
// that send nothing. These have their results and are acknowledged meanwhile, which makes room, with Celery's worker and with
// ours; the other one goes on when the broker does.
func TestAlarmHoldsUpPublishersAlone(t *testing.T) {
	t.Parallel()
	rabbit := rabbittest.Start(t) // no other test is to be held up
	starts := map[string]func(t *testing.T, a app) *process{
		"celery":   func(t *testing.T, a app) *process { return a.startWorker(t, "-c", "2") },
		"go":       func(t *testing.T, a app) *process { return startWorker(t, a, "-c", "2") },
		"children": func(t *testing.T, a app) *process { return a.startChildren(t, "-c", "2") },
	}
	apps := map[string]app{}
	servers := map[string]*redisServer{}
	ids := map[string][]string{} // of the chain's first and second task, and the others
	for name := range starts {
		servers[name] = startRedis(t)
		servers[name].vhost = rabbit.VHost(t)
		apps[name] = servers[name].app()
		var sent []string
		apps[name].run(t, &sent, `
import json
import tapp
from celery import chain

second = chain(tapp.add.s(1, 2), tapp.add.s(3)).apply_async()
print(json.dumps([second.parent.id, second.id] + [tapp.add.delay(i, 1).id for i in range(40)]))
`)
		ids[name] = sent
	}
	rabbit.Alarm(t)
	for name, start := range starts {
		start(t, apps[name])
	}
	stored := func(name, id string) bool {
		return servers[name].int(t, "EXISTS", "celery-task-meta-"+id) == 1
	}
	for name := range starts {
		for _, id := range ids[name][2:] {
			eventually(t, patience, name+": a task that sends nothing has its result", func() bool { return stored(name, id) })
		}
		eventually(t, patience, name+": it is acknowledged", func() bool { return servers[name].messages(t, "celery") <= 2 })
	}
	rabbit.Calm(t)
	for name := range starts {
		eventually(t, patience, name+": the chain has ended", func() bool {
			return stored(name, ids[name][1]) && servers[name].messages(t, "celery") == 0
		})
	}
}
