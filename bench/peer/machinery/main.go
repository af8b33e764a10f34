// Command machinery fills a queue (fill N) or works on it (work CONCURRENCY).
package main

import (
	"fmt"
	stdlog "log"
	"os"
	"strconv"

	"github.com/RichardKnop/machinery/v1"
	"github.com/RichardKnop/machinery/v1/config"
	"github.com/RichardKnop/machinery/v1/log"
	"github.com/RichardKnop/machinery/v1/tasks"
)

func main() {
	n, err := strconv.Atoi(os.Args[2])
	if err != nil {
		stdlog.Fatal(err)
	}
	quiet := stdlog.New(os.Stderr, "", 0)
	log.SetWarning(quiet)
	log.SetError(quiet)
	log.SetInfo(discard{})
	log.SetDebug(discard{})
	url := "redis://" + os.Getenv("BENCH_REDIS")
	server, err := machinery.NewServer(&config.Config{
		Broker: url, ResultBackend: url, DefaultQueue: "machinery", ResultsExpireIn: 86400, NoUnixSignals: true,
		Redis: &config.RedisConfig{MaxIdle: 60, MaxActive: 200, NormalTasksPollPeriod: 1, DelayedTasksPollPeriod: 500},
	})
	if err != nil {
		stdlog.Fatal(err)
	}
	if os.Args[1] == "fill" {
		for i := range n {
			result, err := server.SendTask(&tasks.Signature{Name: "bench.add", Args: []tasks.Arg{
				{Type: "int64", Value: i}, {Type: "int64", Value: 2},
			}})
			if err != nil {
				stdlog.Fatal(err)
			}
			fmt.Println(result.Signature.UUID)
		}
		return
	}
	if err := server.RegisterTask("bench.add", func(x, y int64) (int64, error) { return x + y, nil }); err != nil {
		stdlog.Fatal(err)
	}
	stdlog.Fatal(server.NewWorker("bench", n).Launch())
}

// discard is a logger for lines a production worker would not write either.
type discard struct{}

func (discard) Print(...any)              {}
func (discard) Printf(string, ...any)     {}
func (discard) Println(...any)            {}
func (discard) Fatal(v ...any)            { stdlog.Fatal(v...) }
func (discard) Fatalf(f string, v ...any) { stdlog.Fatalf(f, v...) }
func (discard) Fatalln(v ...any)          { stdlog.Fatalln(v...) }
func (discard) Panic(v ...any)            { stdlog.Panic(v...) }
func (discard) Panicf(f string, v ...any) { stdlog.Panicf(f, v...) }
func (discard) Panicln(v ...any)          { stdlog.Panicln(v...) }
