// Command gocelery fills a queue (fill N) or works on it (work CONCURRENCY).
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"

	"github.com/gocelery/gocelery"
	"github.com/gomodule/redigo/redis"
)

func main() {
	n, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	pool := &redis.Pool{
		MaxIdle: n + 2,
		Dial:    func() (redis.Conn, error) { return redis.Dial("tcp", os.Getenv("BENCH_REDIS")) },
	}
	client, err := gocelery.NewCeleryClient(gocelery.NewRedisBroker(pool), &gocelery.RedisCeleryBackend{Pool: pool}, n)
	if err != nil {
		log.Fatal(err)
	}
	if os.Args[1] == "fill" {
		for i := range n {
			result, err := client.Delay("bench.add", i, 2)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(result.TaskID)
		}
		return
	}
	client.Register("bench.add", func(x, y int) int { return x + y })
	client.StartWorker()
	select {}
}
