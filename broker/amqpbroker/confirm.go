package amqpbroker

import (
	"bytes"
	"context"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/internal/rabbitconn"
)

// outgoing is a message on its way.
type outgoing struct {
	amqp.Publishing
	index         int // in its call
	exchange, key string
	mandatory     bool // it is to come back if no queue gets it

	confirm  *amqp.DeferredConfirmation // nil: it was not sent
	returned bool                       // guarded by line.mu
	again    bool                       // it came back before
}

// line is a channel that is published on, from when it was opened until it is lost. The broker confirms
// each message, after it has sent it back if no queue got it.
type line struct {
	conn *rabbitconn.Connection
	ch   *amqp.Channel

	settled chan chan struct{} // asks watch whether it is done with what came before
	done    chan struct{}      // closed when the channel is lost
	err     error              // why; to be read when done is closed

	mu    sync.Mutex
	calls map[*outgoing][]*outgoing // by the first message of each
}

func openLine(conn *rabbitconn.Connection) (*line, error) {
	return openAs(conn, func(ch *amqp.Channel) error { return ch.Confirm(false) })
}

// openAs opens a line in a mode of publishing.
func openAs(conn *rabbitconn.Connection, mode func(*amqp.Channel) error) (*line, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	if err := mode(ch); err != nil {
		_ = ch.Close() // it is of no use
		return nil, err
	}
	l := &line{
		conn: conn, ch: ch, settled: make(chan chan struct{}), done: make(chan struct{}), calls: make(map[*outgoing][]*outgoing),
	}
	// Nothing is buffered on the way to watch: so it has a returned message before its confirmation is read.
	returns, closes := ch.NotifyReturn(make(chan amqp.Return)), ch.NotifyClose(make(chan *amqp.Error, 1))
	go l.watch(returns, closes)
	return l, nil
}

// watch lives as long as the channel.
func (l *line) watch(returns <-chan amqp.Return, closes <-chan *amqp.Error) {
	for {
		select {
		case r, ok := <-returns:
			if !ok {
				returns = nil
				continue
			}
			l.take(&r)
		case asked := <-l.settled:
			close(asked)
		case err := <-closes:
			l.err = amqp.ErrClosed
			if err != nil {
				l.err = err
			}
			close(l.done)
			return
		}
	}
}

// take finds which message has come back. Messages that are alike in all this are one to everybody.
func (l *line) take(r *amqp.Return) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, call := range l.calls {
		for _, m := range call {
			if !m.returned && m.mandatory && m.key == r.RoutingKey && m.exchange == r.Exchange && m.CorrelationId == r.CorrelationId && bytes.Equal(m.Body, r.Body) {
				m.returned = true
				return
			}
		}
	}
}

// send publishes messages and waits until all are confirmed, the channel is lost, or ctx is done, whose
// error it then returns. What became of each message is in accepted.
func (l *line) send(ctx context.Context, messages []*outgoing) error {
	defer l.expect(messages)()
	sent := make(chan struct{})
	go func() { // it may be stuck in a socket
		defer close(sent)
		l.conn.Together(func() { l.write(messages) })
	}()
	select {
	case <-sent:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	mandatory := false
	for _, m := range messages {
		if m.confirm == nil {
			break
		}
		select {
		case <-m.confirm.Done():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		mandatory = mandatory || m.mandatory
	}
	switch {
	case l.ch.IsClosed():
		<-l.done // it follows, with the reason
	case mandatory:
		l.settle()
	}
	return nil
}

// expect has messages found that come back, until the returned function is called.
func (l *line) expect(messages []*outgoing) (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls[messages[0]] = messages
	for _, m := range messages {
		m.confirm, m.returned = nil, false
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.calls, messages[0])
	}
}

// openTransactions opens a line on which all is published with commit.
func openTransactions(conn *rabbitconn.Connection) (*line, error) {
	return openAs(conn, (*amqp.Channel).Tx)
}

// commit publishes messages, and does what else the line's channel was asked for, in one transaction. Which of them came back
// is in accepted. After an error none was published, unless the connection was lost.
func (l *line) commit(messages []*outgoing) error {
	defer l.expect(messages)()
	l.conn.Together(func() { l.write(messages) })
	err := l.ch.TxCommit()
	if err == nil {
		l.settle()
		return nil
	}
	if l.ch.IsClosed() {
		<-l.done // it follows, with the reason
		return l.err
	}
	return err
}

// write ends at the first error: the channel is lost then.
func (l *line) write(messages []*outgoing) {
	for _, m := range messages {
		confirm, err := l.ch.PublishWithDeferredConfirm(m.exchange, m.key, m.mandatory, false, m.Publishing)
		if err != nil {
			return
		}
		m.confirm = confirm
	}
}

// settle returns when all is taken that came back before.
func (l *line) settle() {
	asked := make(chan struct{})
	select {
	case l.settled <- asked:
		<-asked
	case <-l.done:
	}
}

// accepted tells whether the broker has taken charge of a message, or has sent it back, after send.
func (l *line) accepted(m *outgoing) (accepted, returned bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return m.confirm != nil && m.confirm.Acked(), m.returned
}

// has tells whether the broker has taken charge of a message and kept it.
func (l *line) has(m *outgoing) bool {
	accepted, returned := l.accepted(m)
	return accepted && !returned
}

// refusal is why the broker has closed the channel though the connection lives: one of the messages, or
// where it was to go. nil: that is not what happened.
func (l *line) refusal() error {
	select {
	case <-l.done:
	default:
		return nil
	}
	if !l.conn.IsClosed() && rabbitconn.Code(l.err) != 0 {
		return l.err
	}
	return nil
}

// lost tells whether nothing can be published here any more.
func (l *line) lost() bool {
	select {
	case <-l.done:
		return true
	default:
		return l.conn.IsClosed()
	}
}

// lines keeps a line open on the connection that there is.
type lines struct {
	holder taking

	turn    turn // held while a line is opened
	current *line
}

// taking is a holder of a connection that takes messages.
type taking interface {
	Taking(ctx context.Context) (*rabbitconn.Connection, error)
}

func newLines(holder taking) lines { return lines{holder: holder, turn: newTurn()} }

// get returns the line, as soon as there is a connection and the broker takes messages.
func (ls *lines) get(ctx context.Context) (*line, error) {
	for {
		conn, err := ls.holder.Taking(ctx)
		if err != nil {
			return nil, err
		}
		l, err := ls.on(ctx, conn)
		if err == nil {
			return l, nil
		}
		if !conn.IsClosed() {
			return nil, err
		}
		select {
		case <-conn.Done(): // another one follows
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (ls *lines) on(ctx context.Context, conn *rabbitconn.Connection) (*line, error) {
	if err := ls.turn.take(ctx); err != nil {
		return nil, err
	}
	defer ls.turn.leave()
	if l := ls.current; l != nil && l.conn == conn && !l.lost() {
		return l, nil
	}
	l, err := openLine(conn)
	if err == nil {
		ls.current = l
	}
	return l, err
}
