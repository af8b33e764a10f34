package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// registerParity adds the tasks of testdata/parity/shoptasks.py that can be written in Go.
func registerParity(reg registrar, j *journal) {
	x, nothing := tasks.Params("x"), tasks.Params("")
	reg.Register("shoptasks.add", func(x, y int) int { return x + y }, tasks.Params("x, y"))
	reg.Register("shoptasks.same", func(x json.RawMessage) json.RawMessage { return x }, x)
	reg.Register("shoptasks.total", func(numbers []int) (sum int) {
		for _, n := range numbers {
			sum += n
		}
		return sum
	}, tasks.Params("numbers"))
	reg.Register("shoptasks.make", makes, tasks.Params("kind"))
	reg.Register("shoptasks.big", func(n int) string { return strings.Repeat("x", n) }, tasks.Params("n"))
	reg.Register("shoptasks.size", func(text string) int { return len(text) }, tasks.Params("text"))
	reg.Register("shop.renamed", func(ctx context.Context) string { return tasks.Current(ctx).Name }, nothing)
	reg.Register("shoptasks.with_options", func(x any) any { return x }, x, tasks.SendEvents(true))
	reg.Register("shoptasks.silent", func(x any) any { return x }, x, tasks.SendEvents(false))
	reg.Register("shoptasks.untyped", func(a any) any { return a }, tasks.Params("a"))
	reg.Register("shoptasks.limited", func(i int) int { return i }, tasks.Params("i"), tasks.RateLimit("20/s"))
	registerParityFailures(reg, j)
	registerParityRetries(reg)
	registerParityRecords(reg, j)
	registerParityCanvases(reg, j)
	registerParityLimits(reg, j)
}

// makes returns what shoptasks.make does.
func makes(kind string) (any, error) {
	literals := map[string]string{
		"none": "null", "float": "1e+300", "tiny": "5e-324", "nan": "NaN", "int": "1180591620717411303424",
		"text": `"it's \u20ac \ud83d\ude00 \u0000 \u2028"`, "bool": "true", "nested": `{"a": [1, {"b": [null]}], "\u00e9": ""}`,
		"empty": `""`, "surrogate": `"\ud800"`,
	}
	if literal, ok := literals[kind]; ok {
		return json.RawMessage(literal), nil
	}
	at := time.Date(2024, 2, 29, 12, 30, 1, 5000, pyjson.Naive)
	var uuid pyjson.UUID
	uuid[15] = 5
	values := map[string]any{
		"date": at, "day": pyjson.Date{Year: 2024, Month: 2, Day: 29}, "decimal": pyjson.Decimal("1.10"), "uuid": uuid, "bytes": []byte("ab\xff"),
		"object": make(object),
	}
	if value, ok := values[kind]; ok {
		return value, nil
	}
	if kind == "list" {
		var list []int
		for i := range 50 {
			list = append(list, i)
		}
		return list, nil
	}
	return nil, tasks.Raise("KeyError", kind)
}

func registerParityFailures(reg registrar, j *journal) {
	reg.Register("shoptasks.fail", func(kind string, args ...json.RawMessage) error {
		if kind == "OutOfStock" {
			kind = "shoptasks.OutOfStock"
			if len(args) == 1 { // its constructor's default
				args = append(args, json.RawMessage("0"))
			}
		}
		return raise(kind, args)
	}, tasks.Params("kind='KeyError', *args"))
	reg.Register("shoptasks.expected_failure", func() error { return tasks.Raise("KeyError", "expected") },
		tasks.Params(""), tasks.Throws(isOneOf([]string{"KeyError"})))
	reg.Register("shoptasks.ignores", func() error { return tasks.Ignore() }, tasks.Params(""))
	reg.Register("shoptasks.rejects", func(ctx context.Context, requeue bool) (any, error) {
		if first, err := j.firstTime(ctx); err != nil || requeue && !first {
			return "second delivery", err
		}
		return nil, tasks.RejectWithReason("no", requeue)
	}, tasks.Params("requeue"), tasks.AcksLate(true))
	reg.Register("shoptasks.rejects_early", func(requeue bool) error { return tasks.RejectWithReason("no", requeue) }, tasks.Params("requeue=False"))
	reg.Register("shoptasks.fails_not_acknowledged", func(ctx context.Context) (any, error) {
		if first, err := j.firstTime(ctx); err != nil || !first {
			return "second delivery", err
		}
		return nil, tasks.Raise("ValueError", "comes again")
	}, tasks.Params(""), tasks.AcksLate(true), tasks.AcksOnFailureOrTimeout(false))
	reg.Register("shoptasks.quiet", func(ctx context.Context, x json.RawMessage) (json.RawMessage, error) {
		return x, j.note(ctx, "quiet", "x", x)
	}, tasks.Params("x"), tasks.IgnoreResult(true))
	nobody := func() error { return tasks.Raise("ValueError", "nobody asks") }
	reg.Register("shoptasks.quiet_fails", nobody, tasks.Params(""), tasks.IgnoreResult(true))
	reg.Register("shoptasks.quiet_but_errors", func() error { return tasks.Raise("ValueError", "stored all the same") },
		tasks.Params(""), tasks.IgnoreResult(true), tasks.StoreErrorsEvenIfIgnored(true))
}

// raise returns the error of a Python class with these arguments, whatever they are.
func raise(class string, args []json.RawMessage) error {
	if len(args) == 0 {
		return tasks.Raise(class, "")
	}
	text, err := pyjson.Unquote(args[0])
	if err != nil { // the first argument is no text: the exception is written by hand
		module, name := "builtins", class
		if i := strings.LastIndexByte(class, '.'); i >= 0 {
			module, name = class[:i], class[i+1:]
		}
		exc := &protocol.Exception{Module: module, Type: name, Message: pyjson.AppendArray(nil, args)}
		exc.Traceback = "Traceback (most recent call last):\n" + exc.Error() + "\n"
		return exc
	}
	rest := make([]any, len(args)-1)
	for i, arg := range args[1:] {
		rest[i] = arg
	}
	return tasks.Raise(class, text, rest...)
}

func registerParityRetries(reg registrar) {
	second := tasks.RetryCountdown(time.Second)
	reg.Register("shoptasks.flaky", func(ctx context.Context, failures int, countdown float64) (int, error) {
		retries := tasks.Current(ctx).Retries
		if retries < failures {
			return 0, tasks.Retry(tasks.Raise("shoptasks.OutOfStock", "again", retries), tasks.RetryCountdown(duration(countdown)))
		}
		return retries, nil
	}, tasks.Params("failures, countdown=1"), tasks.MaxRetries(3))
	reg.Register("shoptasks.flaky_plain", func() error { return tasks.Retry(nil, second) }, tasks.Params(""), tasks.MaxRetries(1))
	reg.Register("shoptasks.flaky_elsewhere", func(ctx context.Context, x int) (int, error) {
		if tasks.Current(ctx).Retries == 0 {
			return 0, tasks.Retry(nil, tasks.RetryArgs(x+1), tasks.RetryQueue("other"), tasks.RetryPriority(3), second)
		}
		return x, nil
	}, tasks.Params("x"))
	reg.Register("shoptasks.automatic", func(failing bool) error {
		if failing {
			return tasks.Raise("shoptasks.OutOfStock", "auto", 0)
		}
		return tasks.Raise("ValueError", "not retried")
	}, tasks.Params("failing"), tasks.AutoRetry(isOneOf([]string{"OutOfStock"})), tasks.MaxRetries(2), tasks.RetryDelay(time.Second))
}

func registerParityRecords(reg registrar, j *journal) {
	progress := func(ctx context.Context) error {
		return tasks.UpdateState(ctx, "PROGRESS", json.RawMessage(`{"done": 1, "of": 2}`))
	}
	reg.Register("shoptasks.progress", func(ctx context.Context) (any, error) {
		if err := progress(ctx); err != nil {
			return nil, err
		}
		found, err := ownRecord(ctx)
		return []any{found.Status, found.Result}, err
	}, tasks.Params(""))
	reg.Register("shoptasks.progress_fails", func(ctx context.Context) error {
		return errors.Join(tasks.UpdateState(ctx, "PROGRESS", json.RawMessage(`{"done": 1}`)), tasks.Raise("ValueError", "after progress"))
	}, tasks.Params(""))
	reg.Register("shoptasks.custom_state_ignored", func(ctx context.Context) error {
		if err := tasks.UpdateState(ctx, "PARKED", map[string]any{"why": "own state stays"}); err != nil {
			return err
		}
		return tasks.Ignore()
	}, tasks.Params(""))
	reg.Register("shoptasks.started", func(ctx context.Context) (any, error) {
		found, err := ownRecord(ctx)
		var told map[string]any
		if err == nil {
			err = json.Unmarshal(found.Result, &told)
		}
		return []any{found.Status, slices.Sorted(maps.Keys(told)), told["pid"] == float64(os.Getpid())}, err
	}, tasks.Params(""), tasks.TrackStarted(true))
	reg.Register("shoptasks.callback", func(ctx context.Context, result json.RawMessage) error {
		return j.note(ctx, "callback", "result", result)
	}, tasks.Params("result"))
	reg.Register("shoptasks.old_errback", func(id string) error {
		return j.noteOf(id, "old errback")
	}, tasks.Params("task_id"))
	reg.Register("shoptasks.errback", func(failed tasks.Failure) error {
		return j.noteOf(failed.Request.ID, "errback", "exc", failed.Exception.Repr(), "traceback", failed.Traceback != "", "task", failed.Request.Name)
	}, tasks.Errback())
}

// record is what is stored of a task.
type record struct {
	Status string          `json:"status"`
	Result json.RawMessage `json:"result"`
}

// ownRecord reads the record of the running task, as a Python task can with its backend.
func ownRecord(ctx context.Context) (found record, err error) {
	conn, err := redis.DialURLContext(ctx, os.Getenv("BACKEND"))
	if err != nil {
		return found, err
	}
	defer conn.Close()
	raw, err := redis.Bytes(conn.Do("GET", "celery-task-meta-"+tasks.Current(ctx).ID))
	if err == nil {
		err = json.Unmarshal(raw, &found)
	}
	return found, err
}

func registerParityCanvases(reg registrar, j *journal) {
	add := func(args ...any) canvas.Signature { return canvas.Sig("shoptasks.add", args...) }
	total := canvas.Sig("shoptasks.total")
	replace := func(by canvas.Signature) func(ctx context.Context) error {
		return func(ctx context.Context) error { return tasks.Replace(ctx, by) }
	}
	reg.Register("shoptasks.becomes", func(ctx context.Context, n int) (any, error) {
		if n == 0 {
			return "end", nil
		}
		return nil, tasks.Replace(ctx, canvas.Sig("shoptasks.becomes", n-1))
	}, tasks.Params("n"))
	reg.Register("shoptasks.becomes_group", replace(canvas.Group(add(0, 0), add(1, 1), add(2, 2))), tasks.Params(""))
	reg.Register("shoptasks.becomes_chain", replace(canvas.Chain(add(1, 2), add(10))), tasks.Params(""))
	reg.Register("shoptasks.becomes_chord", replace(canvas.Chord([]canvas.Signature{add(1, 2), add(3, 4)}, total)), tasks.Params(""))
	reg.Register("shoptasks.joins_in", func(ctx context.Context, x int) (int, error) {
		_, err := tasks.AddToChord(ctx, add(x, 100))
		return x, err
	}, tasks.Params("x"))
	reg.Register("shoptasks.spawns", func(ctx context.Context, n int) (ids []string, err error) {
		for i := range n {
			sent, err := tasks.Send(ctx, add(i, i))
			if err != nil {
				return nil, err
			}
			ids = append(ids, sent.ID)
		}
		return ids, nil
	}, tasks.Params("n"))
	reg.Register("shoptasks.spawns_untracked", func(ctx context.Context) error {
		_, err := tasks.Send(ctx, add(7, 7))
		return err
	}, tasks.Params(""), tasks.Trail(false))
	reg.Register("shoptasks.spawns_all_kinds", func(ctx context.Context) (int, error) {
		_, err := tasks.Send(ctx, canvas.Chain(add(1, 2), add(3)))
		if err == nil {
			_, err = tasks.Send(ctx, canvas.Chord([]canvas.Signature{add(1, 1)}, total))
		}
		if err == nil {
			_, err = tasks.Send(ctx, add(5, 5), canvas.Headers(map[string]any{"mine": 1}), canvas.Priority(4))
		}
		return 3, err
	}, tasks.Params(""))
}

func registerParityLimits(reg registrar, j *journal) {
	sleeps := func(ctx context.Context, seconds float64, key *string) (any, error) {
		if err := j.note(ctx, "sleeps", "key", key); err != nil {
			return nil, err
		}
		return json.RawMessage(tasks.Current(ctx).Args[1 : len(tasks.Current(ctx).Args)-1]), sleep(ctx, duration(seconds))
	}
	reg.Register("shoptasks.sleeps", sleeps, tasks.Params("seconds, key=None"))
	long := func(ctx context.Context) error { return sleep(ctx, time.Minute) }
	soft, limit := tasks.SoftTimeLimit(time.Second), tasks.TimeLimit(time.Second)
	reg.Register("shoptasks.soft_caught", func(ctx context.Context) (string, error) {
		if err := long(ctx); !errors.Is(err, tasks.ErrSoftTimeLimit) {
			return "", err
		}
		return "caught SoftTimeLimitExceeded()", nil
	}, tasks.Params(""), soft)
	reg.Register("shoptasks.soft_uncaught", long, tasks.Params(""), soft)
	reg.Register("shoptasks.soft_then_hard", func() { time.Sleep(4 * time.Second) }, tasks.Params(""), soft, tasks.TimeLimit(2*time.Second))
	reg.Register("shoptasks.hard", long, tasks.Params(""), limit)
}

// note leaves a line in the journal of testdata/parity about the running task.
func (j *journal) note(ctx context.Context, what string, facts ...any) error {
	return j.noteOf(tasks.Current(ctx).ID, what, facts...)
}

func (j *journal) noteOf(id, what string, facts ...any) error {
	line := map[string]any{"what": what, "task_id": id, "pid": os.Getpid()}
	for i := 0; i < len(facts); i += 2 {
		line[facts[i].(string)] = facts[i+1]
	}
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	return j.write("journal", string(text))
}

// firstTime tells whether the running task runs for the first time, whatever its message says.
func (j *journal) firstTime(ctx context.Context) (bool, error) {
	conn := j.pool.Get()
	defer conn.Close()
	n, err := redis.Int(conn.Do("INCR", "runs of "+tasks.Current(ctx).ID))
	return n == 1, err
}
