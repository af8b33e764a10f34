package app_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apium/apium/app"
	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
)

// A program sends tasks to Python and Go workers and reads what comes of them.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conf := settings.Default()
	conf.BrokerURL, conf.ResultBackend = "redis://localhost:6379/0", "redis://localhost:6379/0"
	shop, err := app.Open(ctx, conf)
	if err != nil {
		panic(err)
	}
	defer shop.Close()

	// As shop.tasks.price.delay("tea").get() does.
	price, err := client.Call[int](ctx, shop.Client, "shop.tasks.price", "tea")
	var exception *protocol.Exception
	if errors.As(err, &exception) && exception.Type == "LookupError" {
		fmt.Println("no tea:", exception)
		return
	}
	fmt.Println(price, err)

	// As chord([price.s("tea"), price.s("pot")], total.s()).apply_async(countdown=10) does.
	sum, err := shop.Send(ctx, canvas.Chord(
		[]canvas.Signature{canvas.Sig("shop.tasks.price", "tea"), canvas.Sig("shop.tasks.price", "pot")},
		canvas.Sig("shop.tasks.total"),
	), canvas.Countdown(10*time.Second))
	if err != nil {
		panic(err)
	}
	var total int
	err = sum.Get(ctx, &total)
	fmt.Println(total, err)
}
