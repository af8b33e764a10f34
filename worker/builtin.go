package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/canvas"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// builtins returns the tasks that every Celery worker has (celery/app/builtins.py). A
// task of the same name in the user's registry comes before them.
func (w *Worker) builtins() *tasks.Registry {
	reg := tasks.NewRegistry()
	reg.Register("celery.map", tasks.HandlerFunc(w.mapItems))
	reg.Register("celery.starmap", tasks.HandlerFunc(w.mapItems))
	reg.Register("celery.chunks", func(ctx context.Context, task json.RawMessage, it []json.RawMessage, n int) (any, error) {
		return nil, w.sendChunks(ctx, task, it, n)
	}, tasks.Params("task, it, n"))
	reg.Register("celery.accumulate", accumulate, tasks.Params("*args, **kwargs"))
	reg.Register("celery.group", func(ctx context.Context, members []json.RawMessage, result, groupID, partial any) error {
		return w.sendAll(ctx, members)
	}, tasks.Params("tasks, result=None, group_id=None, partial_args=None"))
	reg.Register("celery.chain", func([]any, map[string]any) error { return errOnlyInCanvas }, tasks.Params("*args, **kwargs"))
	reg.Register("celery.chord", w.sendChord, tasks.Params("header, body, partial_args=None, interval=None, countdown=1, max_retries=None, eager=False, **kwargs"))
	reg.Register("celery.backend_cleanup", func() {}, tasks.Params("")) // Redis forgets results by itself
	reg.Register("celery.chord_unlock", w.unlockChord, tasks.IgnoreResult(true), tasks.MaxRetries(-1),
		tasks.Params("group_id, callback, interval=None, max_retries=None, result=None, **kwargs"))
	return reg
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
	sig, err := protocol.DecodeSignature(member(req.Kwargs, "task"))
	if err != nil {
		return nil, err
	}
	t := w.task(sig.Task)
	if t == nil {
		return nil, tasks.Raise("celery.exceptions.NotRegistered", sig.Task)
	}
	star := req.Name == "celery.starmap"
	results := []json.RawMessage{}
	for _, item := range elements(member(req.Kwargs, "it")) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		args := item
		if !star {
			args = append(append([]byte{'['}, item...), ']')
		}
		inner := *req
		task := *req.Task
		task.Args, task.Kwargs = args, []byte("{}")
		inner.Task = &task
		result, err := t.entry.Call(ctx, &inner)
		if err != nil {
			return nil, err
		}
		raw, err := pyjson.Append(nil, result)
		if err != nil {
			return nil, err
		}
		results = append(results, raw)
	}
	return results, nil
}

// sendChunks publishes the parts of chunks.
func (w *Worker) sendChunks(ctx context.Context, task json.RawMessage, it []json.RawMessage, n int) error {
	sig, err := canvas.Decode(task)
	if err != nil {
		return err
	}
	_, err = tasks.Send(ctx, canvas.Chunks(sig, it, n))
	return err
}

// sendAll publishes the members of a group, which have their ids and group already.
func (w *Worker) sendAll(ctx context.Context, members []json.RawMessage) error {
	sigs := make([]canvas.Signature, len(members))
	for i, raw := range members {
		var err error
		if sigs[i], err = canvas.Decode(raw); err != nil {
			return err
		}
	}
	_, err := tasks.Send(ctx, canvas.Group(sigs...))
	return err
}

// sendChord publishes a chord that was sent as a task.
func (w *Worker) sendChord(ctx context.Context, header []json.RawMessage, body json.RawMessage, _, _ any, _ float64, _, _ any, _ map[string]any) error {
	members := make([]canvas.Signature, len(header))
	for i, raw := range header {
		var err error
		if members[i], err = canvas.Decode(raw); err != nil {
			return err
		}
	}
	sig, err := canvas.Decode(body)
	if err != nil {
		return err
	}
	_, err = tasks.Send(ctx, canvas.Chord(members, sig))
	return err
}

// unlockChord polls a chord for producers whose result backend cannot count it: when all
// members are done it runs the body.
func (w *Worker) unlockChord(ctx context.Context, groupID string, body json.RawMessage, interval *float64, maxRetries *int, result []json.RawMessage, _ map[string]any) error {
	if w.loader == nil {
		return errors.New("celery.chord_unlock: this worker has no result backend")
	}
	tree := []byte(`[["", null], [`)
	for i, tuple := range result {
		if i > 0 {
			tree = append(tree, ", "...)
		}
		tree = append(tree, tuple...)
	}
	tree = append(tree, "]]"...)
	ready, err := w.allReady(ctx, leaves(nil, tree))
	if err != nil || !ready {
		wait := w.cfg.ChordRetryInterval
		if interval != nil {
			wait = time.Duration(*interval * float64(time.Second))
		}
		most := -1
		if maxRetries != nil {
			most = *maxRetries
		}
		return tasks.Retry(err, tasks.Countdown(wait), tasks.MaxRetries(most))
	}
	r, ok := tasks.Current(ctx).Execution.(*request)
	if !ok {
		return tasks.ErrOutsideTask
	}
	f := &flow{}
	results, err := w.joinTree(ctx, tree)
	if err == nil {
		err = w.runBody(f, r, body, results)
	}
	if err != nil {
		*f = flow{}
		w.failBody(f, r, body, err)
	}
	if err := r.write(ctx, settlement{req: r, flow: f}); err != nil {
		return fmt.Errorf("chord %s: %w", groupID, err)
	}
	return nil
}

// allReady tells whether all tasks have a result.
func (w *Worker) allReady(ctx context.Context, ids []string) (bool, error) {
	records, err := w.loader.LoadMany(ctx, ids...)
	if err != nil {
		return false, err
	}
	for _, record := range records {
		if record == nil {
			return false, nil
		}
		if state, err := backend.State(record); err != nil || !state.Ready() {
			return false, err
		}
	}
	return true, nil
}
