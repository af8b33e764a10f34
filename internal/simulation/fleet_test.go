package simulation_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/amqpbroker"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/internal/simulation"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings/connection"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

const redisURL = "redis://redis:6379/0"

// A fleet is several workers or beats, one client and their Redis.
type fleet struct {
	t       *testing.T
	redis   *miniredis.Miniredis
	rabbit  rabbit // the broker; the zero value: that is Redis
	network *simulation.Network
	ledger  *ledger
	log     io.Writer
	client  *client.Client
	sending sync.WaitGroup
	live    func(context.Context, *node) // the life of a node's process
	nodes   []*node                      // those that live
	leaving map[*node]bool
	back    time.Time // when the last outage ends
	made    int
	peers   int
	dice    struct {
		sync.Mutex
		*rand.Rand
	}
	closing []func()
}

// A node is a worker or a beat with its connections.
type node struct {
	name  string
	stop  context.CancelFunc
	ended chan struct{}
	back  time.Time // when it is reachable again
}

func newFleet(t *testing.T, seed uint64, log io.Writer) *fleet {
	t.Helper()
	f := prepare(t, seed, log)
	f.connect()
	return f
}

// prepare makes a fleet whose client is not connected yet.
func prepare(t *testing.T, seed uint64, log io.Writer) *fleet {
	t.Helper()
	f := &fleet{t: t, redis: miniredis.NewMiniRedis(), ledger: newLedger(), log: log, leaving: map[*node]bool{}}
	f.live = f.run
	f.redis.ClockTTL(true)
	f.dice.Rand = rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // the same for a seed
	first, err := f.redis.Dial()                 // without one there is no server
	if err != nil {
		t.Fatal(err)
	}
	f.network = simulation.New(seed, func(addr string, nc net.Conn) {
		if addr == rabbitAddr {
			f.rabbit.Serve(nc)
		} else {
			f.redis.Server().ServeConn(nc)
		}
	})
	f.closing = append(f.closing, func() { first.Close(); f.redis.Close() })
	return f
}

func (f *fleet) connect() {
	t := f.t
	t.Helper()
	f.do(func() {
		publisher, err := f.publisher(t.Context(), "client")
		if err != nil {
			t.Error(err)
			return
		}
		results, err := redisbackend.New(redisbackend.Config{URL: redisURL, Connection: f.dial("client")})
		if err != nil {
			t.Error(err)
			return
		}
		f.client, err = client.New(client.Config{Publisher: publisher, Loader: results})
		if err != nil {
			t.Error(err)
		}
		f.closing = append(f.closing, func() { results.Close(); publisher.Close() })
	})
}

func (f *fleet) dial(name string) connection.Options {
	return connection.Options{Dial: f.network.Dialer(name)}
}

// chance is true once in n times. It is for what does not run in steps of the network.
func (f *fleet) chance(n int) bool {
	f.dice.Lock()
	defer f.dice.Unlock()
	return f.dice.IntN(n) == 0
}

// do runs what needs the network, and moves the network until it is done.
func (f *fleet) do(what func()) {
	done := make(chan struct{})
	go func() { defer close(done); what() }()
	f.until(func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
}

// until moves the network until something holds, for at most ten minutes.
func (f *fleet) until(holds func() bool) bool {
	for deadline := time.Now().Add(10 * time.Minute); !holds(); {
		if time.Now().After(deadline) {
			return false
		}
		f.network.Step(time.Second)
	}
	return true
}

// registry holds the tasks of a node. They take a name for what is run, how long it takes in
// milliseconds, how often it is to be tried again, and after how long.
func (f *fleet) registry(node string) *tasks.Registry {
	reg := tasks.NewRegistry()
	work := func(ctx context.Context, name string, takes, tries, pause int) (string, error) {
		tried := tasks.Current(ctx).Retries
		r := f.ledger.begin(attempt(name, tried), node)
		if err := sleep(ctx, milliseconds(takes)); err != nil {
			return "", err
		}
		f.network.Hold(node)
		f.ledger.end(r)
		if tried < tries {
			return "", tasks.Retry(nil, tasks.RetryCountdown(milliseconds(pause)))
		}
		return name, nil
	}
	params := tasks.Params("name, takes, tries=0, pause=0")
	reg.Register(early, work, params)
	reg.Register(late, work, params, tasks.AcksLate(true))
	return reg
}

// The names of tasks: what is acknowledged before it runs, and what is when it has.
const (
	early = "early"
	late  = "late"
)

func milliseconds(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// start adds a node, which is started again when it ends by itself.
func (f *fleet) start() {
	f.made++
	n := &node{name: fmt.Sprintf("w%d", f.made), ended: make(chan struct{})}
	f.ledger.meet(n.name)
	ctx, cancel := context.WithCancel(f.t.Context())
	n.stop = cancel
	f.nodes = append(f.nodes, n)
	go func() {
		defer close(n.ended)
		for ctx.Err() == nil {
			f.live(ctx, n)
			sleep(ctx, time.Second)
		}
	}()
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run is the life of a worker's process.
func (f *fleet) run(ctx context.Context, n *node) {
	log := slog.New(slog.NewTextHandler(f.log, nil)).With("node", n.name)
	consumer, err := f.consumer(ctx, n.name, log)
	if err != nil {
		log.Error("cannot consume", "error", err)
		return
	}
	defer consumer.Close()
	publisher, err := f.publisher(ctx, n.name)
	if err != nil {
		log.Error("cannot publish", "error", err)
		return
	}
	defer publisher.Close()
	results, err := redisbackend.New(redisbackend.Config{URL: redisURL, Connection: f.dial(n.name)})
	if err != nil {
		f.t.Error(err)
		return
	}
	defer results.Close()
	w, err := worker.New(worker.Config{
		Registry: f.registry(n.name), Consumer: consumer, Publisher: publisher, Store: results, Logger: log,
		Hostname: "celery@" + n.name, Concurrency: 2,
	})
	if err != nil {
		f.t.Error(err)
		return
	}
	if err := w.Run(ctx); err != nil {
		log.Error("ended", "error", err)
	}
}

func (f *fleet) publisher(ctx context.Context, name string) (broker.Publisher, error) {
	if f.rabbit.Server != nil {
		return amqpbroker.OpenPublisher(ctx, f.rabbit.publishing(f, name))
	}
	return redisbroker.OpenPublisher(ctx, redisbroker.PublisherConfig{URL: redisURL, Connection: f.dial(name)})
}

func (f *fleet) consumer(ctx context.Context, name string, log *slog.Logger) (broker.Consumer, error) {
	if f.rabbit.Server != nil {
		return amqpbroker.Open(ctx, f.rabbit.consuming(f, name, log))
	}
	return redisbroker.Open(ctx, redisbroker.Config{
		URL: redisURL, Connection: f.dial(name), Logger: log, Queues: broker.Named("celery", shared), Hostname: name, VisibilityTimeout: f.ledger.patience,
	})
}

// kill ends a worker as a SIGKILL does.
func (f *fleet) kill(n *node) {
	f.ledger.kill(n.name)
	f.network.Kill(n.name)
	f.leave(n)
}

// cutOff keeps a worker from hearing and being heard for a time.
func (f *fleet) cutOff(n *node, d time.Duration) {
	n.back = later(n.back, time.Now().Add(d))
	f.ledger.cutOff(n.name, n.back)
	f.network.CutOff(n.name)
	time.AfterFunc(d, func() { f.network.Reach(n.name) })
}

// freeze has a node stand still for a time.
func (f *fleet) freeze(n *node, d time.Duration) {
	n.back = later(n.back, time.Now().Add(d))
	f.ledger.cutOff(n.name, n.back)
	f.network.Freeze(n.name)
	over := make(chan struct{})
	time.AfterFunc(d, func() { f.network.Thaw(n.name); close(over) })
	f.closing = append(f.closing, func() { <-over }) // else what stands still never ends
}

// outage keeps Redis from hearing anybody. Nobody has reason to take a worker for dead afterwards, but
// for those that end meanwhile and do not wait for Redis.
func (f *fleet) outage(d time.Duration) {
	f.back = later(f.back, time.Now().Add(d))
	f.network.Silence(f.back)
	f.ledger.silence(f.back)
	for n := range f.leaving {
		f.ledger.abandon(n.name)
	}
}

func later(t, u time.Time) time.Time {
	if t.After(u) {
		return t
	}
	return u
}

// leave has a worker end in its own time.
func (f *fleet) leave(n *node) {
	f.nodes = slices.DeleteFunc(f.nodes, func(other *node) bool { return other == n })
	f.leaving[n] = true
	if time.Now().Before(f.back) || time.Now().Before(n.back) {
		f.ledger.abandon(n.name)
	}
	n.stop()
	f.closing = append(f.closing, func() { <-n.ended })
}

// send sends what is to run.
func (f *fleet) send(call canvas.Signature) {
	f.sending.Go(func() {
		if _, err := f.client.Send(f.t.Context(), call); err != nil {
			f.t.Errorf("cannot send: %v", err)
		}
	})
}

// idle tells that no message is left anywhere.
func (f *fleet) idle() bool { return len(f.messages()) == 0 }

// messages returns the keys, or queues, that hold messages.
func (f *fleet) messages() []string {
	if f.rabbit.Server != nil {
		return f.rabbit.messages()
	}
	return slices.DeleteFunc(f.redis.Keys(), func(key string) bool {
		return !strings.HasPrefix(key, "celery\x06") && key != "celery" && !strings.HasPrefix(key, shared) && key != "unacked" && key != "unacked_index" &&
			!strings.HasPrefix(key, "apium.inbox") && !strings.HasPrefix(key, "apium.parked") && !strings.HasPrefix(key, "apium.dead")
	})
}

// close stops all that runs.
func (f *fleet) close() {
	for _, n := range slices.Clone(f.nodes) {
		f.leave(n)
	}
	f.do(func() {
		for _, end := range slices.Backward(f.closing) {
			end()
		}
	})
}
