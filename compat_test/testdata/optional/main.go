// Command optional serves Go twins of tasks that need packages which the worker of the other tests is without.
package main

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/cli"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/tasks/batches"
	"github.com/apium/apium/tasks/unique"
)

func main() {
	url := os.Getenv("JOURNAL")
	journal := &redis.Pool{MaxIdle: 2, Dial: func() (redis.Conn, error) { return redis.DialURL(url) }}
	reg := tasks.NewRegistry()
	registerBatched(reg, journal)
	if url := os.Getenv("LOCKS"); url != "" {
		registerSingleton(reg, url)
	}
	cli.Main(reg)
}

// registerBatched adds the tasks of testdata/app/batched.py.
func registerBatched(reg *tasks.Registry, journal *redis.Pool) {
	double := func(_ context.Context, items []batches.Item[int]) ([]batches.Result[int], error) {
		results, numbers := make([]batches.Result[int], len(items)), make([]string, len(items))
		for i, item := range items {
			results[i].Value, numbers[i] = 2*item.Args, strconv.Itoa(item.Args)
		}
		conn := journal.Get()
		defer conn.Close()
		_, err := conn.Do("RPUSH", "batches", strings.Join(numbers, " "))
		return results, err
	}
	batches.Register(reg, "batched.double", double, batches.Options{Every: 3, Within: time.Hour})
	batches.Register(reg, "batched.soon", double, batches.Options{Every: 100, Within: 200 * time.Millisecond})
	batches.Register(reg, "batched.slowly", double, batches.Options{Every: 100, Within: time.Hour})
}

// registerSingleton adds the task of testdata/app/singleton.py.
func registerSingleton(reg *tasks.Registry, url string) {
	locks, err := unique.Open(url)
	if err != nil {
		panic(err)
	}
	locks.Task("singleton.price", unique.Options{For: time.Hour})
	reg.Connect(locks.Hooks())
	reg.Register("singleton.price", func(args []any, kwargs map[string]any) []any { return []any{args, kwargs} }, tasks.Params("*args, **kwargs"))
}
