package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/explorer"
	"github.com/apium/apium/internal/redisconn"
)

// An outcome is what an operation that has ended means for its actor and for the messages.
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
			for fate, left := range [...]int{explorer.Heard: 1, explorer.Unheard: s.losses, explorer.Late: s.lates, explorer.Slow: s.slows} {
				if fate := explorer.Fate(fate); left > 0 && (fate == explorer.Heard || !a.peer && !a.history.Hears() && (w.model.unsure == "" || i == 0 && w.model.unsure == op)) {
					add(what+fate.String(), w.further(op, fate))
				}
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
					add(op, w.begin)
				case op == "accept": // it may arrive when the lease has lapsed
					add(op, func(_ *state, a *actor) error { a.use(op); a.op = op; return nil })
				default:
					further(op, op)
				}
			}
		}
		if s.deaths > 0 && a.popped < 0 && (w.model.forsaken || a.op != "" || len(a.held) > 0 || a.may(slices.Collect(maps.Keys(a.left))...)) {
			add("die", die)
		}
	}
	for i := range s.late {
		all = append(all, explorer.Step[*state]{Name: "late " + s.late[i].op, Take: func(s *state) error { w.arrive(s, i); return nil }})
	}
	if len(all) > 0 && s.ticks > 0 {
		all = append(all, explorer.Step[*state]{Name: "tick", Take: func(s *state) error { s.tick(); return nil }})
	}
	return all
}

// able tells whether an operation makes sense to an actor.
func able(m *model, a *actor, op string) bool {
	switch op {
	case "claim", "due", "pop", "move":
		return len(a.held) < m.size()
	case "close":
		return len(a.held) == 0
	case "begin":
		return a.next(m) >= 0
	case "accept":
		return slices.ContainsFunc(a.concerned(op), func(h held) bool { return good(a, &h) })
	case "finish", "renew", "park", "give back", "hold":
		return len(a.concerned(op)) > 0
	default:
		return true
	}
}

// next is the place of what an actor may begin; -1: nothing.
func (a *actor) next(m *model) int {
	return slices.IndexFunc(a.held, func(h held) bool {
		return !h.running && (a.peer || good(a, &h) && !m.early || m.early && h.Tag == "")
	})
}

// good tells whether a worker may start what it holds.
func good(a *actor, h *held) bool { return a.until > 0 && h.Term == a.term && h.age < a.patience }

// concerned are the messages that an operation is about.
func (a *actor) concerned(op string) (all []held) {
	for _, h := range a.held {
		switch op {
		case "finish":
			if h.running && (!a.peer || len(all) == 0) { // peers have no groups
				all = append(all, h)
			}
		case "renew":
			if h.Tag != "" {
				all = append(all, h)
			}
		case "hold":
			if h.accepted.Tag != "" && !h.running {
				all = append(all, h)
			}
		case "accept", "park", "give back":
			if h.Tag != "" && !h.running {
				all = append(all, h)
			}
		}
	}
	return all
}

func tagsOf(all []held) (tags []string) {
	for _, h := range all {
		tags = append(tags, h.Tag)
	}
	return tags
}

// without has an actor hold some messages no more.
func (a *actor) without(gone []held) {
	a.held = slices.DeleteFunc(slices.Clone(a.held), func(h held) bool {
		return slices.ContainsFunc(gone, func(g held) bool { return g.id == h.id && g.Tag == h.Tag })
	})
}

// each changes what an actor holds.
func (a *actor) each(change func(*held)) {
	a.held = slices.Clone(a.held)
	for i := range a.held {
		change(&a.held[i])
	}
}

func (a *actor) use(op string) {
	a.left = maps.Clone(a.left)
	a.left[op]--
}

// begin is the start of a handler.
func (w *world) begin(s *state, a *actor) error {
	a.use("begin")
	n := a.next(w.model)
	mine := a.held[n]
	for i := range s.actors {
		for _, h := range s.actors[i].held {
			if h.id == mine.id && h.running && !h.lapsed && (!a.peer || !mine.lapsed) { // peers begin without a look
				return fmt.Errorf("%s runs what %s runs", a.name, s.actors[i].name)
			}
		}
	}
	m := &s.messages[mine.id]
	if m.settled && !m.lapsed {
		return fmt.Errorf("%s runs what is done", a.name)
	}
	if m.acked && m.ran {
		return fmt.Errorf("%s runs what was acknowledged early, and ran", a.name)
	}
	m.ran = true
	a.held = slices.Clone(a.held)
	a.held[n].running = true
	return nil
}

func die(s *state, a *actor) error {
	s.deaths--
	*a = actor{name: a.name, peer: a.peer, dead: true, popped: -1}
	return nil
}

// tick lets time pass.
func (s *state) tick() {
	s.ticks--
	s.become(s.redis.After(tick))
	s.late = slices.Clone(s.late)
	for i := range s.late {
		s.late[i].Pass(tick)
	}
	for i := range s.actors {
		a := &s.actors[i]
		if a.dead {
			continue
		}
		a.until -= tick
		if a.op != "" {
			a.history.Pass(tick)
		}
		if a.mutex != "" {
			a.mutexed += tick
		}
		_, alive := s.redis["apium.alive."+idPrefix+a.name]
		a.each(func(h *held) {
			h.age += tick
			score, registered := s.redis["unacked_index"].Scores[h.Tag]
			if h.Tag != "" && (registered && score <= -a.patience.Seconds() || !a.peer && !alive) {
				h.lapsed, s.messages[h.id].lapsed = true, true
			}
		})
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

// done is what came of a command.
type done struct {
	taken explorer.Taken
	text  []byte // that its Redis is written as
	after actor  // what a worker's consumer knows then
	means outcome
}

// further takes an actor's operation one command further.
func (w *world) further(op string, fate explorer.Fate) func(*state, *actor) error {
	return func(s *state, a *actor) error {
		if a.op == "" {
			a.use(op)
		}
		key := appendInts(a.appendFor(op, slices.Clone(s.text)), a.left[op], int(fate))
		did := w.known.Of(key, func() done { return w.do(s.redis, *a, op, fate) })
		hears := a.history.Hears()
		s.redis, s.text, a.history = did.taken.Redis, did.text, did.taken.History
		switch fate {
		case explorer.Heard:
		case explorer.Unheard:
			s.losses--
		case explorer.Slow:
			s.slows--
		case explorer.Late:
			s.lates--
			one := late{did.taken.Late, slices.IndexFunc(s.actors, func(b actor) bool { return b.name == a.name }), op, a.concerned(op)}
			s.late = append(slices.Clone(s.late), one)
		}
		switch {
		case op == "hold" && fate != explorer.Late && !hears:
			a.isHeld(s, a.concerned(op), string(did.taken.Reply))
		case fate == explorer.Unheard || fate == explorer.Slow:
			a.tookAllBut(s, a.concerned(op), op, string(did.taken.Reply))
		}
		if a.popped = -1; !did.taken.Ended {
			if a.op = op; op == "pop" && did.taken.Reply[0] != '-' {
				a.popped = idOf(did.taken.Reply)
			}
			return nil
		}
		a.op = ""
		if !a.peer {
			a.epoch, a.term, a.until, a.tags = did.after.epoch, did.after.term, did.after.until, did.after.tags
			a.mutex, a.mutexed = did.after.mutex, did.after.mutexed
		}
		return did.means(s, a)
	}
}

// appendFor writes what an actor's operation depends on.
func (a *actor) appendFor(op string, to []byte) []byte {
	to = a.history.Append(append(append(append(append(to, a.name...), ' '), op...), ' '))
	to = appendInts(to, int(a.epoch), int(a.term), int(max(a.until, 0)), int(a.tags), int(a.mutexed), len(a.held))
	to = append(append(append(append(to, a.mutex...), ' '), a.missing...), ' ')
	for _, h := range a.concerned(op) {
		to = appendInts(append(append(append(to, h.Tag...), ' '), h.accepted.Tag...), h.id, int(h.Term))
	}
	return to
}

// do does a command.
func (w *world) do(redis explorer.Redis, a actor, op string, fate explorer.Fate) (did done) {
	c := w.workers[a.name]
	names := explorer.Names{Find: findMadeUp, Stand: fmt.Sprint(a.name, op, a.left[op])}
	did.taken = w.Further(redis, a.history, names, fate, func(ctx context.Context) {
		if a.peer {
			did.means = w.peerDoes(ctx, op, &a)
		} else {
			w.know(c, &a)
			did.means = w.workerDoes(ctx, c, op, &a)
		}
	})
	did.text = did.taken.Redis.Append(nil)
	if c != nil && did.taken.Ended {
		w.note(c, &did.after)
	}
	return did
}

// arrive does a command that was late.
func (w *world) arrive(s *state, i int) {
	one := s.late[i]
	s.late = slices.Delete(slices.Clone(s.late), i, i+1)
	redis, reply := w.Arrive(s.redis, &one.Straggler)
	s.become(redis)
	if one.op == "hold" {
		s.actors[one.actor].isHeld(s, one.about, string(reply))
		return
	}
	s.actors[one.actor].tookAllBut(s, one.about, one.op, string(reply))
}

// isHeld notes that an acknowledgement is taken back.
func (a *actor) isHeld(s *state, about []held, reply string) {
	if reply != ":1\r\n" { // it was before
		return
	}
	for _, h := range about {
		s.messages[h.id].acked = false
	}
}

// tookAllBut notes what an acknowledgement has done whose answer is not heard: those that the answer does not name are acknowledged.
func (a *actor) tookAllBut(s *state, asked []held, op, lost string) {
	if op != "finish" && op != "accept" {
		return
	}
	for _, one := range asked {
		if strings.Contains(lost, one.Tag+"\r\n") {
			continue
		}
		m := &s.messages[one.id]
		m.settled, m.acked = m.settled || op == "finish", m.acked || op == "accept"
		a.each(func(h *held) { h.took = h.took || h.Tag == one.Tag })
	}
}

// got has an actor hold what it has claimed.
func (w *world) got(ds []broker.Delivery) outcome {
	heard := time.Now()
	return func(s *state, a *actor) error {
		a.held = slices.Clone(a.held)
		for _, d := range ds {
			h := held{Delivery: d, id: idOf(d.Raw)}
			if !d.Claimed.IsZero() {
				h.age = heard.Sub(d.Claimed).Round(time.Second)
			}
			a.held = append(a.held, h)
			id := h.id
			if w.model.inOrder && (s.waits(id) || len(a.held) > 1 && a.held[len(a.held)-2].id > id) {
				return fmt.Errorf("%s claims message %d before what was sent earlier", a.name, id)
			}
		}
		return nil
	}
}

// waits tells whether anything waits that was sent before a message.
func (s *state) waits(id int) bool {
	return slices.ContainsFunc(slices.Concat(s.redis["q"].Text, s.redis["apium.inbox.q"].Text), func(text string) bool { return idOf([]byte(text)) < id })
}

// drop has an actor hold no more what an operation was about.
func drop(gone []held) outcome {
	return func(_ *state, a *actor) error { a.without(gone); return nil }
}

// workerDoes runs an operation of a worker.
func (w *world) workerDoes(ctx context.Context, c *Consumer, op string, a *actor) outcome {
	room, about := w.model.size()-len(a.held), a.concerned(op)
	switch op {
	case "beat":
		_ = c.register(ctx, c.epoch.Load())
	case "claim":
		return w.got(untilHeard(ctx, func() ([]broker.Delivery, error) { return c.claimOnce(ctx, room, nil) })) // it has to beat first, perhaps
	case "move":
		return w.got(moveAndTake(ctx, c))
	case "due":
		return w.got(untilHeard(ctx, func() ([]broker.Delivery, error) {
			ds, _, err := c.dueOnce(ctx, time.Now(), room)
			return ds, err
		}))
	case "renew":
		return renew(ctx, c, about)
	case "accept":
		return accept(ctx, c, about)
	case "hold":
		return hold(ctx, c, about)
	case "finish":
		return finish(ctx, c, about)
	case "give back":
		untilHeard(ctx, func() ([]broker.Delivery, error) { return nil, c.Unclaim(ctx, deliveriesOf(about)...) })
		return drop(about)
	case "park":
		var parked []broker.Parked
		for _, h := range about {
			id := h.id
			if w.model.oneTask {
				id = 0
			}
			parked = append(parked, broker.Parked{Delivery: h.Delivery, TaskID: fmt.Sprint(id), Due: time.Now().Add(tick)})
		}
		untilHeard(ctx, func() ([]broker.Delivery, error) {
			_, err := c.Park(ctx, parked...)
			return nil, err
		})
		return drop(about)
	case "unpark":
		_ = c.unpark(ctx)
	case "sweep":
		_ = c.sweep(ctx)
	case "look":
		return look(ctx, c, a)
	case "close":
		_ = c.withdraw(ctx) // it ends in any case
		return func(_ *state, a *actor) error { *a = actor{name: a.name, dead: true, popped: -1}; return nil }
	default:
		panic(op)
	}
	return nothing
}

func deliveriesOf(all []held) (ds []broker.Delivery) {
	for _, h := range all {
		ds = append(ds, h.Delivery)
	}
	return ds
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

// renew is how a worker keeps what it holds.
func renew(ctx context.Context, c *Consumer, about []held) outcome {
	term, start := c.Lease().Term, time.Now()
	lost, err := c.Extend(ctx, tagsOf(about)...)
	gone := slices.DeleteFunc(slices.Clone(about), func(h held) bool { return !slices.Contains(lost, h.Tag) })
	age := time.Since(start).Round(time.Second)
	return func(s *state, a *actor) error {
		a.without(gone)
		heard := err == nil
		_, alive := s.redis["apium.alive."+idPrefix+a.name]
		peers := slices.ContainsFunc(s.actors, func(a actor) bool { return a.peer }) // they look once, and act later
		a.each(func(h *held) {
			if heard && slices.ContainsFunc(about, func(one held) bool { return one.Tag == h.Tag }) {
				h.Term, h.age, h.lapsed = term, age, h.lapsed && (!alive || peers || age > 0)
			}
		})
		return nil
	}
}

// accept is how a worker acknowledges what it has not begun.
func accept(ctx context.Context, c *Consumer, about []held) outcome {
	lost, err := c.Ack(ctx, tagsOf(about)...)
	return func(s *state, a *actor) error {
		var gone []held
		for _, one := range about {
			mine := &a.held[slices.IndexFunc(a.held, func(h held) bool { return h.Tag == one.Tag })]
			switch {
			case err == nil && !slices.Contains(lost, one.Tag):
				s.messages[one.id].acked = true
			case mine.took:
				return errors.New("its own acknowledgement is taken for a loss")
			default:
				gone = append(gone, one)
			}
		}
		a.without(gone)
		a.each(func(h *held) {
			if slices.ContainsFunc(about, func(one held) bool { return one.Tag == h.Tag }) {
				h.accepted, h.Delivery, h.took = h.Delivery, broker.Delivery{Term: h.Term}, false
			}
		})
		return nil
	}
}

// hold is how a worker takes back that it has acknowledged what it has not begun.
func hold(ctx context.Context, c *Consumer, about []held) outcome {
	term, start := c.Lease().Term, time.Now()
	var ds []broker.Delivery
	for _, h := range about {
		ds = append(ds, h.accepted)
	}
	_ = c.Hold(ctx, ds...)
	age := time.Since(start).Round(time.Second)
	return func(_ *state, a *actor) error {
		a.each(func(h *held) {
			if slices.ContainsFunc(about, func(one held) bool { return one.accepted.Tag == h.accepted.Tag }) {
				h.accepted, h.Delivery, h.age = broker.Delivery{}, h.accepted, age
				h.Term = term
			}
		})
		return nil
	}
}

// finish is how a worker is done with all that it runs.
func finish(ctx context.Context, c *Consumer, about []held) outcome {
	var late []held
	for _, h := range about {
		if h.Tag != "" { // others were acknowledged before they ran
			late = append(late, h)
		}
	}
	var lost []string
	var err error
	if len(late) > 0 {
		lost, err = c.Ack(ctx, tagsOf(late)...)
	}
	return func(s *state, a *actor) error {
		for _, one := range about {
			m := &s.messages[one.id]
			m.settled = m.settled || err == nil && !slices.Contains(lost, one.Tag)
		}
		a.without(about)
		return nil
	}
}

// moveAndTake is a waiter's command, with the order to claim what it moves, and what the waiter does until it knows what came of that.
func moveAndTake(ctx context.Context, c *Consumer) []broker.Delivery {
	list := c.layout.Load().sources[0].lists[0]
	one := newWaiter(ctx, list, c.keys.inbox(list))
	c.waits.takes = true
	order := c.newTake(one)
	c.waits.endTake()
	one.claims.unsure = span{order.tag, 1}
	if moved, err := c.pipe.Do(ctx, "RPOPLPUSH", list, one.inbox); err != nil || moved == nil {
		return nil
	}
	reply, err := c.pipe.Script(ctx, takeMovedScript, order.args...)
	if err == nil {
		one.claims.unsure = span{}
	}
	if raw, ok := reply.([]byte); err == nil && ok {
		order.delivery.Content = content(raw)
		one.claims.pending = append(one.claims.pending, order.delivery)
	}
	return untilHeard(ctx, func() ([]broker.Delivery, error) {
		err := c.recoverClaims(ctx, &one.claims)
		return one.claims.take(1), err
	})
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
