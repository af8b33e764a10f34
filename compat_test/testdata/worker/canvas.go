package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// registerCanvas adds the tasks of testdata/app/canvas_tasks.py.
func registerCanvas(reg registrar, j *journal) {
	params, tagged := tasks.Params("*args, tag=None"), tasks.Params("*args, tag")
	echo := func(args []json.RawMessage, tag *string) ([]any, error) { return j.result(tag, args) }
	reg.Register("canvas.echo", echo, params)
	reg.Register("canvas.late", echo, params, tasks.AcksLate(true))
	reg.Register("canvas.ignored", echo, params, tasks.IgnoreResult(true))
	reg.Register("canvas.fail", func(args []json.RawMessage, tag *string) error {
		result, err := j.result(tag, args)
		if err != nil {
			return err
		}
		message, err := pyjson.Append(nil, result[:1])
		if err != nil {
			return err
		}
		return &protocol.Exception{Module: "builtins", Type: "ValueError", Message: message, Traceback: "Traceback: canvas.fail in Go"}
	}, params)
	reg.Register("canvas.body", func(ctx context.Context, members [][]string, tag string) ([]string, error) {
		hash := "runs"
		if tasks.Current(ctx).Redelivered {
			hash = "redelivered"
		}
		return slices.Concat(members...), j.do("HINCRBY", hash, tag, 1)
	}, tasks.Params("members, *, tag"), tasks.AcksLate(true))
	reg.Register("canvas.giveup", func(_ []json.RawMessage, tag string, _ *string) error {
		if err := j.run(&tag); err != nil {
			return err
		}
		return tasks.Retry(nil, tasks.RetryCountdown(0))
	}, tasks.Params("*args, tag, word=None"), tasks.MaxRetries(1))
	reg.Register("canvas.flaky", func(ctx context.Context, args []json.RawMessage, tag *string) ([]any, error) {
		if tasks.Current(ctx).Retries < 1 {
			return nil, tasks.Retry(tasks.Raise("KeyError", "again"), tasks.RetryCountdown(0))
		}
		return j.result(tag, args)
	}, params)
	reg.Register("canvas.exhaust", func(_ []json.RawMessage, tag string) error {
		if err := j.run(&tag); err != nil {
			return err
		}
		return tasks.Retry(tasks.Raise("KeyError", place(tag)), tasks.RetryCountdown(0))
	}, tagged, tasks.MaxRetries(1))
	reg.Register("canvas.replaced", func(ctx context.Context, args []json.RawMessage, tag, by string) error {
		if err := j.run(&tag); err != nil {
			return err
		}
		return tasks.Replace(ctx, replacement(args, tag, by))
	}, tasks.Params("*args, tag, by='task'"))
	reg.Register("canvas.more", func(ctx context.Context, args []json.RawMessage, tag string) ([]any, error) {
		if _, err := tasks.AddToChord(ctx, echoSig(tag+".1")); err != nil {
			return nil, err
		}
		return j.result(&tag, args)
	}, tagged)
	reg.Register("canvas.spawn", func(ctx context.Context, args []json.RawMessage, tag string) ([]any, error) {
		for _, sig := range []canvas.Signature{
			echoSig(tag + ".1"),
			canvas.Group(echoSig(tag+".2"), echoSig(tag+".3")),
			canvas.Chain(echoSig(tag+".4"), echoSig(tag+".5")),
		} {
			if _, err := tasks.Send(ctx, sig); err != nil {
				return nil, err
			}
		}
		return j.result(&tag, args)
	}, tagged)
	reg.Register("canvas.stamps", func(ctx context.Context, _ []json.RawMessage, tag string) ([]any, error) {
		req := tasks.Current(ctx)
		names, values := req.StampedHeaders, json.RawMessage(req.Stamps)
		if names == nil {
			names = []string{}
		}
		if values == nil {
			values = json.RawMessage("{}")
		}
		return []any{place(tag), names, values}, j.run(&tag)
	}, tagged)
	reg.Register("canvas.old_errback", func(failed, tag string) ([]any, error) {
		return []any{place(tag), failed}, j.run(&tag)
	}, tasks.Params("failed, *, tag"))
	reg.Register("canvas.bad_errback", func(_, tag string) error {
		if err := j.run(&tag); err != nil {
			return err
		}
		return tasks.Raise("ValueError", place(tag))
	}, tasks.Params("failed, *, tag"))
	reg.Register("canvas.alone", func(tag string) ([]any, error) { return []any{place(tag)}, j.run(&tag) }, tasks.Params("*, tag"))
	reg.Register("canvas.new_errback", j.newErrback, tasks.Errback())
}

func echoSig(tag string, args ...any) canvas.Signature {
	return canvas.Sig("canvas.echo", args...).Kw(map[string]any{"tag": tag})
}

func replacement(args []json.RawMessage, tag, by string) canvas.Signature {
	list := make([]any, len(args))
	for i, arg := range args {
		list[i] = arg
	}
	first, second, third := echoSig(tag+".1", list...), echoSig(tag+".2"), echoSig(tag+".3")
	switch by {
	case "fail":
		return canvas.Sig("canvas.fail").Kw(map[string]any{"tag": tag + ".1"})
	case "chain":
		return canvas.Chain(first, second)
	case "group":
		return canvas.Group(first, second)
	case "chord":
		return canvas.Chord([]canvas.Signature{first, second}, third)
	case "chain of group":
		return canvas.Chain(first, canvas.Group(second, third))
	case "map":
		return canvas.Map(first, []int{1, 2})
	case "starmap":
		return canvas.Starmap(first, [][]int{{1, 2}, {3, 4}})
	}
	return first
}

func place(tag string) string { return tag[strings.LastIndexByte(tag, '|')+1:] }

// run counts a run of the task with this tag.
func (j *journal) run(tag *string) error {
	field := ""
	if tag != nil {
		field = *tag
	}
	return j.do("HINCRBY", "runs", field, 1)
}

func (j *journal) result(tag *string, args []json.RawMessage) ([]any, error) {
	result := []any{nil}
	if tag != nil {
		result[0] = place(*tag)
	}
	for _, arg := range args {
		result = append(result, arg)
	}
	return result, j.run(tag)
}

func (j *journal) newErrback(ctx context.Context, failed tasks.Failure) error {
	var kwargs struct{ Tag string }
	if err := pyjson.Unmarshal(tasks.Current(ctx).Kwargs, &kwargs); err != nil {
		return fmt.Errorf("kwargs of the errback: %w", err)
	}
	line, err := pyjson.Append(nil, []any{kwargs.Tag, failed.Request.ID, failed.Exception.Repr(), failed.Traceback != ""})
	if err != nil {
		return err
	}
	if err := j.run(&kwargs.Tag); err != nil {
		return err
	}
	return j.do("RPUSH", "errbacks", line)
}
