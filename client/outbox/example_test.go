package outbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"

	"github.com/apium/apium/broker/membroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/client/outbox"
	"github.com/apium/apium/protocol/canvas"
)

// An order and its task: both, or neither.
func ExampleBox_Send() {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	dir, err := os.MkdirTemp("", "outbox")
	must(err)
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", filepath.Join(dir, "shop.sqlite3"))
	must(err)
	defer db.Close()
	var queues membroker.Broker
	c, err := client.New(client.Config{Publisher: queues.Publisher()})
	must(err)
	ctx, stop := context.WithCancel(context.Background())

	box := outbox.New(outbox.SQLite, outbox.Options{})
	_, err = db.ExecContext(ctx, box.DDL()+"; CREATE TABLE orders (id INTEGER PRIMARY KEY)")
	must(err)
	for _, paid := range []bool{true, false} {
		tx, err := db.BeginTx(ctx, nil)
		must(err)
		_, err = tx.ExecContext(ctx, "INSERT INTO orders DEFAULT VALUES")
		must(err)
		_, err = box.Send(ctx, tx, c, canvas.Sig("shop.tasks.charge", "order"))
		must(err)
		if paid {
			must(tx.Commit())
		} else {
			must(tx.Rollback())
		}
	}

	fmt.Println(queues.Len("celery"), "message before the relay")
	ended := make(chan struct{})
	go func() { defer close(ended); box.Relay(ctx, db, c) }()
	for queues.Len("celery") == 0 {
		box.Wake()
	}
	stop()
	<-ended
	fmt.Println(queues.Len("celery"), "message after it")
	// Output:
	// 0 message before the relay
	// 1 message after it
}
