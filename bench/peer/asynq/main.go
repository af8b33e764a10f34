// Command asynq fills a queue (fill N) or works on it (work CONCURRENCY).
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/hibiken/asynq"
)

func main() {
	redis := asynq.RedisClientOpt{Addr: os.Getenv("BENCH_REDIS")}
	n, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	if os.Args[1] == "fill" {
		client := asynq.NewClient(redis)
		for i := range n {
			// Retention keeps the result, as Celery's result_expires does.
			task := asynq.NewTask("bench.add", []byte("["+strconv.Itoa(i)+",2]"), asynq.Retention(24*time.Hour))
			if _, err := client.Enqueue(task); err != nil {
				log.Fatal(err)
			}
		}
		return
	}
	mux := asynq.NewServeMux()
	mux.HandleFunc("bench.add", add)
	server := asynq.NewServer(redis, asynq.Config{Concurrency: n, LogLevel: asynq.WarnLevel})
	if err := server.Run(mux); err != nil {
		log.Fatal(err)
	}
}

func add(_ context.Context, t *asynq.Task) error {
	var args [2]int
	if err := json.Unmarshal(t.Payload(), &args); err != nil {
		return err
	}
	_, err := t.ResultWriter().Write([]byte(strconv.Itoa(args[0] + args[1])))
	return err
}
