package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/broker/membroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// startShop runs a worker with some tasks in this process, and returns a client of it.
// In a real program both connect to Redis: redisbroker.OpenPublisher and redisbackend.New
// make the Publisher and the Loader.
func startShop(ctx context.Context) *client.Client {
	var broker membroker.Broker
	results := membackend.New()

	reg := tasks.NewRegistry()
	reg.Register("shop.price", func(item string) (int, error) {
		price, ok := map[string]int{"tea": 3, "pot": 20}[item]
		if !ok {
			return 0, tasks.Raise("LookupError", "no "+item+" left")
		}
		return price, nil
	}, tasks.Params("item"))
	reg.Register("shop.total", func(prices []int) (total int) {
		for _, price := range prices {
			total += price
		}
		return total
	}, tasks.Params("prices"))
	discount.Register(reg)

	w, err := worker.New(worker.Config{
		Registry: reg, Consumer: broker.Consumer("celery"), Publisher: broker.Publisher(), Store: results,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	go w.Run(ctx)
	c, err := client.New(client.Config{Publisher: broker.Publisher(), Loader: results})
	if err != nil {
		panic(err)
	}
	return c
}

func ExampleCall() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := startShop(ctx)

	price, err := client.Call[int](ctx, c, "shop.price", "tea")
	fmt.Println(price, err)

	_, err = client.Call[int](ctx, c, "shop.price", "cup")
	var exception *protocol.Exception
	if errors.As(err, &exception) {
		fmt.Println(exception.Type, string(exception.Message))
	}
	// Output:
	// 3 <nil>
	// LookupError ["no cup left"]
}

func ExampleClient_Send() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := startShop(ctx)

	order := canvas.Chain(
		canvas.Group(canvas.Sig("shop.price", "tea"), canvas.Sig("shop.price", "pot")),
		canvas.Sig("shop.total"),
		canvas.Sig("shop.discount", 50),
	)
	result, err := c.Send(ctx, order)
	if err != nil {
		panic(err)
	}
	var total int
	err = result.Get(ctx, &total)
	fmt.Println(total, err)

	var prices []int
	err = result.Parent().Get(ctx, &prices) // the group's
	fmt.Println(prices, err)
	// Output:
	// 11 <nil>
	// [3 20] <nil>
}
