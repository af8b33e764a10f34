package canvas_test

import (
	"fmt"
	"time"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
)

// A group followed by something becomes a chord, as in Python.
func ExampleChain() {
	order := canvas.Chain(
		canvas.Group(canvas.Sig("shop.price", "tea"), canvas.Sig("shop.price", "pot")),
		canvas.Sig("shop.total"),
	)
	fmt.Println(order.SubtaskType())
	body, _ := order.Body()
	fmt.Println(body.Task())
	// Output:
	// chord
	// shop.total
}

// A signature does not change: what is derived from it is another one.
func ExampleSignature() {
	price := canvas.Sig("shop.price", "tea")
	late := price.Kw(map[string]any{"currency": "EUR"}).Set(canvas.Queue("slow"), canvas.Countdown(time.Minute))
	fmt.Println(string(late.Args()), string(late.Kwargs()), string(late.Option("queue")), string(late.Option("countdown")))
	fmt.Println(string(price.Kwargs()), price.Option("queue") == nil)
	// Output:
	// ["tea"] {"currency": "EUR"} "slow" 60
	// {} true
}

// Apply works out what is to be published, without publishing it: a client and a worker do that.
func ExampleApply() {
	sig := canvas.Chain(canvas.Sig("shop.price", "tea"), canvas.Sig("shop.discount", 50)).LinkError(canvas.Sig("shop.on_error"))
	ids := 0
	plan, err := canvas.Apply(sig, nil, nil, canvas.Environment{
		Now: time.Now(), NewID: func() string { ids++; return fmt.Sprint("id-", ids) },
	})
	if err != nil {
		panic(err)
	}
	for _, step := range plan.Steps {
		first := step.(canvas.Publish).Task // the rest of the chain travels in it
		fmt.Println(first.Name, string(first.Args), first.RoutingKey)
	}
	fmt.Println(plan.Result.Parent != nil) // the result is that of the last step
	// Output:
	// shop.price ["tea"] celery
	// true
}

// Arguments of many calls go out in chunks.
func ExampleChunks() {
	each := canvas.Chunks(canvas.Sig("shop.add"), [][]int{{1, 2}, {3, 4}, {5, 6}}, 2)
	fmt.Println(each.Task(), string(pyjson.Member(each.Kwargs(), "it")), string(pyjson.Member(each.Kwargs(), "n")))
	// Output: celery.chunks [[1, 2], [3, 4], [5, 6]] 2
}
