package worker

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// builtins returns the tasks that every Celery worker has (celery/app/builtins.py). A
// task of the same name in the user's registry comes before them.
func (w *Worker) builtins() *tasks.Registry {
	reg := tasks.NewRegistry()
	reg.Register("celery.map", tasks.HandlerFunc(w.mapItems))
	reg.Register("celery.starmap", tasks.HandlerFunc(w.mapItems))
	reg.Register("celery.chunks", sendChunks, tasks.Params("task, it, n"))
	reg.Register("celery.accumulate", accumulate, tasks.Params("*args, **kwargs"))
	reg.Register("celery.group", w.sendGroup, tasks.Params("tasks, result, group_id, partial_args, add_to_parent=True"))
	reg.Register("celery.chain", func([]any, map[string]any) error { return errOnlyInCanvas }, tasks.Params("*args, **kwargs"))
	reg.Register("celery.chord", w.sendChord, tasks.Params("header, body, partial_args=None, interval=None, countdown=1, max_retries=None, eager=False, **kwargs"))
	reg.Register("celery.backend_cleanup", w.cleanUp, tasks.Params(""))
	reg.Register("celery.chord_unlock", w.chords.unlock, tasks.IgnoreResult(true), tasks.AcksLate(true), tasks.MaxRetries(-1),
		tasks.Params("group_id, callback, interval=None, max_retries=None, result=None, **kwargs"))
	return reg
}

// cleanUp deletes results that have expired, where they do not go by themselves.
func (w *Worker) cleanUp(ctx context.Context) error {
	if w.stored.Cleaner == nil {
		return nil
	}
	_, err := w.stored.Cleaner.Cleanup(ctx)
	return err
}

// errOnlyInCanvas is what Python's celery.chain says, too.
var errOnlyInCanvas = tasks.Raise("NotImplementedError", "chain is not a real task")

// accumulate returns its arguments, or one of them: what a group that replaces a task
// ends in.
func accumulate(args []json.RawMessage, kwargs map[string]json.RawMessage) (any, error) {
	raw, ok := kwargs["index"]
	if !ok || pyjson.Kind(raw) == 'n' {
		return args, nil
	}
	var index int
	if err := pyjson.Unmarshal(raw, &index); err != nil {
		return nil, err
	}
	if index < 0 {
		index += len(args)
	}
	if index < 0 || index >= len(args) {
		return nil, tasks.Raise("IndexError", "tuple index out of range")
	}
	return args[index], nil
}

// mapItems runs a task of this worker for every item, here and now, as celery.map and
// celery.starmap do.
func (w *Worker) mapItems(ctx context.Context, req *tasks.Request) (any, error) {
	sig, err := protocol.DecodeSignature(pyjson.Member(req.Kwargs, "task"))
	if err != nil {
		return nil, err
	}
	t := w.tasks.of(sig.Task)
	if t == nil {
		return nil, tasks.Raise("celery.exceptions.NotRegistered", sig.Task)
	}
	star := req.Name == "celery.starmap"
	results := []json.RawMessage{}
	for _, item := range pyjson.Elements(pyjson.Member(req.Kwargs, "it")) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		args := item
		if !star {
			args = pyjson.AppendArray(nil, [][]byte{item})
		}
		inner := *req
		task := *req.Task
		task.Args, task.Kwargs = args, []byte("{}")
		inner.Task = &task
		result, err := t.pool.executor.Call(ctx, t.entry, &inner)
		if err != nil {
			return nil, calledDirectly(err)
		}
		raw, err := pyjson.Append(nil, result)
		if err != nil {
			return nil, err
		}
		results = append(results, raw)
	}
	return results, nil
}

// calledDirectly is what the error of a task means that was called and not sent: it cannot
// be retried, so that the cause remains.
func calledDirectly(err error) error {
	var retry *tasks.RetryError
	switch {
	case !errors.As(err, &retry):
		return err
	case retry.Cause != nil:
		return retry.Cause
	}
	return tasks.Raise("celery.exceptions.Retry", "Task can be retried")
}

// sendChunks publishes the parts of chunks.
func sendChunks(ctx context.Context, task json.RawMessage, it []json.RawMessage, n int) (json.RawMessage, error) {
	sig, err := canvas.Decode(task)
	if err != nil {
		return nil, err
	}
	result, err := tasks.Send(ctx, canvas.Chunks(sig, it, n))
	if err != nil {
		return nil, err
	}
	return result.Append(nil), nil
}

// sendGroup publishes the members of a group, which have their ids already, with further
// arguments in front of their own.
func (w *Worker) sendGroup(ctx context.Context, members []json.RawMessage, result json.RawMessage, groupID string, partial []json.RawMessage, addToParent bool) (json.RawMessage, error) {
	r, ok := tasks.Current(ctx).Execution.(*request)
	if !ok {
		return nil, tasks.ErrOutsideTask
	}
	var all canvas.Plan
	for _, raw := range members {
		sig, err := canvas.Decode(raw)
		if err != nil {
			return nil, err
		}
		plan, err := canvas.Apply(sig, partial, canvas.Options{canvas.Opt("group_id", groupID), canvas.Opt("add_to_parent", false)}, w.outcomes.environment(r))
		if err != nil {
			return nil, err
		}
		all.Steps = append(all.Steps, plan.Steps...)
	}
	if err := r.publish(ctx, &all); err != nil {
		return nil, err
	}
	if addToParent && r.task.trail {
		r.publishedChild(result)
	}
	return result, nil
}

// sendChord publishes a chord that was sent as a task.
func (w *Worker) sendChord(ctx context.Context, header []json.RawMessage, body json.RawMessage, partial []json.RawMessage, _ any, _ float64, _, _ any, _ map[string]any) (json.RawMessage, error) {
	r, ok := tasks.Current(ctx).Execution.(*request)
	if !ok {
		return nil, tasks.ErrOutsideTask
	}
	members := make([]canvas.Signature, len(header))
	for i, raw := range header {
		var err error
		if members[i], err = canvas.Decode(raw); err != nil {
			return nil, err
		}
	}
	sig, err := canvas.Decode(body)
	if err != nil {
		return nil, err
	}
	plan, err := canvas.Apply(canvas.Chord(members, sig), partial, nil, w.outcomes.environment(r))
	if err != nil {
		return nil, err
	}
	return plan.Result.Append(nil), r.publish(ctx, plan)
}
