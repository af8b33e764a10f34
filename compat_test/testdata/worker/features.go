package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// featureTable is the options of the tasks of testdata/app/features.py.
//
//go:embed features.json
var featureTable []byte

// featureOptions are a task's options in Celery's names. Of max_retries null means no
// limit, which is not what a missing one means.
type featureOptions struct {
	Params                   *string          `json:"params"`
	AcksLate                 *bool            `json:"acks_late"`
	AcksOnFailure            *bool            `json:"acks_on_failure"`
	AcksOnTimeout            *bool            `json:"acks_on_timeout"`
	AcksOnFailureOrTimeout   *bool            `json:"acks_on_failure_or_timeout"`
	RejectOnWorkerLost       *bool            `json:"reject_on_worker_lost"`
	TrackStarted             *bool            `json:"track_started"`
	IgnoreResult             *bool            `json:"ignore_result"`
	StoreErrorsEvenIfIgnored *bool            `json:"store_errors_even_if_ignored"`
	Trail                    *bool            `json:"trail"`
	SendEvents               *bool            `json:"send_events"`
	MaxRetries               *json.RawMessage `json:"max_retries"`
	DefaultRetryDelay        *float64         `json:"default_retry_delay"`
	AutoretryFor             []string         `json:"autoretry_for"`
	DontAutoretryFor         []string         `json:"dont_autoretry_for"`
	RetryBackoff             any              `json:"retry_backoff"`
	RetryBackoffMax          *float64         `json:"retry_backoff_max"`
	RetryJitter              *bool            `json:"retry_jitter"`
	RetryKwargs              struct {
		MaxRetries *int     `json:"max_retries"`
		Countdown  *float64 `json:"countdown"`
	} `json:"retry_kwargs"`
	Throws        []string `json:"throws"`
	TimeLimit     *float64 `json:"time_limit"`
	SoftTimeLimit *float64 `json:"soft_time_limit"`
}

func registerFeatures(reg registrar, j *journal) {
	var table map[string]json.RawMessage
	if err := json.Unmarshal(featureTable, &table); err != nil {
		panic(err)
	}
	for name, raw := range table {
		var o featureOptions
		if err := json.Unmarshal(raw, &o); err != nil {
			panic(fmt.Sprintf("%s: %v", name, err))
		}
		params := "plan, *args, **kwargs"
		if o.Params != nil {
			params = *o.Params
		}
		opts := append(o.options(strings.Contains(string(raw), "max_retries\": null")), tasks.Params(params))
		reg.Register("features."+name, planned(params, j), opts...)
	}
}

// options are those that are set.
func (o *featureOptions) options(unlimited bool) (opts []tasks.Option) {
	for _, option := range []struct {
		value *bool
		make  func(bool) tasks.Option
	}{
		{o.AcksLate, tasks.AcksLate}, {o.AcksOnFailure, tasks.AcksOnFailure}, {o.AcksOnTimeout, tasks.AcksOnTimeout},
		{o.AcksOnFailureOrTimeout, tasks.AcksOnFailureOrTimeout}, {o.RejectOnWorkerLost, tasks.RejectOnWorkerLost},
		{o.TrackStarted, tasks.TrackStarted}, {o.IgnoreResult, tasks.IgnoreResult},
		{o.StoreErrorsEvenIfIgnored, tasks.StoreErrorsEvenIfIgnored}, {o.Trail, tasks.Trail}, {o.SendEvents, tasks.SendEvents}, {o.RetryJitter, tasks.RetryJitter},
	} {
		if option.value != nil {
			opts = append(opts, option.make(*option.value))
		}
	}
	for _, option := range []struct {
		seconds *float64
		make    func(time.Duration) tasks.Option
	}{
		{o.DefaultRetryDelay, tasks.RetryDelay}, {o.RetryKwargs.Countdown, tasks.RetryDelay},
		{o.RetryBackoffMax, tasks.RetryBackoffMax},
		{o.TimeLimit, func(d time.Duration) tasks.Option { return tasks.TimeLimit(d) }},
		{o.SoftTimeLimit, func(d time.Duration) tasks.Option { return tasks.SoftTimeLimit(d) }},
	} {
		if option.seconds != nil {
			opts = append(opts, option.make(duration(*option.seconds)))
		}
	}
	for _, option := range []struct {
		classes []string
		make    func(func(error) bool) tasks.Option
	}{{o.AutoretryFor, tasks.AutoRetry}, {o.DontAutoretryFor, tasks.DontAutoRetry}, {o.Throws, tasks.Throws}} {
		if option.classes != nil {
			opts = append(opts, option.make(isOneOf(option.classes)))
		}
	}
	switch backoff := o.RetryBackoff.(type) {
	case bool:
		opts = append(opts, tasks.RetryBackoff(time.Second))
	case float64:
		opts = append(opts, tasks.RetryBackoff(duration(backoff)))
	}
	var most int
	switch {
	case unlimited:
		opts = append(opts, tasks.MaxRetries(-1))
	case o.RetryKwargs.MaxRetries != nil:
		opts = append(opts, tasks.MaxRetries(*o.RetryKwargs.MaxRetries))
	case o.MaxRetries != nil && json.Unmarshal(*o.MaxRetries, &most) == nil:
		opts = append(opts, tasks.MaxRetries(most))
	}
	return opts
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// bases are the classes that Python's exceptions are also of, Exception aside.
var bases = map[string]string{"KeyError": "LookupError", "IndexError": "LookupError"}

func isOneOf(classes []string) func(error) bool {
	return func(err error) bool {
		class := tasks.ExceptionOf(err).Type
		return slices.Contains(classes, class) || slices.Contains(classes, bases[class]) || slices.Contains(classes, "Exception")
	}
}

// planned makes a task with these Python parameters that does what the first of them,
// the plan, says.
func planned(params string, j *journal) any {
	in := []reflect.Type{reflect.TypeFor[context.Context]()}
	for i, text := range strings.Split(params, ",") {
		switch name := strings.TrimSpace(text); {
		case i == 0:
			in = append(in, reflect.TypeFor[json.RawMessage]()) // keeps the order of keys
		case name == "/", name == "*":
		case strings.HasPrefix(name, "**"):
			in = append(in, reflect.TypeFor[map[string]any]())
		case strings.HasPrefix(name, "*"):
			in = append(in, reflect.TypeFor[[]any]())
		default:
			in = append(in, reflect.TypeFor[any]())
		}
	}
	out := []reflect.Type{reflect.TypeFor[any](), reflect.TypeFor[error]()}
	return reflect.MakeFunc(reflect.FuncOf(in, out, false), func(args []reflect.Value) []reflect.Value {
		result, err := act(args[0].Interface().(context.Context), args[1].Interface().(json.RawMessage), j)
		returned := []reflect.Value{reflect.Zero(out[0]), reflect.Zero(out[1])}
		if result != nil {
			returned[0] = reflect.ValueOf(&result).Elem()
		}
		if err != nil {
			returned[1] = reflect.ValueOf(&err).Elem()
		}
		return returned
	}).Interface()
}

func act(ctx context.Context, plan json.RawMessage, j *journal) (any, error) {
	req := tasks.Current(ctx)
	attempt := req.Retries
	if req.Redelivered {
		attempt++
	}
	entry, err := pyjson.Append(nil, []any{req.ID, req.Retries, req.Redelivered, float64(time.Now().UnixMicro()) / 1e6})
	if err == nil {
		err = j.write("ran", string(entry))
	}
	if err != nil {
		return nil, err
	}
	var attempts [][][]json.RawMessage
	if err := pyjson.Unmarshal(plan, &attempts); err != nil {
		return nil, err
	}
	for _, words := range attempts[min(attempt, len(attempts)-1)] {
		name, args := word[string](words[0]), words[1:]
		switch name {
		case "return":
			return args[0], nil
		case "raise":
			return nil, exception(args)
		case "retry":
			return nil, retry(plan, word[map[string]json.RawMessage](args[0]))
		case "ignore":
			return nil, tasks.Ignore()
		case "reject":
			return nil, reject(args)
		case "die":
			runtime.Goexit()
		case "unencodable":
			return make(object), nil
		default:
			if err := do(ctx, name, args, j); err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}

// word decodes a part of a plan.
func word[T any](raw json.RawMessage) (value T) {
	if err := pyjson.Unmarshal(raw, &value); err != nil {
		panic(err)
	}
	return value
}

// object has no JSON form.
type object chan struct{}

// do carries out an action that does not end the task, unless it fails.
func do(ctx context.Context, name string, args []json.RawMessage, j *journal) error {
	switch name {
	case "sleep":
		return sleep(ctx, seconds(args[0]))
	case "catch":
		if err := sleep(ctx, seconds(args[0])); errors.Is(err, tasks.ErrSoftTimeLimit) {
			return j.write("caught", tasks.Current(ctx).ID)
		}
		return nil
	case "block":
		time.Sleep(seconds(args[0]))
		return nil
	case "state":
		return tasks.UpdateState(ctx, word[string](args[0]), args[1])
	case "send":
		var opts []canvas.Option
		for option, value := range word[map[string]json.RawMessage](args[1]) {
			opts = append(opts, canvas.RawOpt(option, value))
		}
		_, err := tasks.Send(ctx, canvas.Sig("features.plain", []any{[]any{[]any{"return", args[0]}}}), opts...)
		return err
	}
	return fmt.Errorf("no such action: %s", name)
}

func sleep(ctx context.Context, wait time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(wait):
		return nil
	}
}

func seconds(raw json.RawMessage) time.Duration { return duration(word[float64](raw)) }

// exception is the error for a class and its arguments.
func exception(words []json.RawMessage) error {
	class, args := word[string](words[0]), words[1:]
	name := class
	if class == "OutOfStock" {
		name = "shoperrors." + class
		if len(args) == 1 {
			args = append(args, json.RawMessage("0"))
		}
	}
	if len(args) == 0 {
		return &protocol.Exception{
			Module: "builtins", Type: class, Message: []byte("[]"), Traceback: "Traceback (most recent call last):\n" + class + "\n",
		}
	}
	var rest []any
	for _, arg := range args[1:] {
		rest = append(rest, arg)
	}
	return tasks.Raise(name, word[string](args[0]), rest...)
}

func reject(args []json.RawMessage) error {
	switch {
	case len(args) < 2:
		return tasks.Reject(false)
	case string(args[0]) == "null":
		return tasks.Reject(word[bool](args[1]))
	}
	return tasks.RejectWithReason(word[string](args[0]), word[bool](args[1]))
}

func retry(plan json.RawMessage, options map[string]json.RawMessage) error {
	var cause error
	var opts []tasks.RetryOption
	for name, value := range options {
		switch name {
		case "exc":
			cause = exception(word[[]json.RawMessage](value))
		case "countdown":
			opts = append(opts, tasks.RetryCountdown(seconds(value)))
		case "eta":
			opts = append(opts, tasks.RetryETA(time.Now().Add(seconds(value))))
		case "expires":
			opts = append(opts, tasks.RetryExpires(time.Now().Add(seconds(value))))
		case "max_retries":
			if most := word[*int](value); most != nil {
				opts = append(opts, tasks.MaxRetries(*most))
			}
		case "queue":
			opts = append(opts, tasks.RetryQueue(word[string](value)))
		case "priority":
			opts = append(opts, tasks.RetryPriority(word[int](value)))
		case "time_limit":
			opts = append(opts, tasks.RetryTimeLimit(seconds(value)))
		case "soft_time_limit":
			opts = append(opts, tasks.RetrySoftTimeLimit(seconds(value)))
		case "args":
			var args []any
			for _, arg := range word[[]json.RawMessage](value) {
				if string(arg) == `"$plan"` {
					arg = plan
				}
				args = append(args, arg)
			}
			opts = append(opts, tasks.RetryArgs(args...))
		case "kwargs":
			kwargs := map[string]any{}
			for name, value := range word[map[string]json.RawMessage](value) {
				if kwargs[name] = value; name == "plan" {
					kwargs[name] = plan
				}
			}
			opts = append(opts, tasks.RetryKwargs(kwargs))
		}
	}
	return tasks.Retry(cause, opts...)
}
