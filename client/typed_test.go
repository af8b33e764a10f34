package client_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/broker/membroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

type discountArgs struct {
	Total   int
	Percent int `celery:"percent,10"`
}

// What a task is defined with is what registers and what calls it.
var discount = tasks.Define("shop.discount", func(_ context.Context, args discountArgs) (int, error) {
	if args.Percent > 100 {
		return 0, tasks.Raise("ValueError", "more than all of it")
	}
	return args.Total * (100 - args.Percent) / 100, nil
})

func Example_typed() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := startShop(ctx) // it has discount.Register(reg)

	result, err := discount.Delay(ctx, c, discountArgs{Total: 80, Percent: 25})
	if err != nil {
		panic(err)
	}
	total, err := result.Get(ctx)
	fmt.Println(total, err)

	_, err = discount.Call(ctx, c, discountArgs{Total: 80, Percent: 125})
	fmt.Println(err)

	sum, err := c.Send(ctx, canvas.Chain(canvas.Sig("shop.total", []int{3, 7}), discount.Partial(discountArgs{Percent: 50})))
	if err != nil {
		panic(err)
	}
	total, err = client.Get[int](ctx, sum)
	fmt.Println(total, err)
	// Output:
	// 60 <nil>
	// ValueError: more than all of it
	// 5 <nil>
}

// A typed result is the client's own.
func TestTypedResult(t *testing.T) {
	t.Parallel()
	var broker membroker.Broker
	var sent *protocol.Task
	c, err := client.New(client.Config{
		Publisher: broker.Publisher(), Loader: membackend.New(), AfterPublish: func(_ context.Context, task *protocol.Task) { sent = task },
	})
	if err != nil {
		t.Fatal(err)
	}
	result, err := discount.Delay(t.Context(), c, discountArgs{Total: 1, Percent: 2}, canvas.Queue("shop"))
	if err != nil {
		t.Fatal(err)
	}
	own, ok := result.Untyped.(*client.AsyncResult)
	if !ok || own.ID != result.ID || sent.ID != result.ID || sent.RoutingKey != "shop" {
		t.Errorf("%+v, sent %+v", result, sent)
	}
	if _, err := discount.Delay(t.Context(), c, discountArgs{}, canvas.Opt("shadow", make(chan int))); err == nil {
		t.Error("what cannot be written was sent")
	}
}
