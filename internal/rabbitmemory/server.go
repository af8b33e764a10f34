package rabbitmemory

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options say how a server behaves.
type Options struct {
	// Lag is asked how long it takes a queue to learn that a channel was lost that consumed it, or held what is of it. It is called with the server locked.
	// Nil: no time. Of one that its client closes, all queues know before the client has the answer, as in RabbitMQ (of 3,800 closed channels
	// and connections, each time).
	Lag func() time.Duration
	// Heartbeat is what the server proposes, in whole seconds; 0: 60 s, as RabbitMQ.
	Heartbeat time.Duration
	// ConsumerTimeout is how long a message may be held, before its channel is closed; 0: for ever.
	ConsumerTimeout time.Duration
	// Ended is told of every channel that ends, with the name that its client has given to the connection, and what it held, before others get
	// that. It is called with the server locked. Nil: nobody is.
	Ended func(connection string, held []Held)
}

// Held is a message that was delivered and not acknowledged.
type Held struct {
	CorrelationID string

	headers table
}

// Number is a header that is a whole number, or 0.
func (h Held) Number(header string) int64 {
	n, _ := h.headers.number(header)
	return n
}

// Server is a RabbitMQ with one virtual host.
type Server struct {
	opts Options

	mu          sync.Mutex
	closed      bool
	queues      map[string]*queue
	exchanges   map[string]*exchange
	connections map[*connection]struct{}
	timers      map[*time.Timer]struct{}
	names       int
}

// exchange is one exchange.
type exchange struct {
	name, kind string
	durable    bool
	bindings   []binding
}

// binding leads to a queue or an exchange.
type binding struct {
	key   string
	queue *queue
	to    *exchange
}

// New returns a server without queues.
func New(opts Options) *Server {
	if opts.Heartbeat == 0 {
		opts.Heartbeat = time.Minute
	}
	s := &Server{
		opts: opts, queues: map[string]*queue{}, exchanges: map[string]*exchange{}, connections: map[*connection]struct{}{}, timers: map[*time.Timer]struct{}{},
	}
	for name, kind := range map[string]string{"": "direct", "amq.direct": "direct", "amq.topic": "topic", "amq.fanout": "fanout"} {
		s.exchanges[name] = &exchange{name: name, kind: kind, durable: true}
	}
	return s
}

// Serve serves a connection, and does not wait for its end.
func (s *Server) Serve(nc net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		nc.Close()
		return
	}
	c := newConnection(s, nc)
	s.connections[c] = struct{}{}
	go c.write()
	go c.read()
}

// Close breaks all connections. It returns when nobody is served any more.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for t := range s.timers {
		t.Stop()
	}
	all := make([]*connection, 0, len(s.connections))
	for c := range s.connections {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		c.nc.Close()
		<-c.over
		<-c.written
	}
}

// Len tells how many messages wait in each queue that has any, or has handed out some that are not acknowledged.
func (s *Server) Len() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := map[string]int{}
	for _, q := range s.queues {
		n[q.name] += q.len()
	}
	for c := range s.connections {
		for _, ch := range c.channels {
			for _, u := range ch.unacked {
				n[u.queue.name]++
			}
		}
	}
	for name, some := range n {
		if some == 0 {
			delete(n, name)
		}
	}
	return n
}

// after has something done with the server locked, unless it is closed before.
func (s *Server) after(d time.Duration, do func()) *time.Timer {
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.timers, t)
		if !s.closed {
			do()
		}
	})
	s.timers[t] = struct{}{}
	return t
}

// stop has a timer do nothing any more; nil: there is none.
func (s *Server) stop(t **time.Timer) {
	if *t != nil {
		(*t).Stop()
		delete(s.timers, *t)
		*t = nil
	}
}

// publish puts a message into all queues that get it, and tells whether there are any.
func (s *Server) publish(m *message) bool {
	to := s.route(s.exchanges[m.exchange], m.key)
	for _, q := range to {
		q.put(m)
	}
	return len(to) > 0
}

// route are the queues that get what is published to an exchange.
func (s *Server) route(from *exchange, key string) (to []*queue) {
	seen := map[*exchange]bool{}
	var follow func(e *exchange)
	follow = func(e *exchange) {
		if seen[e] {
			return
		}
		seen[e] = true
		if q := s.queues[key]; e.name == "" && q != nil {
			to = append(to, q)
		}
		for _, b := range e.bindings {
			switch {
			case !e.matches(b.key, key):
			case b.to != nil:
				follow(b.to)
			case !slices.Contains(to, b.queue):
				to = append(to, b.queue)
			}
		}
	}
	follow(from)
	return to
}

func (e *exchange) matches(pattern, key string) bool {
	switch e.kind {
	case "fanout":
		return true
	case "topic":
		return topicMatches(strings.Split(pattern, "."), strings.Split(key, "."))
	}
	return pattern == key
}

func topicMatches(pattern, words []string) bool {
	switch {
	case len(pattern) == 0:
		return len(words) == 0
	case pattern[0] == "#":
		return topicMatches(pattern[1:], words) || len(words) > 0 && topicMatches(pattern, words[1:])
	case len(words) == 0:
		return false
	}
	return (pattern[0] == "*" || pattern[0] == words[0]) && topicMatches(pattern[1:], words[1:])
}

func (e *exchange) bind(b binding) {
	if !slices.Contains(e.bindings, b) {
		e.bindings = append(e.bindings, b)
	}
}

// remove deletes a queue. Its consumers are told.
func (s *Server) remove(q *queue) {
	if q.gone {
		return
	}
	q.gone = true
	delete(s.queues, q.name)
	s.stop(&q.expiry)
	s.stop(&q.disuse)
	for _, e := range s.exchanges {
		e.bindings = slices.DeleteFunc(e.bindings, func(b binding) bool { return b.queue == q })
	}
	for _, c := range q.consumers {
		delete(c.channel.consumers, c.tag)
		c.channel.send(newCall(basicCancel).text(c.tag).octet(1))
	}
	q.consumers = nil
}

// declared finds or makes a queue. d says what it is to be.
func (s *Server) declared(d *queue) (*queue, *refusal) {
	if d.name == "" {
		s.names++
		d.name = fmt.Sprintf("amq.gen-%d", s.names)
	} else if strings.HasPrefix(d.name, "amq.") && s.queues[d.name] == nil {
		return nil, refuse(accessRefused, "ACCESS_REFUSED - queue name '%s' contains reserved prefix 'amq.*'", d.name)
	}
	switch kind := d.args.text("x-queue-type"); kind {
	case "", "classic":
	case "quorum":
		d.quorum = true
		if !d.durable || d.owner != nil || d.autoDelete {
			return nil, refuse(preconditionFailed, "PRECONDITION_FAILED - invalid property for queue '%s' in vhost '/': it is a quorum queue", d.name)
		}
	default:
		return nil, refuse(preconditionFailed, "PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue '%s' in vhost '/': %s", d.name, kind)
	}
	q := s.queues[d.name]
	if q == nil {
		q = d
		if ms, ok := q.args.number("x-expires"); ok {
			q.timeout = time.Duration(ms) * time.Millisecond
		}
		s.queues[q.name] = q
		q.use()
		return q, nil
	}
	if q.owner != d.owner {
		return nil, locked(q)
	}
	return q, q.unlike(d)
}

// unlike says in what a declaration differs from a queue; nil: in nothing.
func (q *queue) unlike(d *queue) *refusal {
	for _, flag := range []struct {
		name           string
		received, have bool
	}{{"durable", d.durable, q.durable}, {"auto_delete", d.autoDelete, q.autoDelete}} {
		if flag.received != flag.have {
			return refuse(preconditionFailed, "PRECONDITION_FAILED - inequivalent arg '%s' for queue '%s' in vhost '/': received '%t' but current is '%t'",
				flag.name, q.name, flag.received, flag.have)
		}
	}
	if q.quorum != d.quorum {
		return refuse(preconditionFailed, "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue '%s' in vhost '/'", q.name)
	}
	for _, name := range []string{
		"x-expires", "x-message-ttl", "x-dead-letter-exchange", "x-dead-letter-routing-key", "x-dead-letter-strategy", "x-overflow", "x-max-length", "x-max-priority",
	} {
		if !q.args.alike(d.args, name) {
			return refuse(preconditionFailed, "PRECONDITION_FAILED - inequivalent arg '%s' for queue '%s' in vhost '/'", name, q.name)
		}
	}
	q.use()
	return nil
}

// usable finds a queue that a connection may use.
func (s *Server) usable(name string, by *connection) (*queue, *refusal) {
	switch q := s.queues[name]; {
	case q == nil:
		return nil, refuse(notFound, "NOT_FOUND - no queue '%s' in vhost '/'", name)
	case q.owner != nil && q.owner != by:
		return nil, locked(q)
	default:
		return q, nil
	}
}

func locked(q *queue) *refusal {
	return refuse(resourceLocked, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '%s' in vhost '/'. It could be originally declared on "+
		"another connection or the exclusive property value does not match that of the original declaration.", q.name)
}

func (s *Server) findExchange(name string) (*exchange, *refusal) {
	if e := s.exchanges[name]; e != nil {
		return e, nil
	}
	return nil, refuse(notFound, "NOT_FOUND - no exchange '%s' in vhost '/'", name)
}

// A refusal closes a channel, or a connection.
type refusal struct {
	code uint16
	text string
	hard bool // it closes the connection
}

// Codes of refusals.
const (
	accessRefused      = 403
	notFound           = 404
	resourceLocked     = 405
	preconditionFailed = 406
	commandInvalid     = 503
	notAllowed         = 530
	notImplemented     = 540
)

func refuse(code uint16, format string, args ...any) *refusal {
	return &refusal{code: code, text: fmt.Sprintf(format, args...), hard: code >= 500}
}
