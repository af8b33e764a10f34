package settings_test

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/apium/apium/settings"
	"github.com/apium/apium/tasks"
)

// Settings are written in Go as in Python, under the names of Celery's settings.
func Example() {
	conf := settings.Default()
	conf.BrokerURL, conf.ResultBackend = "redis://localhost:6379/0", "redis://localhost:6379/1"
	conf.TaskAcksLate = true
	conf.TaskTimeLimit = time.Minute
	conf.WorkerPrefetchMultiplier = new(1)
	conf.BrokerTransportOptions.VisibilityTimeout = 2 * time.Hour
	conf.UnknownTask.Default = tasks.UnknownPolicy{Action: tasks.UnknownForward, Queue: "python"}

	conf.TaskQueues = []settings.Queue{
		{Name: "celery"},
		{Name: "feeds", Exchange: "feeds", ExchangeType: "topic", RoutingKey: "feed.#"},
	}
	conf.TaskRoutes = settings.Routes{
		{Task: "feed.*", Queue: "feeds", RoutingKey: "feed.import"},
		{Regexp: `(video|image)\..*`, Queue: "celery", Priority: new(9)},
	}
	conf.TaskAnnotations = settings.Annotations{
		"feed.fetch": {RateLimit: new("10/s")},
		"*":          {MaxRetries: new(5)},
	}

	conf, err := conf.Resolve()
	if err != nil {
		panic(err)
	}
	queue, err := conf.Queues().Get(conf.TaskRoutes[0].Queue)
	fmt.Println(queue.Exchange, queue.RoutingKey, err)
	fmt.Println(*conf.TaskAnnotations.For("feed.fetch").RateLimit, *conf.TaskAnnotations.For("feed.fetch").MaxRetries)
	// Output:
	// feeds feed.# <nil>
	// 10/s 5
}

// What is wrong is reported all at once, in Celery's names.
func ExampleSettings_Resolve() {
	conf := settings.Default()
	conf.TaskSerializer = "jsn"
	conf.TaskTimeLimit = -time.Second
	conf.TaskRoutes = settings.Routes{{Task: "feed.*", Queue: "feeds", ExchangeType: "topics"}}
	_, err := conf.Resolve()
	fmt.Println(err)
	// Output:
	// 3 problems with the settings:
	//   task_routes: feed.*: exchange_type: 'topics' is not one of direct, topic, fanout. Did you mean 'topic'?
	//   task_serializer: 'jsn' is not one of json, yaml, msgpack, pickle, application/json, application/x-yaml, application/x-msgpack, application/x-python-serialize. Did you mean 'json'?
	//   task_time_limit: must be a number of seconds from 0 to 3153600000, not -1
}

// A file has Celery's names, old or new; the environment wins over it, and Go over both.
func ExampleLoad() {
	dir, err := os.MkdirTemp("", "settings")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "celery.toml")
	if err := os.WriteFile(file, []byte("task_acks_late = true\nCELERYD_CONCURRENCY = 2\n"), 0o600); err != nil {
		panic(err)
	}
	conf, err := settings.Load(settings.Sources{File: file, Environ: []string{"CELERY_TASK_TIME_LIMIT=30"}})
	if err != nil {
		panic(err)
	}
	conf.WorkerConcurrency = 4
	fmt.Println(conf.TaskAcksLate, conf.WorkerConcurrency, conf.TaskTimeLimit, conf.Origin("task_time_limit"))
	// Output: true 4 30s environment: CELERY_TASK_TIME_LIMIT
}
