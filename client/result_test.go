package client_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
)

func success(result string) protocol.Result {
	return protocol.Result{State: protocol.Success, Result: []byte(result)}
}

func failure(class, args, traceback string) protocol.Result {
	exc := protocol.Exception{Type: class, Module: "builtins", Message: []byte(args)}
	return protocol.Result{State: protocol.Failure, Result: exc.Append(nil), Traceback: &traceback}
}

func TestGet(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	for id, record := range map[string]protocol.Result{
		"ok": success("3"), "none": {State: protocol.Success}, "bad": failure("ValueError", `["bad", 7]`, "Traceback: here"), "text": success(`"x"`),
	} {
		r.store(id, record)
	}
	if sum, err := client.Get[int](ctx, r.client.Result("ok")); err != nil || sum != 3 {
		t.Errorf("Get = %d, %v", sum, err)
	}
	if err := r.client.Result("none").Get(ctx, nil); err != nil {
		t.Errorf("Get(nil): %v", err)
	}
	_, err := client.Get[int](ctx, r.client.Result("bad"))
	var exception *protocol.Exception
	if !errors.As(err, &exception) || exception.Type != "ValueError" || exception.Module != "builtins" ||
		string(exception.Message) != `["bad", 7]` || exception.Traceback != "Traceback: here" {
		t.Errorf("Get of a failed task: %v", err)
	}
	if _, err := client.Get[int](ctx, r.client.Result("text")); err == nil {
		t.Error("a string was decoded into an int")
	}
}

func TestGetWithoutResult(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := client.Call[int](ctx, r.client, "proj.add", 1, 2); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Call of a task nobody runs: %v", err)
	}
	r = newRig(t, func(cfg *client.Config) { cfg.Loader = nil })
	if _, err := client.Call[int](t.Context(), r.client, "proj.add", 1, 2); !errors.Is(err, client.ErrNoBackend) {
		t.Errorf("Call without a backend: %v", err)
	}
	if _, err := client.Call[int](t.Context(), r.client, ""); err == nil {
		t.Error("Call without a name succeeded")
	}
	group := r.send(canvas.Group(canvas.Sig("a"), canvas.Sig("b")))
	_, ready := group.Ready(t.Context())
	for what, err := range map[string]error{
		"Join": group.Get(t.Context(), nil), "Ready": ready, "Forget": group.Forget(t.Context()),
	} {
		if !errors.Is(err, client.ErrNoBackend) {
			t.Errorf("%s without a backend: %v", what, err)
		}
	}
	if err := group.Group().Save(t.Context()); !errors.Is(err, client.ErrNoChords) {
		t.Errorf("Save without a backend: %v", err)
	}
}

func TestInfo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	cause := protocol.Exception{Type: "OSError", Module: "builtins", Message: []byte(`["away"]`)}
	for id, record := range map[string]protocol.Result{
		"done": success(`{"at": 100}`), "running": {State: "PROGRESS", Result: []byte(`{"at": 50}`)},
		"failed": failure("KeyError", `["k"]`, ""), "again": {State: protocol.Retry, Result: cause.Append(nil)}, "asked": {State: protocol.Retry},
		"revoked": {State: protocol.Revoked, Result: []byte(`{"exc_type": "TaskRevokedError", "exc_message": ["revoked"], "exc_module": "celery.exceptions"}`)},
	} {
		r.store(id, record)
	}
	for _, c := range []struct {
		id         string
		state      protocol.State
		at         int
		err        string
		ready, won bool
	}{
		{"nothing", protocol.Pending, 0, "", false, false},
		{"running", "PROGRESS", 50, "", false, false},
		{"done", protocol.Success, 100, "", true, true},
		{"failed", protocol.Failure, 0, "KeyError: 'k'", true, false},
		{"again", protocol.Retry, 0, "OSError: away", false, false},
		{"asked", protocol.Retry, 0, "", false, false},
		{"revoked", protocol.Revoked, 0, "celery.exceptions.TaskRevokedError: revoked", true, false},
	} {
		result := r.client.Result(c.id)
		var meta struct{ At int }
		state, err := result.Info(t.Context(), &meta)
		text := ""
		if exception := (*protocol.Exception)(nil); errors.As(err, &exception) {
			text = exception.Error()
		} else if err != nil {
			text = "no exception: " + err.Error()
		}
		ready, err1 := result.Ready(t.Context())
		won, err2 := result.Successful(t.Context())
		lost, err3 := result.Failed(t.Context())
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		if state != c.state || meta.At != c.at || text != c.err || ready != c.ready || won != c.won || lost != (c.id == "failed") {
			t.Errorf("%s: %s %+v %q ready %t successful %t failed %t", c.id, state, meta, text, ready, won, lost)
		}
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.store("x", protocol.Result{State: protocol.Started})
	var seen []string
	last, err := r.client.Result("x").Watch(t.Context(), func(record *protocol.Result) {
		seen = append(seen, string(record.State)+" "+string(record.Result))
		switch len(seen) {
		case 1:
			r.store("x", protocol.Result{State: "PROGRESS", Result: []byte("50")})
		case 2:
			r.store("x", success("1"))
		}
	})
	if err != nil || last.State != protocol.Success || !cmp.Equal(seen, []string{"STARTED null", "PROGRESS 50"}) {
		t.Errorf("%+v, %v after %q", last, err, seen)
	}
}

func TestFamily(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	result := r.send(canvas.Chain(canvas.Sig("a"), canvas.Sig("b"), canvas.Sig("c")))
	second := result.Parent()
	first := second.Parent()
	if first.Parent() != nil {
		t.Error("the first step has a parent")
	}
	r.store(first.ID, protocol.Result{
		State: protocol.Success, Children: []byte(`[[["c1", null], null], [["g", [["p", null], null]], [[["m1", null], null], ["m2", null]]]]`),
	})
	children, err := r.client.Result(first.ID).Children(ctx)
	if err != nil || len(children) != 2 || children[0].ID != "c1" || children[1].Parent().ID != "p" {
		t.Fatalf("children %+v, %v", children, err)
	}
	members, err := children[1].Children(ctx)
	if err != nil || len(members) != 2 || members[1].ID != "m2" {
		t.Errorf("members %+v, %v", members, err)
	}
	if _, err := children[1].Wait(ctx); !errors.Is(err, client.ErrGroup) {
		t.Errorf("Wait for a group: %v", err)
	}
	r.store("broken", protocol.Result{State: protocol.Success, Children: []byte(`[["x"]]`)})
	if _, err := r.client.Result("broken").Children(ctx); err == nil {
		t.Error("broken children were read")
	}
	if none, err := r.client.Result("unknown").Children(ctx); err != nil || none != nil {
		t.Errorf("children of an unknown task: %v, %v", none, err)
	}
	for _, id := range []string{result.ID, second.ID} {
		r.store(id, success("1"))
	}
	if err := second.Forget(ctx); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]error{first.ID: backend.ErrNotFound, second.ID: backend.ErrNotFound, result.ID: nil} {
		if _, err := r.results.Load(ctx, id); !errors.Is(err, want) {
			t.Errorf("after Forget: %v, want %v", err, want)
		}
	}
}

func TestGroup(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	// Python flattens groups in groups when they are sent; a restored one may be nested.
	id := "outer"
	tree := `{"result": [["outer", [["before", null], null]], [[["a", null], null], [["inner", null], [[["b", null], null], [["c", null], null]]]]]}`
	if err := r.results.SaveGroup(ctx, id, []byte(tree)); err != nil {
		t.Fatal(err)
	}
	group, err := r.client.RestoreGroup(ctx, id)
	if err != nil || group.ID != id || len(group.Members) != 2 || group.Parent().ID != "before" {
		t.Fatalf("%+v, %v", group, err)
	}
	counts := func() (n int, ready, won, lost bool) {
		n, err1 := group.CompletedCount(ctx)
		ready, err2 := group.Ready(ctx)
		won, err3 := group.Successful(ctx)
		lost, err4 := group.Failed(ctx)
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			t.Fatal(err)
		}
		return n, ready, won, lost
	}
	r.store("a", success("1"))
	r.store("b", success(`"two"`))
	if n, ready, won, lost := counts(); n != 2 || ready || won || lost {
		t.Errorf("after two of three: %d %t %t %t", n, ready, won, lost)
	}
	var waits sync.WaitGroup
	waits.Go(func() {
		var got []any
		if err := group.Join(ctx, &got); err != nil || !cmp.Equal(got, []any{int64(1), []any{"two", nil}}) {
			t.Errorf("Join = %v, %v", got, err)
		}
	})
	r.store("c", protocol.Result{State: protocol.Success})
	waits.Wait()
	if n, ready, won, lost := counts(); n != 3 || !ready || !won || lost {
		t.Errorf("after all: %d %t %t %t", n, ready, won, lost)
	}
	if err := group.Forget(ctx); err != nil {
		t.Fatal(err)
	}
	r.store("b", failure("ValueError", `["no"]`, ""))
	r.store("a", success("1"))
	r.store("c", failure("KeyError", `["later"]`, ""))
	var exception *protocol.Exception
	if err := group.Join(ctx, nil); !errors.As(err, &exception) || exception.Type != "ValueError" {
		t.Errorf("Join of a failed group: %v", err)
	}
	if n, ready, won, lost := counts(); n != 1 || !ready || won || !lost {
		t.Errorf("after failures: %d %t %t %t", n, ready, won, lost)
	}
}

func TestSaveGroup(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	sent := r.send(canvas.Group(canvas.Sig("a"), canvas.Group(canvas.Sig("b"), canvas.Sig("c")))).Group()
	if err := sent.Save(ctx); err != nil {
		t.Fatal(err)
	}
	restored, err := r.client.RestoreGroup(ctx, sent.ID)
	if err != nil || len(restored.Members) != len(sent.Members) {
		t.Fatalf("%+v, %v", restored, err)
	}
	for i, member := range restored.Members {
		if member.ID != sent.Members[i].ID {
			t.Errorf("member %d is %s, want %s", i, member.ID, sent.Members[i].ID)
		}
	}
	if err := sent.Delete(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := r.client.RestoreGroup(ctx, sent.ID); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("after Delete: %v", err)
	}
	for _, bad := range []string{`5`, `{}`, `{"result": [["task", null], null]}`} {
		if err := r.results.SaveGroup(ctx, "bad", []byte(bad)); err != nil {
			t.Fatal(err)
		}
		if _, err := r.client.RestoreGroup(ctx, "bad"); !errors.Is(err, backend.ErrUnreadable) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
