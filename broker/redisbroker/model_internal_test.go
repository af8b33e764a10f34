package redisbroker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/internal/explorer"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/settings/connection"
)

// Who holds a message is explored: see package explorer. There are workers, that run the code of this package, and a peer of kombu's.

// tick is how long time passes at once.
const tick = 3 * time.Second

// A state is a moment of a history.
type state struct {
	redis  explorer.Redis
	actors []actor
	ticks  int // how often time may pass yet
	deaths int // how many may die yet
	losses int // how many answers may be lost yet

	settled, acked bool // the message: it is done; it is taken, and nobody but who took it will run it
	lapses         int  // how often somebody held it for longer than he may
	runs           int
}

// times are the sorted sets whose scores are times.
func times(key string) bool { return key == "unacked_index" || strings.HasPrefix(key, "apium.parked.") }

// Clone copies what steps change. What redis, histories and known point to is replaced, never changed.
func (s *state) Clone() *state {
	c := *s
	c.actors = slices.Clone(s.actors)
	return &c
}

func (s *state) Append(to []byte) []byte {
	to = s.redis.Append(to)
	to = fmt.Appendf(to, "%d %d %d %t %t %d %d\n", s.ticks, s.deaths, s.losses, s.settled, s.acked, min(s.lapses, 1), min(s.runs, 1))
	for i := range s.actors {
		to = s.actors[i].append(to)
	}
	return to
}

const (
	modelPatience = 2 * tick // the visibility timeout
	modelAlive    = 2 * tick
)

// An actor is a worker, or a peer of kombu's, and what it knows.
type actor struct {
	name string
	peer bool
	dead bool
	left map[string]int // how often it may begin an operation yet; replaced, never changed

	op      string // that is under way
	history explorer.History

	epoch uint64        // of its sign of life
	term  uint64        // of its lease
	until time.Duration // that ends
	tags  uint64        // the number of the next

	held            *broker.Delivery
	age             time.Duration // since it was claimed or renewed
	popped          bool          // a peer has it in its hand only
	took            bool          // it has acknowledged it, and may not know that yet
	running, lapsed bool          // the handler; others may have had reason to take it away

	missing string // workers without a sign of life when it last looked
	mutex   string // who held the mutex of sweeps when it last swept, and for how long that has been so
	mutexed time.Duration
}

func (a *actor) append(to []byte) []byte {
	to = fmt.Appendf(to, "%s %t %v %s", a.name, a.dead, a.left, a.op)
	to = a.history.Append(to)
	to = fmt.Appendf(to, "%d %d %d %d %t %t %t %t %s %s %d\n", a.epoch, a.term, max(a.until, 0), a.tags, a.popped, a.took, a.running, a.lapsed, a.missing, a.mutex, a.mutexed)
	if a.held != nil {
		to = fmt.Appendf(to, "%s %d %d\n", a.held.Tag, a.held.Term, min(a.age, modelPatience))
	}
	return to
}

// A model is what is explored: who there is, and what they may do, how often.
type model struct {
	name          string
	actors        []actor
	early         bool // the message is acknowledged before it runs
	large         bool // it is explored only if asked for
	ticks, deaths int
	losses        int // answers
}

func modelWorker(name string, may map[string]int) actor {
	return actor{name: name, left: may, epoch: 1}
}

func modelPeer(may map[string]int) actor {
	return actor{name: "kombu", peer: true, left: may}
}

// models are what the gate explores. Each worker begins alive, but with no beat of its own.
var models = []model{
	{
		name: "a death", ticks: 2, deaths: 1, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "begin": 1, "finish": 1}),
			modelWorker("B", map[string]int{"beat": 1, "look": 2, "claim": 1, "begin": 1, "finish": 1}),
		},
	},
	{
		name: "a lapse", large: true, ticks: 2, actors: []actor{
			modelWorker("A", map[string]int{"beat": 1, "claim": 1, "begin": 1, "renew": 1}),
			modelWorker("B", map[string]int{"beat": 1, "look": 2, "claim": 1, "begin": 1}),
		},
	},
	{
		name: "acknowledged early", early: true, ticks: 2, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "accept": 1, "begin": 1}),
			modelWorker("B", map[string]int{"beat": 1, "look": 2, "claim": 1, "accept": 1, "begin": 1}),
		},
	},
	{
		name: "a sweep", large: true, ticks: 2, actors: []actor{
			modelWorker("A", map[string]int{"beat": 1, "claim": 1, "begin": 1, "renew": 1}),
			modelWorker("B", map[string]int{"beat": 1, "sweep": 1, "claim": 1, "begin": 1}),
		},
	},
	{
		name: "a peer sweeps", ticks: 2, deaths: 1, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "begin": 1, "renew": 1, "finish": 1}),
			modelPeer(map[string]int{"restore": 1, "pop": 1, "begin": 1}),
		},
	},
	{
		name: "a peer is swept", ticks: 2, actors: []actor{
			modelWorker("A", map[string]int{"beat": 1, "sweep": 1, "claim": 1, "begin": 1}),
			modelPeer(map[string]int{"pop": 1, "begin": 1, "finish": 1}),
		},
	},
	{
		name: "inboxes", ticks: 1, deaths: 1, actors: []actor{
			modelWorker("A", map[string]int{"move": 1, "begin": 1, "finish": 1, "close": 1}),
			modelWorker("B", map[string]int{"beat": 1, "claim": 1, "begin": 1, "give back": 1}),
			modelPeer(map[string]int{"pop": 1, "begin": 1, "finish": 1}),
		},
	},
	{
		name: "a claim is not heard of", ticks: 1, losses: 1, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "begin": 1, "finish": 1}),
			modelWorker("B", map[string]int{"claim": 1, "begin": 1}),
		},
	},
	{
		name: "an early acknowledgement is not heard of", early: true, deaths: 1, losses: 1, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "accept": 1, "begin": 1}),
			modelWorker("B", map[string]int{"claim": 1, "accept": 1, "begin": 1}),
		},
	},
	{
		name: "a move is not heard of", losses: 1, actors: []actor{
			modelWorker("A", map[string]int{"move": 1, "claim": 1, "begin": 1, "give back": 1, "close": 1}),
			modelWorker("B", map[string]int{"claim": 1, "begin": 1, "finish": 1}),
		},
	},
	{
		name: "parking is not heard of", ticks: 1, losses: 1, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "park": 1, "due": 1, "begin": 1}),
			modelWorker("B", map[string]int{"unpark": 1, "due": 1, "begin": 1}),
		},
	},
	{
		name: "much is not heard of", large: true, ticks: 1, deaths: 1, losses: 2, actors: []actor{
			modelWorker("A", map[string]int{"claim": 2, "begin": 1, "finish": 1}),
			modelWorker("B", map[string]int{"look": 2, "claim": 1, "begin": 1}),
		},
	},
	{
		name: "parked", ticks: 2, deaths: 1, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "park": 1, "due": 1, "begin": 1}),
			modelWorker("B", map[string]int{"unpark": 1, "due": 1, "begin": 1, "finish": 1}),
		},
	},
	{
		name: "parked beside a peer", large: true, ticks: 2, deaths: 1, actors: []actor{
			modelWorker("A", map[string]int{"claim": 1, "park": 1, "due": 1, "begin": 1}),
			modelPeer(map[string]int{"restore": 1, "pop": 1, "begin": 1}),
		},
	},
}

// A world runs a model.
type world struct {
	*explorer.Machine
	t       *testing.T
	redis   *redisconn.Config
	pipe    *redisconn.Pipeline
	model   *model
	workers map[string]*Consumer
	rescued map[string]bool // what was in Redis when somebody alive would have found the message
}

func newWorld(t *testing.T, m *model) *world {
	t.Helper()
	w := &world{Machine: explorer.NewMachine(t, times), t: t, model: m, workers: map[string]*Consumer{}, rescued: map[string]bool{}}
	var err error
	w.redis, err = redisconn.Parse("redis://redis:6379/0", redisconn.Broker, redisconn.Options{Options: connection.Options{
		Dial: w.Dial, SocketTimeout: -1, HealthCheckInterval: -1,
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.pipe = redisconn.NewPipeline(w.redis, redisconn.PipelineOptions{})
	t.Cleanup(func() { w.pipe.Close() })
	for i := range m.actors {
		if a := &m.actors[i]; !a.peer {
			w.workers[a.name] = w.worker(a.name)
		}
	}
	w.workers["rescue"] = w.worker("rescue")
	return w
}

// worker is a consumer without goroutines.
func (w *world) worker(name string) *Consumer {
	cfg := Config{
		URL: "redis://redis:6379/0", Queues: broker.Named("q"), PrioritySteps: []int{0}, Hostname: name, AliveFor: modelAlive, VisibilityTimeout: modelPatience,
		UnackedMutexExpire: 2 * tick, Logger: slog.New(slog.DiscardHandler),
	}
	cfg.setDefaults()
	c := &Consumer{cfg: cfg, redis: w.redis, pipe: w.pipe, keys: cfg.keyspace(0), log: cfg.Logger, id: idPrefix + name, stray: make(chan struct{}, 1), counted: map[string]string{}}
	c.tagPrefix, c.aliveKey = c.id+":", c.keys.alive(c.id)
	c.epoch.Store(1)
	c.ctx, c.cancel = context.WithCancel(w.t.Context())
	c.reach, c.giveUp = context.WithCancelCause(c.ctx)
	c.life, c.waits = newLife(cfg.AliveFor), newWaits(cfg.PollingInterval, c.keys.inbox)
	only, err := c.newSource(cfg.Queues[0])
	if err != nil {
		w.t.Fatal(err)
	}
	c.layout.Store(&layout{sources: []*source{only}, cycle: []*source{only}})
	c.waits.lists = only.lists
	c.waits.pair()
	return c
}

// first is the state that a model begins with: all workers are registered, and a message waits.
func (w *world) first() *state {
	s := &state{ticks: w.model.ticks, deaths: w.model.deaths, losses: w.model.losses, actors: slices.Clone(w.model.actors)}
	if more := *explorer.Deeper - 1; more > 0 {
		s.ticks += more
		for i := range s.actors {
			left := map[string]int{}
			for op, n := range s.actors[i].left {
				left[op] = n + more
			}
			s.actors[i].left = left
		}
	}
	w.Redis.FlushAll()
	_, _ = w.Redis.Push("q", string(envelopetest.New("q", "1", 0)))
	for i := range s.actors {
		a := &s.actors[i]
		if c := w.workers[a.name]; c != nil {
			w.know(c, a)
			if err := c.register(w.t.Context(), 1); err != nil {
				w.t.Fatal(err)
			}
			w.note(c, a)
		}
	}
	s.redis = w.Save()
	return s
}

// know has a consumer know what an actor does, or did when its operation began.
func (w *world) know(c *Consumer, a *actor) {
	ago, now := a.history.Age(), time.Now()
	c.epoch.Store(a.epoch)
	c.marks = redisconn.NewMarks(c.keys.once())
	c.life.lease.Store(&broker.Lease{Term: a.term, Until: now.Add(a.until + ago)})
	c.nextTag.Store(a.tags)
	c.claim, c.due = claimer{}, claims{}
	c.waits.touched = true
	c.mutexSeen = mutexSeen{a.mutex, now.Add(ago - a.mutexed)}
	c.graceEnd.Store(0)
}

// note has an actor know what a consumer does.
func (w *world) note(c *Consumer, a *actor) {
	now := time.Now()
	lease := c.Lease()
	a.epoch, a.term, a.until, a.tags = c.epoch.Load(), lease.Term, lease.Until.Sub(now).Round(time.Second), c.nextTag.Load() // connecting again takes no time
	a.mutex, a.mutexed = c.mutexSeen.token, 0
	if a.mutex != "" {
		a.mutexed = min(now.Sub(c.mutexSeen.since).Round(time.Second), 10*tick)
	}
}

// An outcome is what an operation that has ended means for its actor and for the message.
type outcome func(*state, *actor) error

func nothing(*state, *actor) error { return nil }

// steps are all that may happen next.
func (w *world) steps(s *state) (all []explorer.Step[*state]) {
	for i := range s.actors {
		a := &s.actors[i]
		if a.dead {
			continue
		}
		add := func(what string, take func(*state, *actor) error) {
			all = append(all, explorer.Step[*state]{Name: a.name + ": " + what, Take: func(s *state) error { return take(s, &s.actors[i]) }})
		}
		further := func(what, op string) {
			add(what, w.next(op, false))
			if s.losses > 0 && !a.peer {
				add(what+", unheard", w.next(op, true))
			}
		}
		if a.op != "" {
			if a.history.Ready() {
				further("on with "+a.op, a.op)
			}
		} else {
			for _, op := range slices.Sorted(maps.Keys(a.left)) {
				switch {
				case a.left[op] == 0 || !able(w.model, a, op):
				case op == "begin":
					add(op, begin)
				case op == "accept": // it may arrive when the lease has lapsed
					add(op, func(_ *state, a *actor) error { a.use(op); a.op = op; return nil })
				default:
					further(op, op)
				}
			}
		}
		if s.deaths > 0 && !a.popped {
			add("die", die)
		}
	}
	if len(all) > 0 && s.ticks > 0 {
		all = append(all, explorer.Step[*state]{Name: "tick", Take: func(s *state) error { s.tick(); return nil }})
	}
	return all
}

// able tells whether an operation makes sense to an actor.
func able(m *model, a *actor, op string) bool {
	holds := a.held != nil
	switch op {
	case "claim", "due", "pop", "move", "close":
		return !holds
	case "accept":
		return holds && !a.running && good(a)
	case "begin":
		return holds && !a.running && (a.peer || good(a) && !m.early || m.early && a.held.Tag == "")
	case "finish":
		return a.running
	case "renew":
		return holds && a.held.Tag != ""
	case "park", "give back":
		return holds && !a.running
	default:
		return true
	}
}

// good tells whether a worker may start what it holds.
func good(a *actor) bool { return a.until > 0 && a.held.Term == a.term && a.age < modelPatience }

func (a *actor) use(op string) {
	a.left = maps.Clone(a.left)
	a.left[op]--
}

// begin is the start of the handler.
func begin(s *state, a *actor) error {
	a.use("begin")
	for i := range s.actors {
		if other := &s.actors[i]; other != a && other.running && !other.lapsed && (!a.peer || !a.lapsed) { // peers begin without a look
			return fmt.Errorf("%s runs what %s runs", a.name, other.name)
		}
	}
	if s.settled && s.lapses == 0 {
		return fmt.Errorf("%s runs what is done", a.name)
	}
	if s.acked && s.runs > 0 {
		return fmt.Errorf("%s runs what was acknowledged early, and ran", a.name)
	}
	s.runs++
	a.running = true
	return nil
}

func die(s *state, a *actor) error {
	s.deaths--
	*a = actor{name: a.name, peer: a.peer, dead: true}
	return nil
}

// tick lets time pass.
func (s *state) tick() {
	s.ticks--
	s.redis = s.redis.After(tick)
	for i := range s.actors {
		a := &s.actors[i]
		if a.dead {
			continue
		}
		a.until -= tick
		a.age += tick
		if a.op != "" {
			a.history.Pass(tick)
		}
		if a.mutex != "" {
			a.mutexed += tick
		}
		if a.held == nil || a.lapsed || a.held.Tag == "" {
			continue
		}
		score, registered := s.redis["unacked_index"].Scores[a.held.Tag]
		_, alive := s.redis["apium.alive."+idPrefix+a.name]
		if registered && score <= -modelPatience.Seconds() || !a.peer && !alive {
			a.lapsed = true
			s.lapses++
		}
	}
}

// madeUp are what an operation makes up: the marks of what it sends again, and the token of a sweep's mutex.
var madeUp = regexp.MustCompile(`apium\.once\.([0-9a-f]{16})|^\*6\r\n\$3\r\nSET\r\n\$13\r\nunacked_mutex\r\n\$26\r\n(.{26})`)

func findMadeUp(command []byte) []byte {
	found := madeUp.FindSubmatch(command)
	if found == nil {
		return nil
	}
	return append(found[1], found[2]...)
}

// next takes an actor's operation one command further.
func (w *world) next(op string, lose bool) func(*state, *actor) error {
	return func(s *state, a *actor) error {
		if a.op == "" {
			a.use(op)
		}
		if lose {
			s.losses--
		}
		var means outcome
		c := w.workers[a.name]
		if c != nil {
			w.know(c, a)
		}
		before := *a
		taken := w.Further(s.redis, a.history, explorer.Names{Find: findMadeUp, Stand: fmt.Sprint(a.name, op, a.left[op])}, lose, func(ctx context.Context) {
			if before.peer {
				means = w.peerDoes(ctx, op, &before)
			} else {
				means = workerDoes(ctx, c, op, &before)
			}
		})
		s.redis, a.history = taken.Redis, taken.History
		if lose && string(taken.Reply) == "*0\r\n" { // it is done, and none of it was lost
			a.took, s.settled, s.acked = true, s.settled || op == "finish", s.acked || op == "accept"
		}
		if !taken.Ended {
			a.op, a.popped = op, a.peer && op == "pop" && taken.Reply[0] != '-'
			return nil
		}
		a.op, a.popped = "", false
		if c != nil {
			w.note(c, a)
		}
		return means(s, a)
	}
}

func got(ds []broker.Delivery) outcome {
	return func(_ *state, a *actor) error {
		if len(ds) > 0 {
			a.held, a.age, a.lapsed = &ds[0], 0, false
		}
		return nil
	}
}

func drop(_ *state, a *actor) error {
	a.held, a.running, a.lapsed, a.took = nil, false, false, false
	return nil
}

// workerDoes runs an operation of a worker.
func workerDoes(ctx context.Context, c *Consumer, op string, a *actor) outcome {
	switch op {
	case "beat":
		_ = c.register(ctx, c.epoch.Load())
	case "claim":
		return got(untilHeard(ctx, func() ([]broker.Delivery, error) { return c.claimOnce(ctx, 1, nil) })) // it has to beat first, perhaps
	case "move":
		return got(moveAndTake(ctx, c))
	case "due":
		return got(untilHeard(ctx, func() ([]broker.Delivery, error) {
			ds, _, err := c.dueOnce(ctx, time.Now(), 1)
			return ds, err
		}))
	case "renew":
		term := c.Lease().Term
		lost, err := c.Extend(ctx, a.held.Tag)
		switch {
		case len(lost) > 0:
			return drop
		case err != nil:
			return nothing
		}
		return func(s *state, a *actor) error {
			held := *a.held
			held.Term = term
			a.held, a.age = &held, 0
			_, alive := s.redis["apium.alive."+idPrefix+a.name]
			peers := slices.ContainsFunc(s.actors, func(a actor) bool { return a.peer }) // they look once, and act later
			a.lapsed = a.lapsed && (!alive || peers)
			return nil
		}
	case "accept":
		lost, err := c.Ack(ctx, a.held.Tag)
		if err != nil || len(lost) > 0 {
			return func(s *state, a *actor) error {
				if a.took {
					return errors.New("its own acknowledgement is taken for a loss")
				}
				return drop(s, a)
			}
		}
		return func(s *state, a *actor) error {
			s.acked, a.took = true, false
			a.held = &broker.Delivery{Term: a.held.Term}
			return nil
		}
	case "finish":
		return finish(ctx, c, a)
	case "give back":
		untilHeard(ctx, func() ([]broker.Delivery, error) { return nil, c.Unclaim(ctx, *a.held) })
		return drop
	case "park":
		parked := broker.Parked{Delivery: *a.held, TaskID: "1", Due: time.Now().Add(tick)}
		untilHeard(ctx, func() ([]broker.Delivery, error) {
			_, err := c.Park(ctx, parked)
			return nil, err
		})
		return drop
	case "unpark":
		_ = c.unpark(ctx)
	case "sweep":
		_ = c.sweep(ctx)
	case "look":
		return look(ctx, c, a)
	case "close":
		_ = c.withdraw(ctx) // it ends in any case
		return func(_ *state, a *actor) error { *a = actor{name: a.name, dead: true}; return nil }
	default:
		panic(op)
	}
	return nothing
}

// untilHeard repeats what a worker repeats until it knows what has come of it.
func untilHeard(ctx context.Context, do func() ([]broker.Delivery, error)) []broker.Delivery {
	for {
		ds, err := do()
		if err == nil || ctx.Err() != nil || !redisconn.IsRetryable(err) {
			return ds
		}
	}
}

func finish(ctx context.Context, c *Consumer, a *actor) outcome {
	if a.held.Tag == "" { // acknowledged before it ran
		return func(s *state, a *actor) error { s.settled = true; return drop(s, a) }
	}
	lost, err := c.Ack(ctx, a.held.Tag)
	return func(s *state, a *actor) error {
		s.settled = s.settled || err == nil && len(lost) == 0
		return drop(s, a)
	}
}

// moveAndTake is a waiter's command, with the order to claim what it moves.
func moveAndTake(ctx context.Context, c *Consumer) (ds []broker.Delivery) {
	list := c.layout.Load().sources[0].lists[0]
	one := newWaiter(ctx, list, c.keys.inbox(list))
	c.waits.takes = true
	order := c.newTake(one)
	c.waits.endTake()
	if moved, err := c.pipe.Do(ctx, "RPOPLPUSH", list, one.inbox); err != nil || moved == nil {
		return nil
	}
	reply, err := c.pipe.Script(ctx, takeMovedScript, order.args...)
	if raw, ok := reply.([]byte); err == nil && ok {
		order.delivery.Content = content(raw)
		ds = append(ds, order.delivery)
	}
	return ds
}

func look(ctx context.Context, c *Consumer, a *actor) outcome {
	before := map[string]bool{}
	for _, id := range strings.Fields(a.missing) {
		before[id] = true
	}
	missing, _ := c.look(ctx, before)
	return func(_ *state, a *actor) error {
		a.missing = strings.Join(slices.Sorted(maps.Keys(missing)), " ")
		return nil
	}
}

// peerDoes runs an operation of a peer.
func (w *world) peerDoes(ctx context.Context, op string, a *actor) outcome {
	do := func(what func() string) (string, bool) {
		reply, ok := w.Do(what)
		return reply, ok && ctx.Err() == nil
	}
	now := func() float64 { return float64(time.Now().UnixMicro()) / 1e6 }
	switch op {
	case "pop":
		raw, ok := do(func() string {
			raw, err := w.Redis.Pop("q")
			if err != nil {
				return "-"
			}
			return raw
		})
		if !ok {
			return nothing
		}
		d := broker.Delivery{Tag: string(read([]byte(raw)).DeliveryTag), Queue: "q"}
		if _, ok = do(func() string {
			w.Redis.HSet("unacked", d.Tag, fmt.Sprintf(`[%s,"","q"]`, raw))
			_, _ = w.Redis.ZAdd("unacked_index", now(), d.Tag)
			return "+"
		}); ok {
			return got([]broker.Delivery{d})
		}
	case "finish":
		if _, ok := do(func() string { w.acknowledge(a.held.Tag); return "+" }); ok {
			return func(s *state, a *actor) error { s.settled = true; return drop(s, a) }
		}
	case "restore":
		w.restore(do)
	default:
		panic(op)
	}
	return nothing
}

func (w *world) acknowledge(tag string) {
	_, _ = w.Redis.ZRem("unacked_index", tag)
	w.Redis.HDel("unacked", tag)
}

// restore is kombu's: what nobody has acknowledged for the visibility timeout goes back, under its mutex, one message after the
// other, each if unacked has not changed since it was looked at.
func (w *world) restore(do func(func() string) (string, bool)) {
	if _, ok := do(func() string {
		if w.Redis.Exists("unacked_mutex") {
			return "-"
		}
		_ = w.Redis.Set("unacked_mutex", "kombu")
		w.Redis.SetTTL("unacked_mutex", 100*tick)
		return "+"
	}); !ok {
		return
	}
	until := float64(time.Now().Add(-modelPatience).UnixMicro()) / 1e6
	tags, ok := do(func() string {
		scores, _ := w.Redis.SortedSet("unacked_index")
		found := "+"
		for _, tag := range slices.Sorted(maps.Keys(scores)) {
			if scores[tag] <= until {
				found += tag + " "
			}
		}
		return found
	})
	if !ok {
		return
	}
	for _, tag := range strings.Fields(tags[1:]) {
		for again := true; again; {
			watched, ok := do(func() string { return "+" + w.unacked() })
			if !ok {
				return
			}
			changed, ok := do(func() string {
				if "+"+w.unacked() != watched {
					return "+changed"
				}
				w.putBack(tag)
				return "+"
			})
			if !ok {
				return
			}
			again = changed == "+changed"
		}
	}
	do(func() string { w.Redis.Del("unacked_mutex"); return "+" })
}

func (w *world) unacked() string {
	return strings.Join(explorer.Fields(w.Redis, "unacked"), ";")
}

func (w *world) putBack(tag string) {
	record := w.Redis.HGet("unacked", tag)
	w.acknowledge(tag)
	if record == "" {
		return
	}
	var parts []json.RawMessage
	if err := json.Unmarshal([]byte(record), &parts); err != nil {
		w.t.Error(err)
	}
	_, _ = w.Redis.RPush("q", string(parts[0]))
}

// check finds that the message is nowhere, or that there are two of it.
func (w *world) check(s *state) error {
	copies := len(s.redis["q"].Text) + len(s.redis["apium.inbox.q"].Text) + len(s.redis["unacked"].Text)/2
	for i := range s.actors {
		if s.actors[i].popped {
			copies++
		}
	}
	switch {
	case copies > 1:
		return errors.New("there are two of the message")
	case copies == 0 && !s.settled && !s.acked:
		return errors.New("the message is lost")
	default:
		return nil
	}
}

// end sees that a worker that is alive would find the message, wherever it is, when nobody does anything more.
func (w *world) end(s *state) error {
	for i := range s.actors {
		if a := &s.actors[i]; !a.dead && !a.peer && a.held == nil && strings.Contains(strings.Join(s.redis["unacked"].Text, " "), idPrefix+a.name+":") {
			return fmt.Errorf("%s does not know what it holds", a.name)
		}
	}
	text := string(s.redis.Append(nil))
	if s.settled || s.acked || w.rescued[text] {
		return nil
	}
	w.rescued[text] = true
	a := modelWorker("rescue", nil)
	c, ctx := w.workers["rescue"], w.t.Context()
	w.know(c, &a)
	w.Load(s.redis)
	var missing map[string]bool
	for range 12 {
		c.waits.touched = true
		err := c.register(ctx, 1)
		missing, _ = c.look(ctx, missing)
		ds, errClaim := c.claimOnce(ctx, 1, nil)
		if len(ds) > 0 {
			return nil
		}
		if err := errors.Join(err, errClaim, c.unpark(ctx), c.sweep(ctx)); err != nil {
			return err
		}
		w.Pass(tick)
	}
	return fmt.Errorf("nobody finds the message: %s", text)
}

// explored is what is explored of a model.
func (w *world) explored() *explorer.Model[*state] {
	return &explorer.Model[*state]{Name: w.model.name, First: w.first(), Steps: w.steps, Check: w.check, End: w.end}
}

// TestModel explores all models.
func TestModel(t *testing.T) { //nolint:paralleltest // it keeps a processor busy
	for i := range models {
		if models[i].large && *explorer.Deeper == 0 {
			continue
		}
		t.Run(models[i].name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newWorld(t, &models[i]).explored().Test(t) })
		})
	}
}

// A scriptMutant is a script with one guard taken out.
type scriptMutant struct {
	name, model string
	script      **redisconn.Script
	lua         func(string) string
}

// cut takes out what is in a script once.
func cut(from, to string) func(string) string {
	return func(lua string) string {
		if strings.Count(lua, from) != 1 {
			panic(fmt.Sprintf("%q is in the script %d times", from, strings.Count(lua, from)))
		}
		return strings.Replace(lua, from, to, 1)
	}
}

var scriptMutants = []scriptMutant{
	{"a claim leaves the message in its list", "a death", &claimScript, cut("redis.call('LTRIM', trim[1], 0, trim[2])", "")},
	{"a claim is not recorded", "a death", &claimScript, cut("redis.call('HMSET', KEYS[2], unpack(entries))", "")},
	{"an acknowledgement does not tell what was lost", "acknowledged early", &ackScript, cut("then lost[#lost + 1] = ARGV[i] end", "then end")},
	{"an acknowledgement forgets what it has done", "an early acknowledgement is not heard of", &ackScript, cut("if done_before() then", "if false then")},
	{"what is handed back is still held", "a death", &moveScript, cut("redis.call('HDEL', KEYS[1], tag)\n", "")},
	{"a sweep does not see that a lease was renewed", "a sweep", &moveScript, cut("and not renewed", "")},
	{"what is given back stays in the inbox", "inboxes", &claimScript, cut("redis.call('DEL', KEYS[i + 1])", "")},
	{"what a waiter has claimed stays in the inbox", "inboxes", &takeMovedScript, cut("redis.call('DEL', KEYS[4])", "")},
	{"what is parked is still held", "parked", &parkScript, cut("redis.call('HDEL', KEYS[1], tag)\n", "")},
	{"what was parked can be claimed again", "parked", &dueScript, cut("redis.call('HDEL', KEYS[2], unpack(gone))\n  redis.call('ZREM', KEYS[3], unpack(gone))", "")},
}

// TestModelFinds takes guards out of scripts: the models find it.
func TestModelFinds(t *testing.T) { //nolint:paralleltest // scripts are changed
	for _, m := range scriptMutants {
		i := slices.IndexFunc(models, func(of model) bool { return of.name == m.model })
		if models[i].large && *explorer.Deeper == 0 {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			was := *m.script
			defer func() { *m.script = was }()
			*m.script = was.Changed(m.lua)
			synctest.Test(t, func(t *testing.T) {
				e := newWorld(t, &models[i]).explored().Explore()
				if e.Broken == nil {
					t.Errorf("%d states do not show it", e.States)
				}
				t.Logf("%v, after %d states: %s", e.Broken, e.States, strings.Join(e.Path, "; "))
			})
		})
	}
}
