package redisbroker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
	"github.com/apium/apium/internal/explorer"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/settings/connection"
)

// Who holds messages is explored: see package explorer. There are workers, that run the code of this package, and a peer of kombu's.
// modelcases_internal_test.go has the models, modelsteps_internal_test.go and modelpeer_internal_test.go what actors do.

// tick is how long time passes at once.
const tick = 3 * time.Second

// A state is a moment of a history.
type state struct {
	redis  explorer.Redis
	text   []byte // that redis is written as
	actors []actor
	ticks  int // how often time may pass yet
	deaths int // how many may die yet
	losses int // how many answers may be lost yet
	lates  int // how many commands may come late yet
	slows  int // how many answers may be slow yet

	late []late // replaced, never changed

	messages []message // the first that was sent is the first
}

// A late is a command that may be done later.
type late struct {
	explorer.Straggler
	actor int
	op    string
	about []held
}

// A message is one of those that are sent. What tells them apart is idOf.
type message struct {
	settled, acked bool // it is done; it is taken, and nobody but who took it will run it
	lapsed         bool // somebody held it for longer than he may
	ran            bool
}

// idOf is the place of a message among those that are sent.
func idOf(text []byte) int {
	const before = `"correlation_id": "`
	i := bytes.Index(text, []byte(before))
	if i < 0 {
		panic(fmt.Sprintf("no message: %q", text))
	}
	return int(text[i+len(before)] - '0')
}

// times are the sorted sets whose scores are times.
func times(key string) bool { return key == "unacked_index" || strings.HasPrefix(key, "apium.parked.") }

// become changes what is in Redis.
func (s *state) become(redis explorer.Redis) { s.redis, s.text = redis, redis.Append(nil) }

// Clone copies what steps change. What redis, histories and known point to is replaced, never changed.
func (s *state) Clone() *state {
	c := *s
	c.actors, c.messages = slices.Clone(s.actors), slices.Clone(s.messages)
	return &c
}

func (s *state) Append(to []byte) []byte {
	to = appendInts(append(to, s.text...), s.ticks, s.deaths, s.losses, s.lates, s.slows)
	for _, m := range s.messages {
		to = append(appendFlags(to, m.settled, m.acked, m.lapsed, m.ran), '\n')
	}
	for i := range s.late {
		to = s.late[i].Append(append(to, s.late[i].op...))
	}
	for i := range s.actors {
		to = s.actors[i].append(to)
	}
	return to
}

func appendInts(to []byte, all ...int) []byte {
	for _, n := range all {
		to = append(strconv.AppendInt(to, int64(n), 10), ' ')
	}
	return to
}

func appendFlags(to []byte, all ...bool) []byte {
	for _, is := range all {
		to = append(to, "-+"[btoi(is)])
	}
	return append(to, ' ')
}

func btoi(is bool) int {
	if is {
		return 1
	}
	return 0
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

	patience time.Duration // the visibility timeout

	left map[string]int // how often it may begin an operation yet; replaced, never changed

	op      string // that is under way
	history explorer.History

	epoch uint64        // of its sign of life
	term  uint64        // of its lease
	until time.Duration // that ends
	tags  uint64        // the number of the next

	held   []held // replaced, never changed; in the order in which they came
	popped int    // the message that a peer has in its hand only; none: -1

	missing string // workers without a sign of life when it last looked
	mutex   string // who held the mutex of sweeps when it last swept, and for how long that has been so
	mutexed time.Duration
}

// A held message is one that an actor has claimed.
type held struct {
	broker.Delivery
	accepted        broker.Delivery // what it was before it was acknowledged early
	id              int
	age             time.Duration // since it was claimed or renewed
	took            bool          // it is acknowledged, and its actor may not know that yet
	running, lapsed bool          // the handler; others may have had reason to take it away
}

// append writes what tells an actor apart: what it may do yet, and what it knows if that can matter to what it may do.
func (a *actor) append(to []byte) []byte {
	to = a.history.Append(append(appendFlags(append(to, a.name...), a.dead), a.op...))
	for _, op := range slices.Sorted(maps.Keys(a.left)) {
		to = appendInts(to, a.left[op])
	}
	to = appendInts(to, a.popped)
	if a.op != "" || a.may("beat", "claim", "move", "due") {
		to = appendInts(to, int(a.epoch), int(a.tags))
	}
	starts := a.may("begin", "accept")
	if starts {
		to = appendInts(to, int(a.term), int(max(a.until, 0)))
	}
	if a.op == "look" || a.may("look") {
		to = append(to, a.missing...)
	}
	if a.op == "sweep" || a.may("sweep") {
		to = appendInts(append(to, a.mutex...), int(a.mutexed))
	}
	for i := range a.held {
		h := &a.held[i]
		to = append(appendFlags(appendInts(append(to, h.Tag...), h.id, int(h.Term)), h.took, h.running, h.lapsed && (h.running || starts)), ' ')
		if a.op == "hold" || a.may("hold") {
			to = append(append(to, h.accepted.Tag...), ' ')
		}
		if starts {
			to = appendInts(to, int(min(h.age, 2*modelPatience)))
		}
	}
	return append(to, '\n')
}

// may tells whether an actor may begin one of some operations yet.
func (a *actor) may(ops ...string) bool {
	return slices.ContainsFunc(ops, func(op string) bool { return a.left[op] > 0 })
}

// A model is what is explored: who there is, and what they may do, how often.
type model struct {
	name          string
	actors        []actor
	messages      int  // so many an actor holds at most; 0: one
	early         bool // they are acknowledged before they run
	inOrder       bool // nothing is claimed before what was sent earlier, and waits
	large         bool // it is explored only if asked for
	patient       bool // the visibility timeout is longer than all ticks
	oneTask       bool // the messages are those of one task, as a retry's and what it was before
	claimed       bool // the first actor has claimed already
	forsaken      bool // what is left has to come to peers, too, though no other worker consumes the queue
	ticks, deaths int
	losses        int    // answers
	lates         int    // commands
	slows         int    // answers
	unsure        string // whose: of this operation of the first actor; "": of any
}

func (m *model) patience() time.Duration {
	if m.patient {
		return 2 * modelPatience
	}
	return modelPatience
}

func (m *model) size() int { return max(m.messages, 1) }

func modelWorker(name string, may map[string]int) actor {
	return actor{name: name, left: may, epoch: 1, popped: -1}
}

func modelPeer(may map[string]int) actor {
	return actor{name: "kombu", peer: true, left: may, popped: -1}
}

// A world runs a model.
type world struct {
	*explorer.Machine
	t       *testing.T
	redis   *redisconn.Config
	pipe    *redisconn.Pipeline
	model   *model
	workers map[string]*Consumer
	rescued map[string]bool // what was in Redis when somebody alive would have found the messages
	known   explorer.Memory[done]
}

func newWorld(t *testing.T, m *model) *world {
	t.Helper()
	w := &world{Machine: explorer.NewMachine(t, times), t: t, model: m, workers: map[string]*Consumer{}, rescued: map[string]bool{}, known: explorer.Memory[done]{}}
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
			w.workers[a.name] = w.worker(a.name, "q")
		}
	}
	w.workers["rescue"], w.workers["stranger"] = w.worker("rescue", "q"), w.worker("stranger", "another")
	return w
}

// worker is a consumer without goroutines.
func (w *world) worker(name, queue string) *Consumer {
	cfg := Config{
		URL: "redis://redis:6379/0", Queues: broker.Named(queue), PrioritySteps: []int{0}, Hostname: name, AliveFor: modelAlive, VisibilityTimeout: w.model.patience(),
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

// first is the state that a model begins with: all workers are registered, and the messages wait.
func (w *world) first() *state {
	s := &state{ticks: w.model.ticks, deaths: w.model.deaths, losses: w.model.losses, lates: w.model.lates, slows: w.model.slows, actors: slices.Clone(w.model.actors), messages: make([]message, w.model.size())}
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
	for id := range slices.Backward(s.messages) { // the first is at the tail
		_, _ = w.Redis.Push("q", string(envelopetest.New("q", fmt.Sprint(id), 0)))
	}
	for i := range s.actors {
		a := &s.actors[i]
		a.patience = w.model.patience()
		if c := w.workers[a.name]; c != nil {
			w.know(c, a)
			if err := c.register(w.t.Context(), 1); err != nil {
				w.t.Fatal(err)
			}
			w.note(c, a)
		}
	}
	s.become(w.Save())
	for a := &s.actors[0]; w.model.claimed && len(a.held) == 0; {
		if err := w.further("claim", explorer.Heard)(s, a); err != nil {
			w.t.Fatal(err)
		}
	}
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

// check finds that a message is nowhere, or that there are two of it, or that nobody would look for what a worker holds.
func (w *world) check(s *state) error {
	copies := make([]int, len(s.messages))
	for _, key := range []string{"q", "apium.inbox.q"} {
		for _, text := range s.redis[key].Text {
			copies[idOf([]byte(text))]++
		}
	}
	for record := range slices.Chunk(s.redis["unacked"].Text, 2) {
		copies[idOf([]byte(record[1]))]++
	}
	for i := range s.actors {
		if id := s.actors[i].popped; id >= 0 {
			copies[id]++
		}
	}
	for id, n := range copies {
		switch m := s.messages[id]; {
		case n > 1:
			return fmt.Errorf("there are two of message %d", id)
		case n == 0 && !m.settled && !m.acked:
			return fmt.Errorf("message %d is lost", id)
		}
	}
	return s.known()
}

// known finds that a worker shows that it is alive, and nobody would miss it.
func (s *state) known() error {
	for i := range s.actors {
		id := idPrefix + s.actors[i].name
		if _, alive := s.redis["apium.alive."+id]; alive && !slices.Contains(s.redis["apium.workers"].Text, id) {
			return fmt.Errorf("%s is alive, and not registered", s.actors[i].name)
		}
	}
	return nil
}

// end sees that each worker knows what it holds, and that one that is alive would find the messages, wherever they are, when nobody
// does anything more.
func (w *world) end(s *state) error {
	for record := range slices.Chunk(s.redis["unacked"].Text, 2) {
		for i := range s.actors {
			a := &s.actors[i]
			known := slices.ContainsFunc(a.held, func(h held) bool { return h.Tag == record[0] })
			if !a.dead && !a.peer && !known && strings.HasPrefix(record[0], idPrefix+a.name+":") {
				return fmt.Errorf("%s does not know that it holds message %d", a.name, idOf([]byte(record[1])))
			}
		}
	}
	lost := map[int]bool{}
	for id, m := range s.messages {
		if !m.settled && !m.acked {
			lost[id] = true
		}
	}
	if len(lost) == 0 {
		return nil
	}
	if w.model.forsaken {
		text := string(s.text)
		for i := range s.actors {
			text = fmt.Sprint(text, s.actors[i].dead, s.actors[i].epoch)
		}
		if w.isNew(lost, text) {
			if err := w.forsake(s, maps.Clone(lost)); err != nil {
				return err
			}
		}
	}
	later := longAfter(s.redis)
	if !w.isNew(lost, string(later.Append(nil))) {
		return nil
	}
	return w.rescue(later, lost)
}

// isNew tells whether nobody has looked yet for some messages where Redis is so.
func (w *world) isNew(lost map[int]bool, redis string) bool {
	text := fmt.Sprint(lost, redis)
	was := w.rescued[text]
	w.rescued[text] = true
	return !was
}

// longAfter is what is in Redis when nobody has done anything for long: no worker is alive, no lease is good, all that is parked is due.
func longAfter(redis explorer.Redis) explorer.Redis {
	const long = 10 * tick
	later := redis.After(long)
	for key, v := range later {
		if v.Timed {
			v.Scores = maps.Clone(v.Scores)
			for member, score := range v.Scores {
				v.Scores[member] = min(score, -(long / 2).Seconds())
			}
			later[key] = v
		}
	}
	return later
}

// forsake leaves messages to peers: workers only beat, one of another queue looks for the dead, and peers put back what gets old.
func (w *world) forsake(s *state, lost map[int]bool) error {
	w.Load(s.redis)
	for range 12 {
		for i := range s.actors {
			if a := s.actors[i]; !a.dead && !a.peer {
				w.know(w.workers[a.name], &a)
				if err := w.workers[a.name].register(w.t.Context(), a.epoch); err != nil {
					return err
				}
			}
		}
		a := modelWorker("stranger", nil)
		w.know(w.workers["stranger"], &a)
		look(w.t.Context(), w.workers["stranger"], &actor{missing: strings.Join(w.forsaken(), " ")})
		w.restore(func(what func() string) (string, bool) { reply := what(); return reply, reply[0] != '-' })
		back, _ := w.Redis.List("q")
		for _, text := range back {
			delete(lost, idOf([]byte(text)))
		}
		if len(lost) == 0 {
			return nil
		}
		w.Pass(tick)
	}
	return fmt.Errorf("no peer finds the messages %v: %s", slices.Sorted(maps.Keys(lost)), w.Save().Append(nil))
}

// forsaken are the workers without a sign of life.
func (w *world) forsaken() []string {
	registered, _ := w.Redis.HKeys("apium.workers")
	return slices.DeleteFunc(registered, func(id string) bool { return w.Redis.Exists("apium.alive." + id) })
}

// rescue has a worker look for messages.
func (w *world) rescue(redis explorer.Redis, lost map[int]bool) error {
	a := modelWorker("rescue", nil)
	c, ctx := w.workers["rescue"], w.t.Context()
	w.know(c, &a)
	w.Load(redis)
	var missing map[string]bool
	for range 12 {
		c.waits.touched = true
		err := c.register(ctx, 1)
		missing, _ = c.look(ctx, missing)
		ds, errClaim := c.claimOnce(ctx, w.model.size(), nil)
		for i := range ds {
			delete(lost, idOf(ds[i].Raw))
		}
		if len(lost) == 0 {
			return nil
		}
		if err := errors.Join(err, errClaim, c.unpark(ctx), c.sweep(ctx)); err != nil {
			return err
		}
		w.Pass(tick)
	}
	return fmt.Errorf("nobody finds the messages %v: %s", slices.Sorted(maps.Keys(lost)), redis.Append(nil))
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
