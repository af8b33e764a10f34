package batches_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/broker/membroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/tasks/batches"
	"github.com/apium/apium/worker"
)

type mail struct{ To, Subject string }

// sendAll sends all mails over one connection.
func sendAll(_ context.Context, items []batches.Item[mail]) ([]batches.Result[string], error) {
	fmt.Println("a connection for", len(items), "mails")
	results := make([]batches.Result[string], len(items))
	for i, item := range items {
		if item.Args.To == "" {
			results[i].Err = tasks.Raise("ValueError", "nobody")
			continue
		}
		results[i].Value = "sent to " + item.Args.To
	}
	return results, nil
}

// Three calls of a task are one call of its handler, and each has its own result.
func ExampleRegister() {
	reg := tasks.NewRegistry()
	batches.Register(reg, "shop.tasks.mail", sendAll, batches.Options{Every: 3, Within: time.Minute})

	var queues membroker.Broker
	results := membackend.New()
	w, err := worker.New(worker.Config{
		Registry: reg, Consumer: queues.Consumer("celery"), Publisher: queues.Publisher(), Store: results,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()

	c, err := client.New(client.Config{Publisher: queues.Publisher(), Loader: results})
	if err != nil {
		panic(err)
	}
	var sent []*client.AsyncResult
	for _, to := range []string{"ann@example.com", "", "bob@example.com"} {
		result, err := c.Send(ctx, canvas.Sig("shop.tasks.mail").Kw(map[string]any{"to": to, "subject": "tea"}))
		if err != nil {
			panic(err)
		}
		sent = append(sent, result)
	}
	for _, result := range sent {
		var text string
		err := result.Get(ctx, &text)
		fmt.Printf("%q %v\n", text, err)
	}
	stop()
	fmt.Println(<-ended)
	// Output:
	// a connection for 3 mails
	// "sent to ann@example.com" <nil>
	// "" ValueError: nobody
	// "sent to bob@example.com" <nil>
	// <nil>
}
