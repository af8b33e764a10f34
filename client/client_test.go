package client_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/broker/membroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol"
)

// published sends calls and returns the tasks as a worker decodes them.
func published(t *testing.T, queue string, calls ...client.Call) []*protocol.Task {
	t.Helper()
	b := &membroker.Broker{}
	c, err := client.New(client.Config{Publisher: b.Publisher(), Origin: "gen1@here"})
	if err != nil {
		t.Fatal(err)
	}
	results, err := c.SendAll(t.Context(), calls...)
	if err != nil {
		t.Fatal(err)
	}
	consumer := b.Consumer(queue)
	var decoded []*protocol.Task
	for len(decoded) < len(calls) {
		deliveries, err := consumer.Claim(t.Context(), len(calls))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range deliveries {
			task, err := protocol.DecodeTask(d.Raw, protocol.Accept{})
			if err != nil {
				t.Fatal(err)
			}
			if want := results[len(decoded)].ID; task.ID != want {
				t.Errorf("message %d has id %s, its result %s", len(decoded), task.ID, want)
			}
			decoded = append(decoded, task)
		}
	}
	return decoded
}

func TestSend(t *testing.T) {
	t.Parallel()
	eta := time.Date(2026, 11, 23, 9, 0, 0, 123456000, time.UTC)
	got := published(t, "hipri",
		client.Call{Task: "proj.add", Args: []any{1, "ü"}, Kwargs: map[string]any{"z": 2.0}, Queue: "hipri", ID: "id-1", ETA: eta, Expires: eta.Add(time.Hour), IgnoreResult: true},
		client.Call{Task: "proj.none", Queue: "hipri"},
	)
	first := got[0]
	want := map[string]string{
		"name": "proj.add", "id": "id-1", "root": "id-1", "correlation": "id-1", "args": `[1, "\u00fc"]`, "kwargs": `{"z": 2.0}`,
		"argsrepr": "(1, 'ü')", "kwargsrepr": "{'z': 2.0}", "origin": "gen1@here", "routing": "hipri",
	}
	have := map[string]string{
		"name": first.Name, "id": first.ID, "root": first.RootID, "correlation": first.CorrelationID, "args": string(first.Args),
		"kwargs": string(first.Kwargs), "argsrepr": first.ArgsRepr, "kwargsrepr": first.KwargsRepr, "origin": first.Origin,
		"routing": first.RoutingKey,
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !first.ETA.Equal(eta) || !first.Expires.Equal(eta.Add(time.Hour)) || first.IgnoreResult == nil || !*first.IgnoreResult {
		t.Errorf("eta %v, expires %v, ignore_result %v", first.ETA, first.Expires, first.IgnoreResult)
	}
	second := got[1]
	if string(second.Args) != "[]" || string(second.Kwargs) != "{}" || len(second.ID) != 36 || !second.ETA.IsZero() || second.IgnoreResult != nil {
		t.Errorf("a call without arguments: %+v", second)
	}
}

func TestCountdown(t *testing.T) {
	t.Parallel()
	before := time.Now()
	task := published(t, client.DefaultQueue, client.Call{Task: "proj.add", Countdown: time.Minute})[0]
	if d := task.ETA.Sub(before); d < time.Minute-time.Second || d > time.Minute+10*time.Second {
		t.Errorf("ETA in %v, want a minute", d)
	}
}

func TestMistakenCalls(t *testing.T) {
	t.Parallel()
	c, err := client.New(client.Config{Publisher: (&membroker.Broker{}).Publisher()})
	if err != nil {
		t.Fatal(err)
	}
	for want, call := range map[string]client.Call{
		"needs the task's name":             {},
		"priority 10 is not between":        {Task: "x", Priority: 10},
		"a countdown or an ETA, not both":   {Task: "x", Countdown: 1, ETA: time.Now()},
		"client: task x: arguments":         {Task: "x", Args: []any{make(chan int)}},
		"client: task x: keyword arguments": {Task: "x", Kwargs: map[string]any{"a": func() {}}},
	} {
		if _, err := c.Send(t.Context(), call); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", call, err, want)
		}
	}
	if _, err := client.New(client.Config{}); err == nil {
		t.Error("New without a publisher succeeded")
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	results := membackend.New()
	c, err := client.New(client.Config{Publisher: (&membroker.Broker{}).Publisher(), Loader: results})
	if err != nil {
		t.Fatal(err)
	}
	store := func(id string, r protocol.Result) *client.AsyncResult {
		t.Helper()
		sent, err := c.Send(t.Context(), client.Call{Task: "x", ID: id})
		if err != nil {
			t.Fatal(err)
		}
		r.TaskID = id
		if err := results.Store(t.Context(), backend.Record{TaskID: id, Document: r.Append(nil)}); err != nil {
			t.Fatal(err)
		}
		return sent
	}
	var sum int
	if err := store("ok", protocol.Result{State: protocol.Success, Result: []byte("3")}).Get(t.Context(), &sum); err != nil || sum != 3 {
		t.Errorf("Get = %d, %v", sum, err)
	}
	if err := store("none", protocol.Result{State: protocol.Success}).Get(t.Context(), nil); err != nil {
		t.Errorf("Get(nil): %v", err)
	}
	trace := "Traceback: here"
	bad := protocol.Exception{Type: "ValueError", Module: "builtins", Message: []byte(`["bad"]`)}
	err = store("bad", protocol.Result{State: protocol.Failure, Result: bad.Append(nil), Traceback: &trace}).Get(t.Context(), &sum)
	var exception *protocol.Exception
	if !errors.As(err, &exception) || exception.Error() != "ValueError: bad" || exception.Traceback != trace {
		t.Errorf("Get of a failed task: %v", err)
	}
	if err := store("text", protocol.Result{State: protocol.Success, Result: []byte(`"x"`)}).Get(t.Context(), &sum); err == nil {
		t.Error("a string was decoded into an int")
	}
}

func TestGetWithoutResult(t *testing.T) {
	t.Parallel()
	b := &membroker.Broker{}
	c, err := client.New(client.Config{Publisher: b.Publisher(), Loader: membackend.New()})
	if err != nil {
		t.Fatal(err)
	}
	sent, err := c.Delay(t.Context(), "proj.add", 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := sent.Get(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get of a task nobody runs: %v", err)
	}
	c, err = client.New(client.Config{Publisher: b.Publisher()})
	if err != nil {
		t.Fatal(err)
	}
	sent, err = c.Delay(t.Context(), "proj.add")
	if err != nil {
		t.Fatal(err)
	}
	if err := sent.Get(t.Context(), nil); !errors.Is(err, client.ErrNoBackend) {
		t.Errorf("Get without a backend: %v", err)
	}
}
