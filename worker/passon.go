package worker

import (
	"context"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/publish"
	"github.com/apium/apium/protocol"
)

// The next step of a chain may be passed on, and so may the body of a chord: where nobody else would get it, and nothing
// waits before it, it goes straight to the backlog, and costs neither messages nor the time that these take, however much
// of the chain is left, or the results of the header are. It is a task that was published, claimed and acknowledged early,
// all at once: so it and the task before it are acknowledged early, it counts among what is accepted (see earlyack.go)
// from the moment its predecessor has ended, and if no slot takes it, it goes to its queue. It starts when its
// predecessor's record is stored.

// passedOn is a request that was passed on, and its message, which is not published.
type passedOn struct {
	req     *request
	message publish.Message
}

// passing passes steps on.
type passing struct {
	bypasser broker.Bypasser // nil: nothing is passed on
	sender   *publish.Sender
	intake   *intake
	giveBack *givenBack
}

// newPassing resolves the ability. What no slot takes must be able to go back.
func newPassing(w *Worker) *passing {
	p := &passing{sender: w.settler.sender, intake: w.intake, giveBack: w.unstarted}
	if w.able.Bypassers != nil && w.able.Returner != nil && w.cfg.Publisher != nil {
		p.bypasser = w.able.Bypassers.Bypasser(w.cfg.Publisher)
	}
	return p
}

// passOn takes the only task that a success publishes out of what is published, and has it follow the settlement, which it
// returns. Most publish nothing, and stay on the stack.
func (p *passing) passOn(s settlement) settlement {
	if s.flow == nil {
		return s
	}
	return p.passOnFlow(s)
}

func (p *passing) passOnFlow(s settlement) settlement {
	r := s.req
	if s.end.kind == Succeeded && !r.acksLate && !r.task.pool.readsItself() {
		p.take(&s, func(next *pool) bool { return next == r.task.pool && next.backlog.expect(1) })
	}
	return s
}

// passOnBody does the same with the body of a chord, in the settlement of that. No slot waits for it.
func (p *passing) passOnBody(s *settlement) {
	p.take(s, func(next *pool) bool { return !next.readsItself() && next.backlog.expect(0) })
}

// take has the only task that is published follow the settlement instead, if its pool has a place for it.
func (p *passing) take(s *settlement, place func(next *pool) bool) {
	if p.bypasser == nil || len(s.flow.then) > 0 {
		return
	}
	at := onlyTask(s.flow.Messages)
	if at < 0 {
		return
	}
	m := s.flow.Messages[at]
	next := p.request(&m)
	if next == nil || !place(next.task.pool) {
		return
	}
	s.flow.Messages = append(s.flow.Messages[:at:at], s.flow.Messages[at+1:]...)
	s.next = &passedOn{next, m}
}

// onlyTask is the place of the message of a task, if there is one such message; -1: none, or several.
func onlyTask(messages []publish.Message) int {
	at := -1
	for i := range messages {
		switch {
		case messages[i].Task == nil:
		case at >= 0:
			return -1
		default:
			at = i
		}
	}
	return at
}

// request is what would come of a message that is to be run now, or nil.
func (p *passing) request(m *publish.Message) *request {
	in := p.intake
	if m.Message.ContentType != protocol.ContentTypeJSON || len(m.Message.Body) == 0 || in.tasks.of(m.Task.Name) == nil {
		return nil // it would not be read here, or is not made yet
	}
	d, ok := p.bypasser.Bypass(&m.Publication)
	if !ok {
		return nil
	}
	r := in.request(d)
	task, err := read(in.decoder, r.content, &r.read)
	if err != nil {
		return nil // where its message comes, it is refused
	}
	r.Task, r.accepted = task, true
	if m.Task.Inset != nil {
		err = r.readBody(in.decoder) // there is no other copy of the inset
	} else {
		err, r.bodyRead = task.TakeBody(m.Task), true
	}
	if err != nil {
		return nil
	}
	r.task, _ = in.tasks.forMessage(task)
	if r.task == nil || r.task.inGo != nil {
		return nil
	}
	if r.apply(in.stores); r.acksLate || in.gate.decide(r, time.Now()) != run {
		return nil
	}
	return r
}

// forgo gives up the place of what was passed on and will not start.
func (p *passing) forgo(next *passedOn) { next.req.task.pool.backlog.forgo() }

// start starts what was passed on.
func (p *passing) start(ctx context.Context, next *passedOn) {
	p.sender.Sent(ctx, []publish.Message{next.message})
	p.intake.announce(next.req, run)
	if !next.req.task.pool.backlog.follow(next.req) {
		p.giveBack.takeBack(ctx, []*request{next.req})
	}
}
