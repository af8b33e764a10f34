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
)

func main() {
	url := os.Getenv("JOURNAL")
	journal := &redis.Pool{MaxIdle: 2, Dial: func() (redis.Conn, error) { return redis.DialURL(url) }}
	reg := tasks.NewRegistry()
	registerBatched(reg, journal)
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
