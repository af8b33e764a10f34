package compat_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
	uniquetasks "github.com/apium/apium/tasks/unique"
)

// TestSingleton: producers in Python, with celery-singleton, and in Go share locks, which a worker of either kind gives up.
func TestSingleton(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	a := s.app()
	shop := s.connect(t)
	locks, err := uniquetasks.Open(s.url(0))
	if err != nil {
		t.Fatal(err)
	}
	defer locks.Close()
	locks.Task("singleton.price", uniquetasks.Options{For: time.Hour})
	var calls []singletonCall
	a.run(t, &calls, "import json, singleton; print(json.dumps(singleton.CALLS))")

	theirs := a.sendSingletons(t) // Python first, then Go
	if ours, sent := sendSingletons(t, locks, shop.Client, calls); !slices.Equal(ours, theirs) || sent != 0 {
		t.Errorf("%d were sent from Go, beside Python's:\nPython %q\nGo     %q", sent, theirs, ours)
	}
	a.variables = []string{"LOCKS=" + s.url(0)} // where celery-singleton has them: it says nothing else
	worker := startOptional(t, a)
	locksGone := func() bool {
		return s.idle(t, "celery") && len(s.strings(t, "KEYS", uniquetasks.SingletonPrefix+"*")) == 0
	}
	eventually(t, patience, "our worker has given up all locks", locksGone)
	worker.kill()

	ours, sent := sendSingletons(t, locks, shop.Client, calls) // Go first, then Python
	if theirs = a.sendSingletons(t); !slices.Equal(ours, theirs) || sent != len(calls) {
		t.Errorf("%d were sent from Go, before Python's:\nPython %q\nGo     %q", sent, theirs, ours)
	}
	a.module = "singleton"
	a.startWorker(t)
	eventually(t, patience, "Celery's worker has given up all locks", locksGone)
	for i, id := range ours {
		if err := shop.Result(id).Get(t.Context(), nil); err != nil {
			t.Errorf("%s: %v", calls[i], err)
		}
	}
}

// singletonCall is the arguments of a call: a list and a dict.
type singletonCall [2]json.RawMessage

func (a app) sendSingletons(t *testing.T) (ids []string) {
	t.Helper()
	a.run(t, &ids, "import json, singleton; print(json.dumps(singleton.send(singleton.CALLS)))")
	return ids
}

// sendSingletons sends calls from Go and returns the ids of what is queued, and how many were sent.
func sendSingletons(t *testing.T, locks *uniquetasks.Locks, c *client.Client, calls []singletonCall) (ids []string, sent int) {
	t.Helper()
	for _, call := range calls {
		var args []any
		var kwargs map[string]any
		if err := pyjson.Unmarshal(call[0], &args); err != nil {
			t.Fatal(err)
		}
		if err := pyjson.Unmarshal(call[1], &kwargs); err != nil {
			t.Fatal(err)
		}
		result, fresh, err := locks.Send(t.Context(), c, canvas.Sig("singleton.price", args...).Kw(kwargs))
		if err != nil {
			t.Fatal(fmt.Errorf("%s: %w", call, err))
		}
		ids = append(ids, result.ID)
		if fresh {
			sent++
		}
	}
	return ids, sent
}
