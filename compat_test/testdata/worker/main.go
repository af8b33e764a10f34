// Command worker serves the Go twins of the tasks in testdata/app/tapp.py.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"os"
	"regexp"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/cli"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

func main() {
	reg := chosen{Registry: tasks.NewRegistry(), names: regexp.MustCompile(os.Getenv("GO_TASKS"))}
	register(reg)
	registerTyped(reg)
	registerDjango(reg)
	j := openJournal()
	registerJournal(reg, j)
	registerFeatures(reg, j)
	registerCanvas(reg, j)
	registerRPC(reg)
	registerGocelery(reg)
	registerParity(reg, j)
	registerShadowed(reg, j)
	if serializer := os.Getenv("SERIALIZER"); serializer != "" {
		if err := runSerializer(reg.Registry, serializer); err != nil {
			panic(err)
		}
		return
	}
	cli.Main(reg.Registry)
}

// registrar is where a task is registered.
type registrar interface {
	Register(name string, fn any, opts ...tasks.Option)
}

// chosen registers the tasks whose names match GO_TASKS: all, if that is not set. The others
// are left to Python.
type chosen struct {
	*tasks.Registry
	names *regexp.Regexp
}

func (c chosen) Register(name string, fn any, opts ...tasks.Option) {
	if c.names.MatchString(name) {
		c.Registry.Register(name, fn, opts...)
	}
}

func register(reg registrar) {
	reg.Register("tapp.echo", func(args []any, kwargs map[string]any) map[string]any {
		if args == nil {
			args = []any{}
		}
		if kwargs == nil {
			kwargs = map[string]any{}
		}
		return map[string]any{"args": args, "kwargs": kwargs}
	}, tasks.Params("*args, **kwargs"))
	reg.Register("tapp.same", func(x any) any { return x }, tasks.Params("x"))
	reg.Register("tapp.add", func(x, y, z int) int { return x + y + z }, tasks.Params("x, y, z=0"))
	reg.Register("tapp.greet", func(name, greeting, mark string) string {
		return greeting + " " + name + mark
	}, tasks.Params("name, greeting='hi', *, mark='!'"))
	reg.Register("tapp.named", func(a, b, c any) []any { return []any{a, b, c} }, tasks.Params("a, *, b, c=None"))
	reg.Register("tapp.decimal", func() pyjson.Decimal { return "1.10" }, tasks.Params(""))
	reg.Register("tapp.says", func(ctx context.Context, text string) { tasks.Logger(ctx).Warn(text) }, tasks.Params("text"))
	reg.Register("tapp.nothing", func() {}, tasks.Params(""))
	reg.Register("tapp.fail", tasks.HandlerFunc(func(_ context.Context, req *tasks.Request) (any, error) {
		return nil, &protocol.Exception{
			Module: "builtins", Type: "ValueError", Message: req.Args, Traceback: "Traceback: tapp.fail in Go",
		}
	}))
	reg.Register("tapp.throw", throw, tasks.Params("module, name, text, *args"))
	reg.Register("tapp.throw_hidden", func(text string) error {
		return tasks.Raise("nowhere.errors.Hidden", text)
	}, tasks.Params("text"))
	reg.Register("tapp.ignored", func(x any) any { return x }, tasks.Params("x"), tasks.IgnoreResult(true))
	reg.Register("tapp.ignored_fail", func(x any) error {
		return tasks.Raise("ValueError", fmt.Sprint(x))
	}, tasks.Params("x"), tasks.IgnoreResult(true))
	reg.Register("tapp.whoami", whoami, tasks.Params(""))
	reg.Register("tapp.again", func(ctx context.Context) (int, error) {
		if n := tasks.Current(ctx).Retries; n > 0 {
			return n, nil
		}
		return 0, tasks.Retry(nil, tasks.RetryCountdown(0))
	}, tasks.Params(""), tasks.MaxRetries(1))
	reg.Register("tapp.nap", nap, tasks.Params("seconds"))
	reg.Register("tapp.nap_late", nap, tasks.Params("seconds"), tasks.AcksLate(true))
}

// nap sleeps, and can be stopped.
func nap(ctx context.Context, seconds any) (any, error) {
	length, ok := seconds.(float64)
	if n, isInt := seconds.(int64); isInt {
		length, ok = float64(n), true
	}
	if !ok {
		return nil, tasks.Raise("TypeError", fmt.Sprintf("cannot sleep for %v", seconds))
	}
	select {
	case <-time.After(time.Duration(length * float64(time.Second))):
		return seconds, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// registerDjango adds the tasks of testdata/djangoproj.
func registerDjango(reg registrar) {
	reg.Register("app.tasks.test", func(a, b int) int { return a + b }, tasks.Params("a, b"))
	reg.Register("app.tasks.greet", func(name, greeting string) map[string]string {
		return map[string]string{"text": greeting + ", " + name}
	}, tasks.Params("name, *, greeting='您好'"))
}

func throw(module, name, text string, args ...any) error {
	return tasks.Raise(module+"."+name, text, args...)
}

func whoami(ctx context.Context) map[string]any {
	req := tasks.Current(ctx)
	return map[string]any{
		"id": req.ID, "root_id": null(req.RootID), "parent_id": null(req.ParentID), "group": null(req.GroupID),
		"retries": req.Retries, "eta": moment(req.ETA), "expires": moment(req.Expires), "name": req.Name,
	}
}

// null is Python's None for a missing text.
func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func moment(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

// price is a type that the Python side has registered with kombu, too.
type price struct {
	Cents    int64
	Currency string
}

// priceValue is how it travels.
type priceValue struct {
	Cents    int64  `json:"cents"`
	Currency string `json:"currency"`
}

func registerTyped(reg registrar) {
	x := tasks.Params("x")
	reg.Register("tapp.typed_int", func(x int64) int64 { return x }, x)
	reg.Register("tapp.typed_float", func(x float64) float64 { return x }, x)
	reg.Register("tapp.typed_str", func(x string) string { return x }, x)
	reg.Register("tapp.typed_bool", func(x bool) bool { return x }, x)
	reg.Register("tapp.typed_bytes", func(x []byte) []byte { return x }, x)
	reg.Register("tapp.typed_time", func(x time.Time) time.Time { return x }, x)
	reg.Register("tapp.typed_list", func(x []int) []int { return x }, x)
	reg.Register("tapp.typed_map", func(x map[string]int) map[string]int { return x }, x)
	reg.Register("tapp.typed_bigint", func(x *big.Int) *big.Int { return x }, x)
	reg.Register("tapp.typed_pointer", func(x *int) *int { return x }, x)
	reg.Register("tapp.typed_uuid", func(x pyjson.UUID) pyjson.UUID { return x }, x)
	reg.Register("tapp.typed_decimal", func(x pyjson.Decimal) pyjson.Decimal { return x }, x)
	reg.Register("tapp.typed_price", func(x price) price { return price{2 * x.Cents, x.Currency} }, x)
	pyjson.RegisterType("price", func(p price) (priceValue, error) { return priceValue(p), nil },
		func(v priceValue) (price, error) { return price(v), nil })
}

// journal is where tasks leave a trace of each run: lists in another database.
type journal struct{ pool *redis.Pool }

func openJournal() *journal {
	url := os.Getenv("JOURNAL")
	return &journal{&redis.Pool{MaxIdle: 100, Dial: func() (redis.Conn, error) { return redis.DialURL(url) }}}
}

// write notes an entry in a list, or, if this process was given a name, in the stream of all notes, with that.
func (j *journal) write(list, entry string) error {
	if who := os.Getenv("WHO"); who != "" {
		return j.do("XADD", "notes", "*", list, fmt.Sprintf("%s %s/%d", entry, who, os.Getpid()))
	}
	return j.do("RPUSH", list, entry)
}

func (j *journal) do(command string, args ...any) error {
	conn := j.pool.Get()
	defer conn.Close()
	_, err := conn.Do(command, args...)
	return err
}

// noteIfBefore writes an entry if the journal's clock says that a time, in seconds, has not come.
func (j *journal) noteIfBefore(due float64, list, entry string) error {
	conn := j.pool.Get()
	defer conn.Close()
	now, err := redis.Int64s(conn.Do("TIME"))
	if err != nil || float64(now[0])+float64(now[1])/1e6 >= due {
		return err
	}
	return j.write(list, entry)
}

// retryOptions are Celery's, of a call of retry.
type retryOptions struct {
	Countdown float64 `json:"countdown"` // seconds
	Priority  *int    `json:"priority"`
}

func (o retryOptions) all() []tasks.RetryOption {
	options := []tasks.RetryOption{tasks.RetryCountdown(time.Duration(o.Countdown * float64(time.Second)))}
	if o.Priority != nil {
		options = append(options, tasks.RetryPriority(*o.Priority))
	}
	return options
}

func registerJournal(reg registrar, j *journal) {
	work := func(key string, seconds float64) (string, error) {
		if err := j.write("started", key); err != nil {
			return "", err
		}
		time.Sleep(time.Duration(seconds * float64(time.Second)))
		return key, j.write("done", key)
	}
	reg.Register("tapp.work", work, tasks.Params("key, seconds"))
	reg.Register("tapp.work_late", work, tasks.Params("key, seconds"), tasks.AcksLate(true))
	reg.Register("tapp.wait_late", func(key string) error {
		return errors.Join(j.write("started", key), j.do("BLPOP", "go", 0), j.write("done", key))
	}, tasks.Params("key"), tasks.AcksLate(true))
	reg.Register("tapp.work_due", func(key string, due float64) (string, error) {
		if err := j.noteIfBefore(due, "too soon", key); err != nil {
			return "", err
		}
		return work(key, 0)
	}, tasks.Params("key, due"), tasks.AcksLate(true))
	attempt := func(ctx context.Context, key string) (last bool, err error) { // each has a key of its own
		n := tasks.Current(ctx).Retries + 1
		_, err = work(fmt.Sprintf("%s.%d", key, n), 0)
		return n == 3, err
	}
	reg.Register("tapp.work_again", func(ctx context.Context, key string, options retryOptions) error {
		last, err := attempt(ctx, key)
		if last || err != nil {
			return err
		}
		return tasks.Retry(nil, options.all()...)
	}, tasks.Params("key, options"), tasks.AcksLate(true))
	errAgain := errors.New("again")
	reg.Register("tapp.work_auto", func(ctx context.Context, key string) error {
		last, err := attempt(ctx, key)
		if last || err != nil {
			return err
		}
		return errAgain
	}, tasks.Params("key"), tasks.AcksLate(true), tasks.AutoRetryOn(errAgain), tasks.RetryDelay(100*time.Millisecond))
	reg.Register("tapp.work_slot", func(ctx context.Context) (string, error) {
		return work("slot-"+tasks.Current(ctx).ID, 0)
	}, tasks.Params(""), tasks.AcksLate(true))
	stamp := func(key string) error {
		return j.write("stamps", fmt.Sprintf("%s %.6f", key, float64(time.Now().UnixNano())/1e9))
	}
	reg.Register("tapp.stamp", stamp, tasks.Params("key"), tasks.AcksLate(true))
	reg.Register("tapp.limited", stamp, tasks.Params("key"), tasks.RateLimit("4/s"))
	reg.Register("tapp.die", func(key string) {
		_ = j.write("started", key)
		os.Exit(3)
	}, tasks.Params("key"), tasks.AcksLate(true))
}
