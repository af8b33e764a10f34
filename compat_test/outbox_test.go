package compat_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/apium/apium/client"
	"github.com/apium/apium/client/outbox"
	"github.com/apium/apium/internal/sqltest"
	"github.com/apium/apium/protocol/canvas"
)

// TestOutbox: what a transaction has committed reaches a Python worker, and its results are those that Send has told; what
// was rolled back does not.
func TestOutbox(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	a := s.app()
	shop := s.connect(t)
	database := sqltest.New(t, sqltest.PostgreSQL)
	db, box := database.Open(t), outbox.New(outbox.PostgreSQL, outbox.Options{Every: 10 * time.Millisecond})
	database.Exec(t, box.DDL())
	send := func(sig canvas.Signature, commit bool) *client.AsyncResult {
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		result, err := box.Send(t.Context(), tx, shop.Client, sig)
		if err != nil {
			t.Fatal(err)
		}
		end := tx.Rollback
		if commit {
			end = tx.Commit
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		return result
	}
	none := send(canvas.Sig("tapp.add", 0, 0), false)
	one := send(canvas.Sig("tapp.add", 1, 2), true)
	chain := send(canvas.Chain(canvas.Sig("tapp.add", 1, 2), canvas.Sig("tapp.add", 10)), true)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); box.Relay(ctx, db, shop.Client) }()
	defer func() { stop(); <-ended }()
	a.startWorker(t)
	var results []any
	a.run(t, &results, fmt.Sprintf("import json, tapp; r = tapp.app.AsyncResult; print(json.dumps([r(%q).get(timeout=120), r(%q).get(timeout=120), r(%q).state]))",
		one.ID, chain.ID, none.ID))
	if got := fmt.Sprint(results); got != "[3 13 PENDING]" {
		t.Errorf("results %s", got)
	}
}
