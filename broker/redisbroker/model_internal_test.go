package redisbroker

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/internal/redisconn"
)

var (
	exploreDeeper = flag.Int("deeper", 0, "1: explore the larger models, too; more: and each operation, and time, may come so many times more, less 1")
	explorePath   = flag.String("path", "", "take these steps alone, and show what is in Redis after each: the name of a model, and steps, divided by semicolons")
)

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

	op    string // that is under way
	heard []answered
	since time.Duration // what it heard last

	term  uint64        // of its lease
	until time.Duration // that ends
	tags  uint64        // the number of the next

	held            *broker.Delivery
	age             time.Duration // since it was claimed or renewed
	popped          bool          // a peer has it in its hand only
	running, lapsed bool          // the handler; others may have had reason to take it away

	missing string // workers without a sign of life when it last looked
	mutex   string // who held the mutex of sweeps when it last swept, and for how long that has been so
	mutexed time.Duration
}

func (a *actor) digest(h io.Writer) {
	fmt.Fprintf(h, "%s %t %v %s %d ", a.name, a.dead, a.left, a.op, a.since)
	for _, was := range a.heard {
		fmt.Fprintf(h, "%d %q ", was.after, was.reply)
	}
	fmt.Fprintf(h, "%d %d %d %t %t %t %s %s %d\n", a.term, max(a.until, 0), a.tags, a.popped, a.running, a.lapsed, a.missing, a.mutex, a.mutexed)
	if a.held != nil {
		fmt.Fprintf(h, "%s %d %d\n", a.held.Tag, a.held.Term, min(a.age, modelPatience))
	}
}

// A model is what is explored: who there is, and what they may do, how often.
type model struct {
	name          string
	actors        []actor
	early         bool // the message is acknowledged before it runs
	large         bool // it is explored only if asked for
	ticks, deaths int
}

func modelWorker(name string, may map[string]int) actor { return actor{name: name, left: may} }
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
	*machine
	model   *model
	workers map[string]*Consumer
	rescued map[string]bool // digests of Redis from which somebody alive would find the message
}

func newWorld(t *testing.T, m *model) *world {
	t.Helper()
	w := &world{machine: newMachine(t), model: m, workers: map[string]*Consumer{}, rescued: map[string]bool{}}
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
	c := &Consumer{cfg: cfg, redis: w.cfg, pipe: w.pipe, keys: cfg.keyspace(0), log: cfg.Logger, id: idPrefix + name, stray: make(chan struct{}, 1), counted: map[string]string{}}
	c.tagPrefix, c.aliveKey = c.id+":", c.keys.alive(c.id)
	c.epoch.Store(1)
	c.ctx, c.cancel = context.WithCancel(w.t.Context())
	c.reach, c.giveUp = context.WithCancelCause(c.ctx)
	c.marks, c.life, c.waits = redisconn.NewMarks(c.keys.once()), newLife(cfg.AliveFor), newWaits(cfg.PollingInterval, c.keys.inbox)
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
	s := &state{ticks: w.model.ticks, deaths: w.model.deaths, actors: slices.Clone(w.model.actors)}
	if more := *exploreDeeper - 1; more > 0 {
		s.ticks += more
		for i := range s.actors {
			left := map[string]int{}
			for op, n := range s.actors[i].left {
				left[op] = n + more
			}
			s.actors[i].left = left
		}
	}
	w.redis.FlushAll()
	_, _ = w.redis.Push("q", string(envelopetest.New("q", "1", 0)))
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
	s.redis = w.save()
	return s
}

// know has a consumer know what an actor does, or did when its operation began.
func (w *world) know(c *Consumer, a *actor) {
	ago := a.since
	for _, was := range a.heard {
		ago += was.after
	}
	now := time.Now()
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
	a.term, a.until, a.tags = lease.Term, lease.Until.Sub(now), c.nextTag.Load()
	a.mutex, a.mutexed = c.mutexSeen.token, 0
	if a.mutex != "" {
		a.mutexed = min(now.Sub(c.mutexSeen.since), 10*tick)
	}
}

// An outcome is what an operation that has ended means for its actor and for the message.
type outcome func(*state, *actor) error

func nothing(*state, *actor) error { return nil }

// steps are all that may happen next.
func (w *world) steps(s *state) (all []step) {
	for i := range s.actors {
		a := &s.actors[i]
		if a.dead {
			continue
		}
		add := func(what string, take func(*state, *actor) error) {
			all = append(all, step{a.name + ": " + what, func(s *state) error { return take(s, &s.actors[i]) }})
		}
		if a.op != "" {
			add("on with "+a.op, w.next(a.op))
		} else {
			for _, op := range slices.Sorted(maps.Keys(a.left)) {
				switch {
				case a.left[op] == 0 || !able(w.model, a, op):
				case op == "begin":
					add(op, begin)
				case op == "accept": // it may arrive when the lease has lapsed
					add(op, func(_ *state, a *actor) error { a.use(op); a.op = op; return nil })
				default:
					add(op, w.next(op))
				}
			}
		}
		if s.deaths > 0 && !a.popped {
			add("die", die)
		}
	}
	if len(all) > 0 && s.ticks > 0 {
		all = append(all, step{"tick", func(s *state) error { s.tick(); return nil }})
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
	redis := make(map[string]value, len(s.redis))
	for key, v := range s.redis {
		if v.ttl > 0 {
			if v.ttl -= tick; v.ttl <= 0 {
				continue
			}
		}
		if times(key) {
			scores := make(map[string]float64, len(v.scores))
			for member, score := range v.scores {
				scores[member] = score - tick.Seconds()
			}
			v.scores = scores
		}
		redis[key] = v
	}
	s.redis = redis
	for i := range s.actors {
		a := &s.actors[i]
		if a.dead {
			continue
		}
		a.until -= tick
		a.age += tick
		if a.op != "" {
			a.since += tick
		}
		if a.mutex != "" {
			a.mutexed += tick
		}
		if a.held == nil || a.lapsed || a.held.Tag == "" {
			continue
		}
		score, registered := redis["unacked_index"].scores[a.held.Tag]
		_, alive := redis["apium.alive."+idPrefix+a.name]
		if registered && score <= -modelPatience.Seconds() || !a.peer && !alive {
			a.lapsed = true
			s.lapses++
		}
	}
}

// next takes an actor's operation one command further.
func (w *world) next(op string) func(*state, *actor) error {
	return func(s *state, a *actor) error {
		if a.op == "" {
			a.use(op)
		}
		var means outcome
		c := w.workers[a.name]
		if c != nil {
			w.know(c, a)
		}
		before := *a
		reply, ended := w.further(s, a, func(ctx context.Context) {
			if before.peer {
				means = w.peerDoes(ctx, op, &before)
			} else {
				means = workerDoes(ctx, c, op, &before)
			}
		})
		if !ended {
			a.op, a.heard, a.since = op, append(slices.Clip(a.heard), answered{a.since, reply}), 0
			a.popped = a.peer && op == "pop" && reply[0] != '-'
			return nil
		}
		a.op, a.heard, a.since, a.popped = "", nil, 0, false
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
	a.held, a.running, a.lapsed = nil, false, false
	return nil
}

// workerDoes runs an operation of a worker.
func workerDoes(ctx context.Context, c *Consumer, op string, a *actor) outcome {
	switch op {
	case "beat":
		_ = c.register(ctx, c.epoch.Load())
	case "claim":
		ds, _ := c.claimOnce(ctx, 1, nil) // it has to beat first, perhaps
		return got(ds)
	case "move":
		return got(moveAndTake(ctx, c))
	case "due":
		ds, _, _ := c.dueOnce(ctx, time.Now(), 1)
		return got(ds)
	case "renew":
		term := c.Lease().Term
		lost, err := c.Extend(ctx, a.held.Tag)
		if err != nil || len(lost) > 0 {
			return drop
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
			return drop
		}
		return func(s *state, a *actor) error {
			s.acked = true
			a.held = &broker.Delivery{Term: a.held.Term}
			return nil
		}
	case "finish":
		return finish(ctx, c, a)
	case "give back":
		if c.Unclaim(ctx, *a.held) == nil {
			return drop
		}
	case "park":
		if _, err := c.Park(ctx, broker.Parked{Delivery: *a.held, TaskID: "1", Due: time.Now().Add(tick)}); err == nil {
			return drop
		}
	case "unpark":
		_ = c.unpark(ctx)
	case "sweep":
		_ = c.sweep(ctx)
	case "look":
		return look(ctx, c, a)
	case "close":
		if c.withdraw(ctx) == nil {
			return func(_ *state, a *actor) error { *a = actor{name: a.name, dead: true}; return nil }
		}
	default:
		panic(op)
	}
	return nothing
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
	do := func(what func() []byte) (reply string, ok bool) {
		answer := make(chan []byte)
		w.commands <- command{do: what, answer: answer}
		got := <-answer
		return string(got), ctx.Err() == nil && got[0] != '-'
	}
	now := func() float64 { return float64(time.Now().UnixMicro()) / 1e6 }
	none := []byte("-")
	switch op {
	case "pop":
		raw, ok := do(func() []byte {
			raw, err := w.redis.Pop("q")
			if err != nil {
				return none
			}
			return []byte(raw)
		})
		if !ok {
			return nothing
		}
		d := broker.Delivery{Tag: string(read([]byte(raw)).DeliveryTag), Queue: "q"}
		if _, ok = do(func() []byte {
			w.redis.HSet("unacked", d.Tag, fmt.Sprintf(`[%s,"","q"]`, raw))
			_, _ = w.redis.ZAdd("unacked_index", now(), d.Tag)
			return []byte("+")
		}); ok {
			return got([]broker.Delivery{d})
		}
	case "finish":
		if _, ok := do(func() []byte { w.acknowledge(a.held.Tag); return []byte("+") }); ok {
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
	_, _ = w.redis.ZRem("unacked_index", tag)
	w.redis.HDel("unacked", tag)
}

// restore is kombu's: what nobody has acknowledged for the visibility timeout goes back, under its mutex, one message after the
// other, each if unacked has not changed since it was looked at.
func (w *world) restore(do func(func() []byte) (string, bool)) {
	if _, ok := do(func() []byte {
		if w.redis.Exists("unacked_mutex") {
			return []byte("-")
		}
		_ = w.redis.Set("unacked_mutex", "kombu")
		w.redis.SetTTL("unacked_mutex", 100*tick)
		return []byte("+")
	}); !ok {
		return
	}
	until := float64(time.Now().Add(-modelPatience).UnixMicro()) / 1e6
	tags, ok := do(func() []byte {
		scores, _ := w.redis.SortedSet("unacked_index")
		found := "+"
		for _, tag := range slices.Sorted(maps.Keys(scores)) {
			if scores[tag] <= until {
				found += tag + " "
			}
		}
		return []byte(found)
	})
	if !ok {
		return
	}
	for _, tag := range strings.Fields(tags[1:]) {
		for again := true; again; {
			watched, ok := do(func() []byte { return []byte("+" + w.unacked()) })
			if !ok {
				return
			}
			changed, ok := do(func() []byte {
				if "+"+w.unacked() != watched {
					return []byte("+changed")
				}
				w.putBack(tag)
				return []byte("+")
			})
			if !ok {
				return
			}
			again = changed == "+changed"
		}
	}
	do(func() []byte { w.redis.Del("unacked_mutex"); return []byte("+") })
}

func (w *world) unacked() string {
	fields, _ := w.redis.HKeys("unacked")
	var all strings.Builder
	for _, field := range fields {
		all.WriteString(field + "=" + w.redis.HGet("unacked", field) + ";")
	}
	return all.String()
}

func (w *world) putBack(tag string) {
	record := w.redis.HGet("unacked", tag)
	w.acknowledge(tag)
	if record == "" {
		return
	}
	var parts []json.RawMessage
	if err := json.Unmarshal([]byte(record), &parts); err != nil {
		w.t.Error(err)
	}
	_, _ = w.redis.RPush("q", string(parts[0]))
}

// check finds that the message is nowhere, or that there are two of it.
func (w *world) check(s *state) error {
	copies := len(s.redis["q"].text) + len(s.redis["apium.inbox.q"].text) + len(s.redis["unacked"].text)/2
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
	var text strings.Builder
	writeRedis(&text, s.redis)
	if s.settled || s.acked || w.rescued[text.String()] {
		return nil
	}
	w.rescued[text.String()] = true
	a := actor{name: "rescue"}
	c, ctx := w.workers["rescue"], w.t.Context()
	w.know(c, &a)
	w.load(s.redis)
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
		w.pass(tick)
	}
	return fmt.Errorf("nobody finds the message: %s", text.String())
}

func (w *world) explore() explored { return explore(w.first(), w.steps, w.check, w.end) }

// TestModel explores all models.
func TestModel(t *testing.T) { //nolint:paralleltest // it keeps a processor busy
	if *explorePath != "" {
		synctest.Test(t, replay)
		return
	}
	for i := range models {
		if models[i].large && *exploreDeeper == 0 {
			continue
		}
		t.Run(models[i].name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newWorld(t, &models[i]).explore()
				t.Logf("%d states, %d transitions", e.states, e.transitions)
				if e.broken != nil {
					t.Errorf("%v\nagain: go test ./broker/redisbroker -run TestModel -v -path %s", e.broken, strconv.Quote(models[i].name+"; "+strings.Join(e.path, "; ")))
				}
			})
		})
	}
}

// replay takes the steps of a path.
func replay(t *testing.T) {
	names := strings.Split(*explorePath, "; ")
	i := slices.IndexFunc(models, func(m model) bool { return m.name == names[0] })
	if i < 0 {
		t.Fatalf("no model is called %q", names[0])
	}
	w := newWorld(t, &models[i])
	s := w.first()
	for _, name := range names[1:] {
		steps := w.steps(s)
		n := slices.IndexFunc(steps, func(next step) bool { return next.name == name })
		if n < 0 {
			t.Fatalf("%q cannot be done", name)
		}
		s = s.clone(name)
		err := steps[n].take(s)
		var text strings.Builder
		writeRedis(&text, s.redis)
		t.Logf("%s\n%s%v", name, text.String(), errors.Join(err, w.check(s)))
	}
	t.Log(w.end(s))
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
		if models[i].large && *exploreDeeper == 0 {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			was := *m.script
			defer func() { *m.script = was }()
			*m.script = was.Changed(m.lua)
			synctest.Test(t, func(t *testing.T) {
				e := newWorld(t, &models[i]).explore()
				if e.broken == nil {
					t.Errorf("%d states do not show it", e.states)
				}
				t.Logf("%v, after %d states: %s", e.broken, e.states, strings.Join(e.path, "; "))
			})
		})
	}
}
