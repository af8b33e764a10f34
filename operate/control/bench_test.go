package control_test

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/membroker"
	"github.com/apium/apium/internal/logtest"
	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

const node = "celery@test"

// bench is a worker with a mailbox, on a broker and a backend in memory, in virtual time.
type bench struct {
	t       *testing.T
	broker  membroker.Broker
	results *membackend.Backend
	reg     *tasks.Registry
	cfg     worker.Config
	control control.Config
	log     logtest.Buffer

	w       *worker.Worker
	replies broker.Consumer // of the requester
	stop    context.CancelFunc
	ended   sync.WaitGroup
}

// oid names the requester.
const oid = "4b7a2c6e-2a3c-3e7c-8f0e-3b1d1f6d2f10"

func inBubble(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, results: membackend.New(), reg: tasks.NewRegistry()}
		log := slog.New(slog.NewTextHandler(&b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		b.cfg = worker.Config{
			Registry: b.reg, Store: b.results, Publisher: b.broker.Publisher(), Consumer: b.broker.Consumer("celery"),
			Concurrency: 2, Hostname: node, Logger: log,
		}
		b.control = control.Config{Broker: b.broker.Broadcaster().(control.Broker), Commands: b.reg, Logger: log}
		test(t, b)
		if b.stop != nil {
			b.stop()
			b.ended.Wait()
		}
	})
}

func (b *bench) start() {
	b.t.Helper()
	var err error
	if b.w, err = worker.New(b.cfg); err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	b.stop = cancel
	b.control.Worker = b.w
	if b.control.Shutdown == nil {
		b.control.Shutdown = cancel
	}
	m, err := control.New(b.control)
	if err != nil {
		b.t.Fatal(err)
	}
	b.ended.Go(func() {
		if err := b.w.Run(ctx); err != nil {
			b.t.Errorf("worker: %v", err)
		}
	})
	b.ended.Go(func() {
		if err := m.Run(ctx); err != nil {
			b.t.Errorf("mailbox: %v", err)
		}
	})
	<-m.Listening()
	b.replies = b.broker.ConsumerOf(broker.Queue{
		Name: oid + ".reply.celery.pidbox", Exchange: "reply.celery.pidbox", RoutingKey: oid,
	})
	synctest.Wait()
}

// request broadcasts a request that wants a reply.
func (b *bench) request(r protocol.ControlRequest) {
	b.t.Helper()
	r.Ticket, r.Clock = "ticket", 1
	r.ReplyTo = &protocol.ControlAddress{Exchange: "reply.celery.pidbox", RoutingKey: oid}
	b.broadcast(r.Encode())
}

func (b *bench) broadcast(message protocol.Message) {
	b.t.Helper()
	err := b.broker.Broadcaster().Broadcast(b.t.Context(), broker.Publication{Exchange: "celery.pidbox", Message: message})
	if err != nil {
		b.t.Fatal(err)
	}
	synctest.Wait()
}

// reply returns the reply that has come, as JSON; "" if there is none.
func (b *bench) reply() string {
	b.t.Helper()
	if b.broker.Len(oid+".reply.celery.pidbox") == 0 {
		return ""
	}
	ds, err := b.replies.Claim(b.t.Context(), 1)
	if err != nil {
		b.t.Fatal(err)
	}
	var received protocol.Received
	ds[0].Read(&received)
	r, err := b.w.Decoder().DecodeControlReply(&received)
	if err != nil {
		b.t.Fatal(err)
	}
	if r.Node != node || r.Ticket != "ticket" || r.Clock < 2 {
		b.t.Errorf("the reply is from %s for %s at %d", r.Node, r.Ticket, r.Clock)
	}
	if _, err := b.replies.Ack(b.t.Context(), ds[0].Tag); err != nil {
		b.t.Fatal(err)
	}
	return string(r.Value)
}

// call runs a command with arguments in JSON and returns its reply.
func (b *bench) call(method, arguments string) string {
	b.t.Helper()
	r := protocol.ControlRequest{Method: method}
	if arguments != "" {
		r.Arguments = []byte(arguments)
	}
	b.request(r)
	return b.reply()
}

func (b *bench) want(method, arguments, reply string) {
	b.t.Helper()
	if got := b.call(method, arguments); got != reply {
		b.t.Errorf("%s %s = %s\n  want %s", method, arguments, got, reply)
	}
}

// get runs a command and decodes its reply.
func get[T any](b *bench, method, arguments string) (value T) {
	b.t.Helper()
	reply := b.call(method, arguments)
	if err := pyjson.Unmarshal([]byte(reply), &value); err != nil {
		b.t.Fatalf("%s %s = %s: %v", method, arguments, reply, err)
	}
	return value
}

// call is a task to send.
type call struct {
	ID, Task, Queue string
	Args            []any
	Countdown       time.Duration
	Priority        int
	Stamps          map[string]any
}

func (b *bench) send(c call) (id string) {
	b.t.Helper()
	task := &protocol.Task{
		Name: c.Task, ID: cmp.Or(c.ID, protocol.NewID()), RoutingKey: cmp.Or(c.Queue, "celery"), Priority: c.Priority,
		Args: b.json(c.Args), StampedHeaders: slices.Collect(maps.Keys(c.Stamps)), Stamps: b.json(c.Stamps),
	}
	if c.Countdown > 0 {
		task.ETA = time.Now().Add(c.Countdown).UTC()
	}
	message, err := protocol.EncodeTask(task, protocol.Publication{})
	if err == nil {
		err = b.broker.Publisher().Publish(b.t.Context(), broker.Publication{RoutingKey: task.RoutingKey, Message: message})
	}
	if err != nil {
		b.t.Fatal(err)
	}
	synctest.Wait()
	return task.ID
}

func (b *bench) json(value any) []byte {
	b.t.Helper()
	raw, err := pyjson.Append(nil, value)
	if err != nil {
		b.t.Fatal(err)
	}
	return raw
}

// state returns "STATE result" of a task; "" when nothing is stored.
func (b *bench) state(id string) string {
	b.t.Helper()
	raw, err := b.results.Load(b.t.Context(), id)
	if err != nil {
		return ""
	}
	rec, err := protocol.DecodeResult(raw)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(rec.State) + " " + string(rec.Result)
}

func revokedState(reason string) string {
	return `REVOKED {"exc_type": "TaskRevokedError", "exc_message": ["` + reason + `"], "exc_module": "celery.exceptions"}`
}

func (b *bench) wantState(id, want string) {
	b.t.Helper()
	if got := b.state(id); got != want {
		b.t.Errorf("state = %s\n want %s", got, want)
	}
}

func (b *bench) wantLog(want string) {
	b.t.Helper()
	if !strings.Contains(b.log.String(), want) {
		b.t.Errorf("the log lacks %q:\n%s", want, b.log.String())
	}
}

// sleeper runs for as many seconds as it is told, or until its context is done.
func sleeper(ctx context.Context, seconds float64) error {
	select {
	case <-time.After(time.Duration(seconds * float64(time.Second))):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stubborn runs on whatever happens to its context.
func stubborn(seconds float64) { time.Sleep(time.Duration(seconds * float64(time.Second))) }

func (b *bench) registerSleepers() {
	b.reg.Register("app.sleep", sleeper, tasks.Params("seconds"))
	b.reg.Register("app.late", sleeper, tasks.Params("seconds"), tasks.AcksLate(true))
	b.reg.Register("app.stubborn", stubborn, tasks.Params("seconds"))
}
