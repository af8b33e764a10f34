package unique_test

import (
	"context"
	"fmt"
	"time"

	"github.com/apium/apium/broker/membroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/internal/embedded"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks/unique"
)

// The second of two calls that are alike is not sent while the first is queued.
func ExampleLocks_Send() {
	redis, err := embedded.Start(0)
	if err != nil {
		panic(err)
	}
	defer redis.Close()
	locks, err := unique.Open(redis.URL())
	if err != nil {
		panic(err)
	}
	defer locks.Close()
	locks.Task("shop.tasks.price", unique.Options{For: time.Hour})

	var queues membroker.Broker
	c, err := client.New(client.Config{Publisher: queues.Publisher()})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	first, sent, err := locks.Send(ctx, c, canvas.Sig("shop.tasks.price", "tea"))
	fmt.Println(sent, err)
	second, sent, err := locks.Send(ctx, c, canvas.Sig("shop.tasks.price", "tea"))
	fmt.Println(sent, err, second.ID == first.ID)
	_, sent, err = locks.Send(ctx, c, canvas.Sig("shop.tasks.price", "milk"))
	fmt.Println(sent, err)
	// Output:
	// true <nil>
	// false <nil> true
	// true <nil>
}
