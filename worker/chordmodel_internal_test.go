package worker

import (
	"context"
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

	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/explorer"
	"github.com/apium/apium/internal/redischord"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings/connection"
	"github.com/apium/apium/tasks"
)

// How a chord is counted and its body published is explored: see package explorer. Workers settle its parts with the code of this package and
// of redisbackend; a peer does what Celery 5.7 does. Of the broker there is what this needs: parts wait in a list, are held under
// a tag, and go with what is published in one step, or, what a peer publishes, before it. Who acknowledges parts early passes the body on to itself: it
// begins in a command of its own, which nobody else sees.

const (
	chordTick  = redisbackend.DefaultChordLease // how long time passes at once; then each claim has run out that was not renewed meanwhile
	chordParts = 2
	chordGroup = "g"
	chordBody  = "body"
)

// chordRedis are the keys of the broker.
const (
	partsWaiting   = "waiting"
	partsHeld      = "held" // by tag
	bodiesWaiting  = "bodies"
	chordDoneKey   = "celery-taskset-meta-" + chordGroup + ".c"
	chordClaimKey  = "celery-taskset-meta-" + chordGroup + ".a"
	bodyRecordKey  = "celery-task-meta-" + chordBody
	comesAgainMark = "*"
)

// A chordActor is a worker, or a peer of Celery's, and what it knows.
type chordActor struct {
	name    string
	peer    bool
	early   bool // it acknowledges parts when it takes them, and passes the body on
	dead    bool
	since   time.Duration // its death
	parts   int           // how many it may take yet
	held    string        // the part; "": none
	settles bool          // that
	history explorer.History
	sure    string // of a peer: the token of the claim with which it publishes
}

// A chordState is a moment of a history.
type chordState struct {
	redis                         explorer.Redis
	actors                        []chordActor
	ticks, deaths, lapses, losses int // how often may come yet: time, a death, a message that is given to another one, an answer that is lost

	apart   bool // broker and results are not in one database: the chord ends after its body is published
	atOnce  bool // what the dead held is given to others before any claim runs out, as by RabbitMQ
	excused bool // who had claimed the body could not know that others may publish it
	cut     bool // a part that was acknowledged early has died with who ran it
}

func (s *chordState) Clone() *chordState {
	c := *s
	c.actors = slices.Clone(s.actors)
	return &c
}

func (s *chordState) Append(to []byte) []byte {
	to = s.redis.Append(to)
	to = fmt.Appendf(to, "%d %d %d %d %t %t\n", s.ticks, s.deaths, s.lapses, s.losses, s.excused, s.cut)
	for i := range s.actors {
		a := &s.actors[i]
		to = fmt.Appendf(to, "%s %t %d %d %s %t %s ", a.name, a.dead, min(a.since, chordTick), a.parts, a.held, a.settles, a.sure)
		to = a.history.Append(to)
	}
	return to
}

func (s *chordState) list(key string) []string { return s.redis[key].Text }

// set replaces what is in Redis. Nothing is the end of a key.
func (s *chordState) set(key, kind string, text ...string) {
	s.redis = maps.Clone(s.redis)
	if s.redis[key] = (explorer.Value{Kind: kind, Text: text}); len(text) == 0 {
		delete(s.redis, key)
	}
}

// chordWorld runs a model.
type chordWorld struct {
	*explorer.Machine
	t        *testing.T
	results  *redisbackend.Backend
	registry *tasks.Registry
	body     [2]string       // as a part's message has it, of one task, or of two
	several  bool            // it is of two
	seen     bool            // Celery sees claims of ours
	apart    bool            // see chordState
	rescued  map[string]bool // from what end has seen the body be published
	known    explorer.Memory[explorer.Taken]
}

func newChordWorld(t *testing.T) *chordWorld {
	t.Helper()
	w := &chordWorld{Machine: explorer.NewMachine(t, func(string) bool { return false }), t: t, registry: tasks.NewRegistry(), rescued: map[string]bool{}, known: explorer.Memory[explorer.Taken]{}}
	w.registry.Register("part", func() int { return 1 }, tasks.AcksLate(true))
	w.registry.Register("early", func() int { return 1 })
	w.registry.Register("body", func([]int) {})
	w.connect()
	t.Cleanup(func() { w.results.Close() })
	body := canvas.Sig("body").Set(canvas.Opt("task_id", chordBody))
	for i, sig := range []canvas.Signature{body, canvas.Group(body, canvas.Sig("body").Set(canvas.Opt("task_id", "another"))).Set(canvas.Opt("task_id", "bodies"))} {
		text, err := sig.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		w.body[i] = string(text)
	}
	return w
}

// connect makes a connection to the results.
func (w *chordWorld) connect() {
	var err error
	w.results, err = redisbackend.New(redisbackend.Config{URL: "redis://redis:6379/0", Connection: connection.Options{
		Dial: w.Dial, SocketTimeout: -1, HealthCheckInterval: -1,
	}})
	if err == nil {
		err = w.results.Ping(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// connectAgain makes another one, whose writes are numbered from the first on: an operation does the same again.
func (w *chordWorld) connectAgain() {
	w.results.Close()
	synctest.Wait()
	w.connect()
}

// bodies is how many tasks the body has.
func (w *chordWorld) bodies() int {
	if w.several {
		return 2
	}
	return 1
}

// The broker of a worker in the middle of an operation.
type chordBroker struct {
	*chordWorld
	broker.Consumer
	broker.Publisher
	token string // what stands for the tokens that the worker makes up begins with it and a dot
}

func (b *chordBroker) Concluder(broker.Publisher) broker.Concluder { return b }
func (b *chordBroker) Bypasser(broker.Publisher) broker.Bypasser   { return b }
func (b *chordBroker) Close() error                                { return nil }

// Bypass implements broker.Bypasser.
func (b *chordBroker) Bypass(m *broker.Publication) (broker.Delivery, bool) {
	return broker.Delivery{Queue: "q", Content: broker.Deliver(&m.Message, protocol.Info{})}, true
}

// What is passed on could go back.

func (b *chordBroker) Return(context.Context, ...broker.Delivery) error { return errUnheard }
func (b *chordBroker) Hold(context.Context, ...broker.Delivery) error   { return errUnheard }

var errUnheard = errors.New("no answer")

// do is a command of a worker to the broker.
func (b *chordBroker) do(what func() string) (string, error) {
	reply, ok := b.Do(what)
	if !ok {
		return "", errUnheard
	}
	return reply, nil
}

func (b *chordBroker) Conclude(_ context.Context, conclusions ...broker.Conclusion) (lost []string, err error) {
	reply, err := b.do(func() string {
		gone := "+"
		for _, c := range conclusions {
			if b.Redis.HGet(partsHeld, c.Tag) == "" {
				gone += c.Tag + " "
				continue
			}
			b.Redis.HDel(partsHeld, c.Tag)
			b.send(c.Publish)
		}
		return gone
	})
	return strings.Fields(strings.TrimPrefix(reply, "+")), err
}

func (b *chordBroker) Ack(ctx context.Context, tags ...string) ([]string, error) {
	return b.Conclude(ctx, broker.Conclusion{Tag: tags[0]})
}

func (b *chordBroker) Publish(_ context.Context, messages ...broker.Publication) error {
	_, err := b.do(func() string {
		b.send(messages)
		return "+"
	})
	return err
}

// send publishes bodies, and ends their chords with that, as redisbroker's scripts do.
func (b *chordBroker) send(bodies []broker.Publication) {
	leftOut := false
	for i := range bodies {
		end, ok := bodies[i].Ends.(*redischord.End)
		if i == 0 || bodies[i].Ends != bodies[i-1].Ends {
			leftOut = ok && !b.end(end)
		}
		if !leftOut {
			_, _ = b.Redis.Push(bodiesWaiting, chordBody)
		}
	}
}

func (b *chordBroker) end(end *redischord.End) bool {
	held, err := b.Redis.Get(end.Keys[1])
	if claimed := err == nil; b.Redis.Exists(end.Keys[0]) || claimed && !strings.HasPrefix(held, b.token+".") || !claimed && !b.Redis.Exists(end.Keys[2]) && !b.Redis.Exists(end.Keys[3]) {
		return false
	}
	for _, key := range end.Keys[1:] {
		b.Redis.Del(key)
	}
	_ = b.Redis.Set(end.Keys[0], "done")
	b.Redis.SetTTL(end.Keys[0], time.Duration(end.Late)*time.Second)
	return true
}

// EndsChord implements broker.ChordEnder.
func (b *chordBroker) EndsChord(any) bool { return !b.apart }

// settle is what a worker does with a part whose handler has returned.
func (w *chordWorld) settle(ctx context.Context, a *chordActor) {
	b := &chordBroker{chordWorld: w, token: a.tag()}
	worker, err := New(Config{
		Registry: w.registry, Consumer: b, Publisher: b, Store: w.results, Hostname: "celery@" + a.name, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Error(err)
		return
	}
	worker.outcomes.now = func() time.Time { return time.Unix(0, 0) } // records are the same whenever they are made
	worker.runner.goroutines().backlog.idle = 1                       // slots wait
	start := worker.settler.startNext
	worker.settler.startNext = func(ctx context.Context, next *passedOn) {
		start(ctx, next)
		w.Do(func() string { _, _ = w.Redis.Push(bodiesWaiting, a.name); return "+" })
	}
	r := w.request(worker, a)
	ended := make(chan struct{})
	go func() { defer close(ended); worker.settler.run(ctx) }()
	worker.settler.settle(worker.outcomes.success(r, 1, time.Second))
	worker.settler.await(context.WithoutCancel(ctx)) // also what it leaves behind when it is taken no further
	worker.settler.close()
	<-ended
}

func (w *chordWorld) request(worker *Worker, a *chordActor) *request {
	id, again := strings.CutSuffix(a.held, comesAgainMark)
	r := worker.intake.request(broker.Delivery{Tag: a.tag(), Queue: "q"})
	index := int(id[len(id)-1] - '0')
	name := "part"
	if a.early {
		name = "early"
	}
	r.Task = &protocol.Task{Name: name, ID: id, RootID: id, GroupID: chordGroup, GroupIndex: &index, Redelivered: again}
	r.Embed.Chord = []byte(w.body[w.bodies()-1])
	r.task, _ = worker.intake.tasks.forMessage(r.Task)
	r.apply(true)
	r.bodyRead = true
	r.phase.Store(returned)
	return r
}

func (a *chordActor) tag() string { return a.name + "/" + a.held }

// celery is what Celery 5.7 does with such a part: it stores, counts, publishes the body, forgets the chord, and acknowledges, a step at a
// time.
func (w *chordWorld) celery(a *chordActor) {
	id := strings.TrimSuffix(a.held, comesAgainMark)
	key := func(suffix string) string { return "celery-taskset-meta-" + chordGroup + suffix }
	token := a.tag()
	holds := func() bool { held, _ := w.Redis.Get(key(".c")); return held == token }
	_, ok := w.Do(func() string {
		_ = w.Redis.Set("celery-task-meta-"+id, `{"status": "SUCCESS"}`)
		return "+"
	})
	if !ok {
		return
	}
	counted, ok := w.Do(func() string {
		if mark, _ := w.Redis.Get(key(".c")); mark == "done" {
			return "+"
		}
		index := id[len(id)-1:]
		if seen, _ := w.Redis.SIsMember(key(".d"), id+":"+index); !seen {
			_, _ = w.Redis.ZAdd(key(".j"), float64(index[0]-'0'), fmt.Sprintf(`[1, %q, "SUCCESS", 1]`, id))
			_, _ = w.Redis.SAdd(key(".d"), id+":"+index)
		}
		members, _ := w.Redis.ZMembers(key(".j"))
		if len(members) < chordParts || !w.Redis.Exists(key(".s")) || w.Redis.Exists(key(".c")) || w.seen && w.Redis.Exists(key(".a")) {
			return "+"
		}
		_ = w.Redis.Set(key(".c"), token)
		w.Redis.SetTTL(key(".c"), chordTick)
		return "+claimed"
	})
	if ok && counted == "+claimed" {
		var reply string
		reply, ok = w.Do(func() string {
			if !holds() && (w.Redis.Exists(key(".c")) || !w.Redis.Exists(key(".s"))) {
				return "+lost"
			}
			_ = w.Redis.Set(key(".c"), token)
			w.Redis.SetTTL(key(".c"), 2*chordTick)
			return "+"
		})
		if ok && reply == "+" {
			_, ok = w.Do(func() string { _, _ = w.Redis.Push(bodiesWaiting, chordBody); return "+" })
			if ok {
				_, ok = w.Do(func() string {
					if holds() {
						for _, suffix := range []string{".j", ".t", ".s", ".d"} { // .a runs out
							w.Redis.Del(key(suffix))
						}
						_ = w.Redis.Set(key(".c"), "done")
						w.Redis.SetTTL(key(".c"), 0)
					}
					return "+"
				})
			}
		}
	}
	if ok {
		w.Do(func() string { w.Redis.HDel(partsHeld, token); return "+" })
	}
}

// steps are all that may happen next.
func (w *chordWorld) steps(s *chordState) (all []explorer.Step[*chordState]) {
	add := func(name string, take func(*chordState) error) {
		all = append(all, explorer.Step[*chordState]{Name: name, Take: take})
	}
	for i := range s.actors {
		if i > 0 && s.begins() {
			break // what begins with the other one differs in names only
		}
		a := &s.actors[i]
		of := func(take func(*chordState, *chordActor) error) func(*chordState) error {
			return func(s *chordState) error { return take(s, &s.actors[i]) }
		}
		switch {
		case a.dead:
			if len(s.heldBy(a)) > 0 && (a.since >= chordTick || s.atOnce) {
				add(a.name+": hand back", of(handBack))
			}
			continue
		case a.held == "" && a.parts > 0 && len(s.list(partsWaiting)) > 0:
			add(a.name+": take", of(takePart))
		case a.held != "" && a.history.Ready():
			add(a.name+": settle", of(w.further(explorer.Heard)))
			if s.losses > 0 && !a.peer {
				add(a.name+": settle, unheard", of(w.further(explorer.Unheard)))
			}
		}
		if s.deaths > 0 && (a.held != "" || a.parts > 0) {
			add(a.name+": die", of(func(s *chordState, a *chordActor) error {
				s.deaths--
				s.cut = s.cut || a.early && a.held != ""
				s.excused = s.excused || s.atOnce && s.apart && len(s.list(bodiesWaiting)) > 0 // its chord may not have ended
				*a = chordActor{name: a.name, peer: a.peer, dead: true}
				return nil
			}))
		}
		if s.lapses > 0 && len(s.heldBy(a)) > 0 {
			add(a.name+": lapse", of(func(s *chordState, a *chordActor) error {
				s.lapses--
				s.excused = s.excused || s.apart
				return handBack(s, a)
			}))
		}
	}
	if s.runs() && s.redis[bodyRecordKey].Kind == "" {
		add("the body runs", func(s *chordState) error { s.set(bodyRecordKey, "string", `{"status": "SUCCESS"}`); return nil })
	}
	if s.ticks > 0 && len(all) > 0 {
		add("tick", func(s *chordState) error { s.tick(); return nil })
	}
	return all
}

// runs tells whether the body is published, or has begun in a worker that lives.
func (s *chordState) runs() bool {
	return slices.ContainsFunc(s.list(bodiesWaiting), func(body string) bool {
		return !slices.ContainsFunc(s.actors, func(a chordActor) bool { return a.dead && a.name == body })
	})
}

// begins tells whether nobody has done anything, and all are alike.
func (s *chordState) begins() bool {
	return !slices.ContainsFunc(s.actors, func(a chordActor) bool {
		return a.dead || a.held != "" || a.peer || a.parts != s.actors[0].parts || a.early != s.actors[0].early
	}) && len(s.list(partsWaiting)) == chordParts && s.redis["celery-task-meta-p0"].Kind == "" && s.redis["celery-task-meta-p1"].Kind == ""
}

// heldBy are tags and parts.
func (s *chordState) heldBy(a *chordActor) (all []string) {
	for pair := range slices.Chunk(s.list(partsHeld), 2) {
		if strings.HasPrefix(pair[0], a.name+"/") {
			all = append(all, pair...)
		}
	}
	return all
}

func takePart(s *chordState, a *chordActor) error {
	waiting := s.list(partsWaiting)
	a.held, a.parts = waiting[len(waiting)-1], a.parts-1
	s.set(partsWaiting, "list", waiting[:len(waiting)-1]...)
	if !a.early {
		s.set(partsHeld, "hash", append(slices.Clone(s.list(partsHeld)), a.tag(), a.held)...)
	}
	return nil
}

// handBack is what becomes of what is held by who is taken for dead.
func handBack(s *chordState, a *chordActor) error {
	back := s.heldBy(a)
	var held, parts []string
	for pair := range slices.Chunk(s.list(partsHeld), 2) {
		if !slices.Contains(back, pair[0]) {
			held = append(held, pair...)
		}
	}
	for pair := range slices.Chunk(back, 2) {
		parts = append(parts, strings.TrimSuffix(pair[1], comesAgainMark)+comesAgainMark)
	}
	s.set(partsHeld, "hash", held...)
	s.set(partsWaiting, "list", append(slices.Clone(s.list(partsWaiting)), parts...)...)
	return nil
}

// tick lets time pass. Claims run out: that of one of Celery's who lives, or has published the body and died before he could say so, may have
// others publish it again; and where there are two databases, that of anybody.
func (s *chordState) tick() {
	s.ticks--
	before := s.redis
	s.redis = s.redis.After(chordTick)
	for _, key := range []string{chordDoneKey, chordClaimKey} {
		claim := before[key]
		if claim.Kind == "" || s.redis[key].Kind != "" || claim.Text[0] == "done" {
			continue
		}
		published, run := len(s.list(bodiesWaiting)) > 0, s.redis[bodyRecordKey].Kind != ""
		for i := range s.actors {
			a := &s.actors[i]
			if (a.peer || s.apart) && strings.HasPrefix(claim.Text[0], a.name) && (!a.dead || published && !run) {
				s.excused = true
			}
		}
	}
	for i := range s.actors {
		a := &s.actors[i]
		a.since += chordTick
		if a.settles {
			a.history.Pass(chordTick)
		}
	}
}

// claimToken finds the token that who counts makes up, and writtenOnce the marks of what is written once.
var claimToken = regexp.MustCompile(`\$36\r\n([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\r\n`)

var writtenOnce = regexp.MustCompile(`apium\.once\.([0-9a-f]{16})`)

func findClaimToken(command []byte) []byte {
	if found := writtenOnce.FindSubmatch(command); found != nil {
		return found[1]
	}
	if found := claimToken.FindSubmatch(command); found != nil {
		return found[1]
	}
	return nil
}

// further takes an actor's settling of its part one command further.
func (w *chordWorld) further(fate explorer.Fate) func(*chordState, *chordActor) error {
	return func(s *chordState, a *chordActor) error {
		if fate == explorer.Unheard {
			s.losses--
		}
		before := *a
		if a.early {
			w.connectAgain()
		}
		key := a.history.Append(fmt.Appendf(s.redis.Append(nil), "%s %d ", a.tag(), fate))
		taken := w.known.Of(key, func() explorer.Taken {
			return w.Further(s.redis, before.history, explorer.Names{Find: findClaimToken, Stand: before.tag()}, fate, func(ctx context.Context) {
				if before.peer {
					w.celery(&before)
				} else {
					w.settle(ctx, &before)
				}
			})
		})
		s.redis, a.history, a.settles = taken.Redis, taken.History, !taken.Ended
		if taken.Ended {
			a.held = ""
		}
		return nil
	}
}

// check finds that the body was published early, or twice for no reason.
func (w *chordWorld) check(s *chordState) error {
	published, done := len(s.list(bodiesWaiting)), 0
	for i := range chordParts {
		if s.redis[fmt.Sprintf("celery-task-meta-p%d", i)].Kind != "" {
			done++
		}
	}
	if published > 0 && done < chordParts {
		return errors.New("the body is published before its parts are done")
	}
	if published > w.bodies() && !s.excused {
		return errors.New("the body is published twice")
	}
	return nil
}

// end sees that the body is published, if not by now, then by a worker that takes all that is left.
func (w *chordWorld) end(s *chordState) error {
	rest := s.Clone()
	for i := range rest.actors { // those that live wait for a claim to run out
		_ = handBack(rest, &rest.actors[i])
	}
	rest.redis = rest.redis.After(2 * chordTick)
	text := fmt.Sprint(s.excused, string(rest.redis.Append(nil)))
	if w.rescued[text] {
		return nil
	}
	w.rescued[text] = true
	early := slices.DeleteFunc(rest.actors, func(a chordActor) bool { return !a.early || a.dead || a.held == "" })
	for i := range early { // nobody else has its part
		w.settled(rest, &early[i])
	}
	rest.actors = []chordActor{{name: "rescue", parts: chordParts}}
	a := &rest.actors[0]
	for len(rest.list(partsWaiting)) > 0 {
		_ = takePart(rest, a)
		if w.settled(rest, a); a.held != "" {
			return errors.New("the body is never published, as a claim does not run out")
		}
		a.parts++
	}
	switch n := len(rest.list(bodiesWaiting)); {
	case n == 0 && !s.cut:
		return errors.New("the body is never published")
	case n > w.bodies() && !s.excused && s.redis[bodyRecordKey].Kind != "":
		return errors.New("the body is published again when it has run")
	}
	return nil
}

// settled takes the settling of an actor's part to its end, if it has one.
func (w *chordWorld) settled(s *chordState, a *chordActor) {
	for range 20 {
		if a.history.Pass(chordTick); a.held != "" {
			_ = w.further(explorer.Heard)(s, a)
		}
	}
}

// A chordModel is what is explored: who there is, and what may happen, how often.
type chordModel struct {
	name                          string
	large                         bool // it is explored only if asked for
	apart, atOnce                 bool // see chordState
	several                       bool // the body is two tasks
	actors                        []chordActor
	ticks, deaths, lapses, losses int
}

var chordModels = []chordModel{
	{name: "a death", ticks: 1, deaths: 1, actors: []chordActor{{name: "A", parts: 1}, {name: "B", parts: 1}}},
	{name: "beside Celery", ticks: 1, deaths: 1, actors: []chordActor{{name: "A", parts: 1}, {name: "K", peer: true, parts: 1}}},
	{name: "a body of two tasks", several: true, ticks: 1, lapses: 1, actors: []chordActor{{name: "A", parts: 1}, {name: "B", parts: 2}}},
	{name: "unheard", losses: 1, actors: []chordActor{{name: "A", parts: 1}, {name: "B", parts: 1}}},
	{name: "two databases", apart: true, ticks: 1, deaths: 1, actors: []chordActor{{name: "A", parts: 1}, {name: "B", parts: 1}}},
	{name: "unheard, two databases", apart: true, losses: 1, actors: []chordActor{{name: "A", parts: 1}, {name: "B", parts: 1}}},
	{name: "beside Celery, on RabbitMQ", apart: true, atOnce: true, ticks: 1, deaths: 1, actors: []chordActor{{name: "A", parts: 1}, {name: "K", peer: true, parts: 2}}},
	{name: "passed on", ticks: 1, lapses: 1, actors: []chordActor{{name: "A", early: true, parts: 1}, {name: "B", parts: 2}}},
	{name: "passed on, unheard", losses: 1, actors: []chordActor{{name: "A", early: true, parts: 1}, {name: "B", parts: 1}}},
	{name: "passed on, a death", ticks: 1, deaths: 1, actors: []chordActor{{name: "A", early: true, parts: 1}, {name: "B", parts: 1}}},
	{name: "passed on, given to another and unheard", large: true, ticks: 1, lapses: 1, losses: 1, actors: []chordActor{{name: "A", early: true, parts: 1}, {name: "B", parts: 2}}},
	{name: "passed on, long after a death", large: true, ticks: 2, deaths: 1, actors: []chordActor{{name: "A", early: true, parts: 1}, {name: "B", parts: 2}}},
	{name: "passed on, two databases", large: true, apart: true, ticks: 1, losses: 1, actors: []chordActor{{name: "A", early: true, parts: 1}, {name: "B", early: true, parts: 1}}},
	{name: "given to another, two databases", large: true, apart: true, ticks: 1, lapses: 1, actors: []chordActor{{name: "A", parts: 1}, {name: "B", parts: 2}}},
	{name: "long after a death", large: true, ticks: 2, deaths: 1, actors: []chordActor{{name: "A", parts: 1}, {name: "B", parts: 2}}},
	{name: "long beside Celery", large: true, ticks: 2, deaths: 1, actors: []chordActor{{name: "A", parts: 2}, {name: "K", peer: true, parts: 1}}},
	{name: "unheard beside a death", large: true, ticks: 2, deaths: 1, losses: 1, actors: []chordActor{{name: "A", parts: 1}, {name: "B", parts: 1}}},
	{name: "given to another", large: true, ticks: 1, lapses: 1, actors: []chordActor{{name: "A", parts: 1}, {name: "B", parts: 2}}},
}

// explored is what is explored of a model.
func (w *chordWorld) explored(m *chordModel) *explorer.Model[*chordState] {
	w.apart, w.several = m.apart, m.several
	first := &chordState{redis: explorer.Redis{}, apart: m.apart, atOnce: m.atOnce, actors: m.actors, ticks: m.ticks, deaths: m.deaths, lapses: m.lapses, losses: m.losses}
	first.set("celery-taskset-meta-"+chordGroup+".s", "string", fmt.Sprint(chordParts))
	first.set(partsWaiting, "list", "p1", "p0")
	return &explorer.Model[*chordState]{Name: m.name, First: first, Steps: w.steps, Check: w.check, End: w.end}
}

// TestModelOfChords explores all of them.
func TestModelOfChords(t *testing.T) { //nolint:paralleltest // it keeps a processor busy
	for i := range chordModels {
		m := &chordModels[i]
		if m.large && *explorer.Deeper == 0 {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newChordWorld(t).explored(m).Test(t) })
		})
	}
}

// TestModelOfChordsFinds takes guards out of the scripts, or has Celery see the claims of ours: the model finds it.
func TestModelOfChordsFinds(t *testing.T) { //nolint:paralleltest // it keeps a processor busy
	const seen = "" // nothing is taken out
	for name, missing := range map[string]struct{ model, text string }{
		"a claim is taken from who has it": {"unheard, two databases", "'NX', "},
		"a claim lasts for ever":           {"a death", ", 'PX', lease"},
		"a body begins that another has":   {"passed on", "if redis.call('GET', KEYS[2]) or redis.call('GET', KEYS[3]) ~= ARGV[2] then return 0 end"},
		"who has ended a chord forgets it": {"passed on, unheard", "if done_already() then return 1 end"},
		"Celery leaves a body to a claim":  {"beside Celery, on RabbitMQ", seen},
		"a part counts twice":              {"a death", "if call('SISMEMBER', g.d, key) == 1 then\n    return true\n  end"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newChordWorld(t)
				w.Cut, w.seen = missing.text, missing.text == seen
				i := slices.IndexFunc(chordModels, func(m chordModel) bool { return m.name == missing.model })
				e := w.explored(&chordModels[i]).Explore()
				if e.Broken == nil {
					t.Errorf("%d states do not show it", e.States)
				}
				t.Logf("%v, after %d states: %s", e.Broken, e.States, strings.Join(e.Path, "; "))
			})
		})
	}
}
