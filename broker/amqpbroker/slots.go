package amqpbroker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/rabbitconn"
)

// What has been sent of a schedule is in a queue, its journal: records of what was stored, each of which counts more
// than those before it. Who leads has an exclusive queue: so the lead ends with the connection that runs
// are sent on, and nobody who has lost it can send any more. A run and its record are published in one
// transaction.

var _ broker.Slots = (*Publisher)(nil)

const (
	journalPrefix = "apium.beat.schedule."
	leaderPrefix  = "apium.beat.leader."
	readerPrefix  = "apium.beat.reader." // exclusive to whoever reads the journal

	// somebody is who leads on another connection: the broker does not tell.
	somebody = "somebody"
	// readAgain is how long to wait while another one reads the journal.
	readAgain = 100 * time.Millisecond
)

// slots are the schedules that are led here.
type slots struct {
	turn  chan struct{} // capacity 1: held by whoever uses the rest, and the journals
	leads map[string]*lead
}

func newSlots() slots { return slots{turn: make(chan struct{}, 1), leads: map[string]*lead{}} }

// lead is the lead of a schedule.
type lead struct {
	node    string
	on      *line // in transactions
	journal *journal
}

// inTurn does something with schedules, one caller at a time. What is not done when ctx is done goes on, and others wait for it.
func (p *Publisher) inTurn(ctx context.Context, do func(conn *rabbitconn.Connection) error) error {
	conn, err := p.holder.Get(ctx)
	if err != nil {
		return closedError(err)
	}
	select {
	case p.slots.turn <- struct{}{}:
	case <-ctx.Done():
		return conn.InVain(ctx)
	}
	done := make(chan error, 1)
	go func() { // it may be stuck in a socket
		defer func() { <-p.slots.turn }()
		done <- do(conn)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return conn.InVain(ctx)
	}
}

// leading is the lead of a schedule, if it is not lost.
func (s *slots) leading(schedule string) *lead {
	l := s.leads[schedule]
	if l != nil && l.on.conn.IsClosed() {
		delete(s.leads, schedule)
		return nil
	}
	return l
}

// Lead implements [broker.Slots]. A lead lasts as long as its connection: others do not wait for it to pass.
func (p *Publisher) Lead(ctx context.Context, schedule, node string, lasts time.Duration) (leader string, left time.Duration, err error) {
	var leads string
	err = p.inTurn(ctx, func(conn *rabbitconn.Connection) error {
		l := p.slots.leading(schedule)
		if l == nil {
			var err error
			if l, err = p.takeLead(ctx, conn, schedule, node); l == nil || err != nil {
				leads = somebody
				return err
			}
			p.slots.leads[schedule] = l
		}
		leads = l.node
		return nil
	})
	if err != nil {
		return "", 0, fmt.Errorf("lead schedule %q: %w", schedule, rabbitconn.Described(err))
	}
	return leads, lasts, nil
}

// takeLead takes the lead of a schedule, unless another one has it, and reads its journal.
func (p *Publisher) takeLead(ctx context.Context, conn *rabbitconn.Connection, schedule, node string) (*lead, error) {
	if led, err := p.isLed(ctx, schedule); led || err != nil {
		return nil, err
	}
	if mine, err := exclusive(conn, leaderPrefix+schedule); !mine || err != nil {
		return nil, err
	}
	l := &lead{node: node, journal: &journal{queue: journalPrefix + schedule}}
	err := l.open(ctx, conn, schedule)
	if err == nil {
		return l, nil
	}
	return nil, errors.Join(err, conn.Aside(func(ch *amqp.Channel) error {
		_, err := ch.QueueDelete(leaderPrefix+schedule, false, false, false)
		return err
	}))
}

// open reads what was sent so far.
func (l *lead) open(ctx context.Context, conn *rabbitconn.Connection, schedule string) (err error) {
	if l.on, err = openTransactions(conn); err != nil {
		return err
	}
	return alone(ctx, conn, readerPrefix+schedule, func() error { return l.journal.condense(l.on) })
}

// isLed tells whether there is a leader: a message for its queue does not come back.
func (p *Publisher) isLed(ctx context.Context, schedule string) (bool, error) {
	on, err := p.talk.get(ctx)
	if err != nil {
		return false, err
	}
	question := &outgoing{key: leaderPrefix + schedule, mandatory: true}
	if err := on.send(ctx, []*outgoing{question}); err != nil {
		return false, err
	}
	switch accepted, returned := on.accepted(question); {
	case returned:
		return false, nil
	case accepted:
		return true, nil
	}
	return false, cmp.Or(on.refusal(), error(amqp.ErrClosed))
}

// exclusive declares a queue that ends with the connection, and that nobody reads; mine is false if it is another's.
func exclusive(conn *rabbitconn.Connection, name string) (mine bool, err error) {
	err = conn.Aside(func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(name, false, false, true, false, amqp.Table{"x-message-ttl": int32(0)})
		return err
	})
	if rabbitconn.Code(err) == amqp.ResourceLocked {
		return false, nil
	}
	return err == nil, err
}

// alone does something while nobody else reads a queue: who reads it holds what it has read. name is that of an exclusive queue that says so.
func alone(ctx context.Context, conn *rabbitconn.Connection, name string, do func() error) error {
	for {
		mine, err := exclusive(conn, name)
		switch {
		case err != nil:
			return err
		case mine:
			return errors.Join(do(), conn.Aside(func(ch *amqp.Channel) error {
				_, err := ch.QueueDelete(name, false, false, false)
				return err
			}))
		}
		select {
		case <-time.After(readAgain):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Resign implements [broker.Slots].
func (p *Publisher) Resign(ctx context.Context, schedule, node string) error {
	return p.inTurn(ctx, func(*rabbitconn.Connection) error {
		l := p.slots.leading(schedule)
		if l == nil || l.node != node {
			return nil
		}
		delete(p.slots.leads, schedule)
		return errors.Join(l.on.ch.Close(), l.on.conn.Aside(func(ch *amqp.Channel) error {
			_, err := ch.QueueDelete(leaderPrefix+schedule, false, false, false)
			return err
		}))
	})
}

// Slots implements [broker.Slots].
func (p *Publisher) Slots(ctx context.Context, schedule string) (map[string]string, error) {
	var stored map[string]string
	err := p.inTurn(ctx, func(conn *rabbitconn.Connection) error {
		if l := p.slots.leading(schedule); l != nil {
			stored = maps.Clone(l.journal.stored)
			return nil
		}
		j := &journal{queue: journalPrefix + schedule}
		err := alone(ctx, conn, readerPrefix+schedule, func() error { return conn.Aside(j.look) })
		stored = j.stored
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read schedule %q: %w", schedule, rabbitconn.Described(err))
	}
	return stored, nil
}

// Take implements [broker.Slots]. All turns are taken in one transaction. Whether a message can be routed is known only after it:
// the turn of one that cannot is taken back, and the others stay taken.
func (p *Publisher) Take(ctx context.Context, schedule, node string, turns ...broker.Turn) ([]broker.Taken, error) {
	var taken []broker.Taken
	err := p.inTurn(ctx, func(*rabbitconn.Connection) (err error) {
		l := p.slots.leading(schedule)
		switch {
		case l == nil:
			return &broker.DeposedError{}
		case l.node != node:
			return &broker.DeposedError{Leader: l.node}
		}
		taken, err = p.take(l, turns)
		return err
	})
	if err != nil {
		return nil, err
	}
	return taken, nil
}

// take is Take of who leads.
func (p *Publisher) take(l *lead, turns []broker.Turn) ([]broker.Taken, error) {
	taken, messages, of, changes := broker.Compare(l.journal.stored, turns)
	if len(changes) == 0 {
		return taken, nil
	}
	back, err := p.commit(l, messages, changes)
	if len(back) > 0 { // at most once for each of those that go on with one turn
		t := turns[of[back[0].index]]
		_, undone := p.commit(l, nil, record{t.Entry: t.Before})
		err = errors.Join(&broker.RefusedError{Publication: messages[back[0].index], Index: back[0].index, OthersSent: true, Err: broker.ErrUnroutable}, undone)
	}
	for _, refused := range broker.Refusals(err) {
		refused.Index = of[refused.Index]
	}
	return taken, err
}

// commit publishes messages along with a record of what changes, and returns those that nobody got. After an error none of it
// was done, unless the connection was lost.
func (p *Publisher) commit(l *lead, messages []broker.Publication, changes record) (back []*outgoing, err error) {
	pending, err := p.outgoing(messages)
	if err != nil {
		return nil, err
	}
	refused := map[int]error{}
	p.declareTargets(l.on.conn, messages, pending, refused)
	if err := refusals(messages, refused); err != nil {
		return nil, err
	}
	note := l.journal.outgoing(changes)
	if err := l.commit(append(pending[:len(pending):len(pending)], note)); err != nil {
		if l.on.refusal() == nil || len(messages) == 0 {
			return nil, rabbitconn.Described(err)
		}
		return nil, &broker.RefusedError{Publication: messages[0], Err: describe(err)}
	}
	l.journal.add(changes)
	for _, m := range pending {
		if _, returned := l.on.accepted(m); returned {
			p.undeclare(m) // its queue may have been deleted since
			back = append(back, m)
		}
	}
	if len(back) > 0 {
		if p.declareTargets(l.on.conn, messages, back, refused); len(refused) == 0 {
			err = l.commit(back)
		}
		back = slices.DeleteFunc(back, func(m *outgoing) bool {
			_, returned := l.on.accepted(m)
			return err == nil && len(refused) == 0 && !returned
		})
	}
	if _, deleted := l.on.accepted(note); deleted || l.journal.long() {
		err = errors.Join(err, l.journal.condense(l.on))
	}
	return back, err
}

// commit sends messages in one transaction, on a channel that is opened anew if the broker has closed it over another one.
func (l *lead) commit(messages []*outgoing) error {
	if l.on.lost() {
		anew, err := openTransactions(l.on.conn)
		if err != nil {
			return err
		}
		l.on = anew
	}
	return l.on.commit(messages)
}
