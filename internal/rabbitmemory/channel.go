package rabbitmemory

import (
	"slices"
	"time"
)

// The methods that are known.
var (
	exchangeDeclare   = named(40, 10)
	exchangeDeclareOK = named(40, 11)
	exchangeDelete    = named(40, 20)
	exchangeDeleteOK  = named(40, 21)
	exchangeBind      = named(40, 30)
	exchangeBindOK    = named(40, 31)

	queueDeclare   = named(50, 10)
	queueDeclareOK = named(50, 11)
	queueBind      = named(50, 20)
	queueBindOK    = named(50, 21)
	queuePurge     = named(50, 30)
	queuePurgeOK   = named(50, 31)
	queueDelete    = named(50, 40)
	queueDeleteOK  = named(50, 41)

	basicQos       = named(basic, 10)
	basicQosOK     = named(basic, 11)
	basicConsume   = named(basic, 20)
	basicConsumeOK = named(basic, 21)
	basicCancel    = named(basic, 30)
	basicCancelOK  = named(basic, 31)
	basicPublish   = named(basic, 40)
	basicReturn    = named(basic, 50)
	basicDeliver   = named(basic, 60)
	basicGet       = named(basic, 70)
	basicGetOK     = named(basic, 71)
	basicGetEmpty  = named(basic, 72)
	basicAck       = named(basic, 80)
	basicReject    = named(basic, 90)
	basicNack      = named(basic, 120)

	confirmSelect   = named(85, 10)
	confirmSelectOK = named(85, 11)
	txSelect        = named(90, 10)
	txSelectOK      = named(90, 11)
	txCommit        = named(90, 20)
	txCommitOK      = named(90, 21)
)

// methods are those of a channel, but for what opens and closes it.
var methods = map[method]func(*channel, arguments) *refusal{
	exchangeDeclare: (*channel).exchangeDeclare, exchangeDelete: (*channel).exchangeDelete, exchangeBind: (*channel).exchangeBind,
	queueDeclare: (*channel).queueDeclare, queueBind: (*channel).queueBind, queuePurge: (*channel).queuePurge, queueDelete: (*channel).queueDelete,
	basicQos: (*channel).qos, basicConsume: (*channel).consume, basicCancel: (*channel).cancel, basicPublish: (*channel).publish, basicGet: (*channel).get,
	basicAck: (*channel).ack, basicReject: (*channel).reject, basicNack: (*channel).nack, confirmSelect: (*channel).confirmSelect,
	txSelect: (*channel).txSelect, txCommit: (*channel).txCommit,
	basicCancelOK: func(*channel, arguments) *refusal { return nil }, // the client has heard that its queue is gone
}

// channel is one channel. All is guarded by Server.mu.
type channel struct {
	c      *connection
	number uint16
	closed bool // the client is told, and has not answered yet
	ended  bool

	prefetch  int
	consumers map[string]*consumer
	tag       uint64     // of the last delivery
	unacked   []*unacked // in the order of their tags

	confirms  bool
	published uint64 // how many messages, since they are confirmed
	tx        *transaction
	coming    *publication // nil: no content is expected
}

// unacked is a message that was delivered.
type unacked struct {
	*item
	queue    *queue
	consumer *consumer // nil: it was got
	tag      uint64
}

// transaction is what is done when it is committed.
type transaction struct {
	published []*publication
	settled   []func()
	held      []*unacked
}

// publication is a message that comes in.
type publication struct {
	message
	mandatory bool
	described bool // its properties have come
	size      uint64
}

func newChannel(c *connection, number uint16) *channel {
	return &channel{c: c, number: number, consumers: map[string]*consumer{}}
}

func (ch *channel) send(m call) {
	if !ch.ended && !ch.closed {
		ch.c.call(ch.number, m)
	}
}

// sendMessage sends a method with a message.
func (ch *channel) sendMessage(m call, props *properties, body []byte) {
	if ch.ended || ch.closed {
		return
	}
	frames := appendFrame(nil, methodFrame, ch.number, m)
	frames = appendFrame(frames, headerFrame, ch.number, props.header(len(body)))
	for part := range slices.Chunk(body, frameMax-8) {
		frames = appendFrame(frames, bodyFrame, ch.number, part)
	}
	ch.c.send(frames)
}

// take does what a frame asks for.
func (ch *channel) take(f frame) *refusal {
	a := arguments{f.payload}
	switch f.kind {
	case headerFrame, bodyFrame:
		if ch.closed {
			return nil
		}
		return ch.content(f)
	case methodFrame:
	default:
		return refuse(commandInvalid, "COMMAND_INVALID - unexpected frame")
	}
	m := method(a.long())
	switch {
	case m == channelCloseOK:
		ch.leave()
		return nil
	case m == channelClose:
		ch.end(true)
		ch.c.call(ch.number, newCall(channelCloseOK))
		ch.leave()
		return nil
	case ch.closed:
		return nil
	case ch.coming != nil:
		return refuse(commandInvalid, "UNEXPECTED_FRAME - expected content")
	}
	do := methods[m]
	if do == nil {
		return refuse(notImplemented, "NOT_IMPLEMENTED - method %d.%d", m>>16, m&0xffff)
	}
	return do(ch, a)
}

// refuse closes the channel.
func (ch *channel) refuse(why *refusal) {
	ch.send(newCall(channelClose).short(why.code).text(why.text).short(0).short(0))
	ch.end(false)
	ch.closed = true
}

// leave frees the channel's number.
func (ch *channel) leave() {
	ch.ended = true
	delete(ch.c.channels, ch.number)
}

// end gives back what the channel holds, as soon as each queue knows of it: before the client is told, if it is the client who closes it.
func (ch *channel) end(closed bool) {
	if ch.ended {
		return
	}
	ch.ended = true
	if ch.tx != nil {
		ch.unacked = append(ch.unacked, ch.tx.held...)
		slices.SortFunc(ch.unacked, func(a, b *unacked) int { return int(a.tag) - int(b.tag) }) //nolint:gosec // small
	}
	if told := ch.c.s.opts.Ended; told != nil {
		held := make([]Held, len(ch.unacked))
		for i, u := range ch.unacked {
			held[i] = Held{headers: u.props.headers(), CorrelationID: u.props.text(correlationAt)}
		}
		told(ch.c.name, held)
	}
	var queues []*queue
	for _, u := range ch.unacked {
		if !slices.Contains(queues, u.queue) {
			queues = append(queues, u.queue)
		}
	}
	for _, tag := range sortedKeys(ch.consumers) {
		if q := ch.consumers[tag].queue; !slices.Contains(queues, q) {
			queues = append(queues, q)
		}
	}
	clear(ch.consumers)
	for _, q := range queues {
		var lag time.Duration
		if ch.c.s.opts.Lag != nil && !closed {
			lag = ch.c.s.opts.Lag()
		}
		if lag == 0 {
			q.lost(ch)
		} else {
			ch.c.s.after(lag, func() { q.lost(ch) })
		}
	}
}

// deliver hands a message to a consumer. A channel that has ended, which its queue does not know yet, gets it, too.
func (ch *channel) deliver(c *consumer, it *item) {
	ch.tag++
	if !c.noAck {
		c.holds++
		ch.hold(&unacked{item: it, queue: c.queue, consumer: c, tag: ch.tag})
	}
	ch.sendMessage(newCall(basicDeliver).text(c.tag).longer(ch.tag).octet(octet(it.redelivered)).text(it.exchange).text(it.key), it.seen(c.queue, false), it.body)
}

func (ch *channel) hold(u *unacked) {
	ch.unacked = append(ch.unacked, u)
	timeout := ch.c.s.opts.ConsumerTimeout
	if timeout == 0 || ch.ended {
		return
	}
	ch.c.s.after(timeout, func() {
		if !ch.ended && slices.Contains(ch.unacked, u) {
			ch.refuse(refuse(preconditionFailed, "PRECONDITION_FAILED - delivery acknowledgement on channel %d timed out. Timeout value used: %d ms. "+
				"This timeout value can be configured, see consumers doc guide to learn more", ch.number, timeout.Milliseconds()))
		}
	})
}

// seen are the properties of a message as a client sees them, which asks for each message or does not.
func (it *item) seen(q *queue, asks bool) *properties {
	if !q.quorum || it.returns == 0 && !asks {
		return &it.props
	}
	props := it.props
	props.setHeaders(props.headers().with("x-delivery-count", number(it.returns)))
	return &props
}

func octet(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// answer answers unless that is not wanted.
func (ch *channel) answer(noWait bool, m call) *refusal {
	if !noWait {
		ch.send(m)
	}
	return nil
}

func (ch *channel) exchangeDeclare(a arguments) *refusal {
	a.short()
	name, kind := a.text(), a.text()
	flags := a.bits()
	passive, durable, noWait := flags.at(0), flags.at(1), flags.at(4)
	s := ch.c.s
	e := s.exchanges[name]
	switch {
	case e == nil && passive:
		return refuse(notFound, "NOT_FOUND - no exchange '%s' in vhost '/'", name)
	case e == nil:
		switch kind {
		case "direct", "topic", "fanout":
		default:
			return refuse(commandInvalid, "COMMAND_INVALID - invalid exchange type '%s'", kind)
		}
		s.exchanges[name] = &exchange{name: name, kind: kind, durable: durable}
	case passive:
	case e.kind != kind:
		return refuse(preconditionFailed, "PRECONDITION_FAILED - inequivalent arg 'type' for exchange '%s' in vhost '/': received '%s' but current is '%s'", name, kind, e.kind)
	case e.durable != durable:
		return refuse(preconditionFailed, "PRECONDITION_FAILED - inequivalent arg 'durable' for exchange '%s' in vhost '/': received '%t' but current is '%t'", name, durable, e.durable)
	}
	return ch.answer(noWait, newCall(exchangeDeclareOK))
}

func (ch *channel) exchangeDelete(a arguments) *refusal {
	a.short()
	name := a.text()
	s := ch.c.s
	if gone := s.exchanges[name]; gone != nil {
		delete(s.exchanges, name)
		for _, e := range s.exchanges {
			e.bindings = slices.DeleteFunc(e.bindings, func(b binding) bool { return b.to == gone })
		}
	}
	return ch.answer(a.bits().at(1), newCall(exchangeDeleteOK))
}

func (ch *channel) exchangeBind(a arguments) *refusal {
	a.short()
	destination, source, key := a.text(), a.text(), a.text()
	to, why := ch.c.s.findExchange(destination)
	if why != nil {
		return why
	}
	from, why := ch.c.s.findExchange(source)
	if why != nil {
		return why
	}
	from.bind(binding{key: key, to: to})
	return ch.answer(a.bits().at(0), newCall(exchangeBindOK))
}

func (ch *channel) queueDeclare(a arguments) *refusal {
	a.short()
	d := &queue{s: ch.c.s, name: a.text()}
	flags := a.bits()
	passive, exclusive, noWait := flags.at(0), flags.at(2), flags.at(4)
	d.durable, d.autoDelete, d.args = flags.at(1), flags.at(3), a.table()
	if exclusive {
		d.owner = ch.c
	}
	var q *queue
	var why *refusal
	if passive {
		if q, why = ch.c.s.usable(d.name, ch.c); why == nil {
			q.use()
		}
	} else {
		q, why = ch.c.s.declared(d)
	}
	if why != nil {
		return why
	}
	return ch.answer(noWait, newCall(queueDeclareOK).text(q.name).long(q.len()).long(len(q.consumers)))
}

func (ch *channel) queueBind(a arguments) *refusal {
	a.short()
	name, source, key := a.text(), a.text(), a.text()
	q, why := ch.c.s.usable(name, ch.c)
	if why != nil {
		return why
	}
	from, why := ch.c.s.findExchange(source)
	if why != nil {
		return why
	}
	if source == "" {
		return refuse(accessRefused, "ACCESS_REFUSED - operation not permitted on the default exchange")
	}
	from.bind(binding{key: key, queue: q})
	return ch.answer(a.bits().at(0), newCall(queueBindOK))
}

func (ch *channel) queuePurge(a arguments) *refusal {
	a.short()
	q, why := ch.c.s.usable(a.text(), ch.c)
	if why != nil {
		return why
	}
	n := q.len()
	q.ready, q.returned = nil, nil
	return ch.answer(a.bits().at(0), newCall(queuePurgeOK).long(n))
}

func (ch *channel) queueDelete(a arguments) *refusal {
	a.short()
	name, flags := a.text(), a.bits()
	n := 0
	q, why := ch.c.s.usable(name, ch.c)
	switch {
	case why != nil && why.code == notFound: // as good as deleted
	case why != nil:
		return why
	case flags.at(0) && len(q.consumers) > 0:
		return refuse(preconditionFailed, "PRECONDITION_FAILED - queue '%s' in vhost '/' in use", name)
	case flags.at(1) && q.len() > 0:
		return refuse(preconditionFailed, "PRECONDITION_FAILED - queue '%s' in vhost '/' is not empty", name)
	default:
		n = q.len()
		ch.c.s.remove(q)
	}
	return ch.answer(flags.at(2), newCall(queueDeleteOK).long(n))
}

func (ch *channel) qos(a arguments) *refusal {
	a.long()
	n := int(a.short())
	if a.bits().at(0) {
		return refuse(notImplemented, "NOT_IMPLEMENTED - a prefetch for a whole channel")
	}
	ch.prefetch = n
	ch.send(newCall(basicQosOK))
	return nil
}

func (ch *channel) consume(a arguments) *refusal {
	a.short()
	name, tag, flags := a.text(), a.text(), a.bits()
	q, why := ch.c.s.usable(name, ch.c)
	if why != nil {
		return why
	}
	if ch.consumers[tag] != nil {
		return refuse(notAllowed, "NOT_ALLOWED - attempt to reuse consumer tag '%s'", tag)
	}
	c := &consumer{queue: q, channel: ch, tag: tag, noAck: flags.at(1), most: ch.prefetch}
	ch.consumers[tag] = c
	q.consumers, q.consumed = append(q.consumers, c), true
	q.use()
	ch.answer(flags.at(3), newCall(basicConsumeOK).text(tag))
	q.serve()
	q.expire()
	return nil
}

func (ch *channel) cancel(a arguments) *refusal {
	tag := a.text()
	if c := ch.consumers[tag]; c != nil {
		delete(ch.consumers, tag)
		c.queue.cancel(c)
	}
	return ch.answer(a.bits().at(0), newCall(basicCancelOK).text(tag))
}

func (ch *channel) publish(a arguments) *refusal {
	a.short()
	p := &publication{message: message{exchange: a.text(), key: a.text()}}
	p.mandatory = a.bits().at(0)
	ch.coming = p
	return nil
}

// content takes a part of a message that comes in.
func (ch *channel) content(f frame) *refusal {
	p := ch.coming
	switch {
	case p == nil || p.described != (f.kind == bodyFrame):
		return refuse(commandInvalid, "UNEXPECTED_FRAME - unexpected content")
	case f.kind == headerFrame:
		p.props, p.size = readProperties(f.payload)
		p.described = true
	default:
		p.body = append(p.body, f.payload...)
	}
	if uint64(len(p.body)) < p.size {
		return nil
	}
	ch.coming = nil
	if _, why := ch.c.s.findExchange(p.exchange); why != nil {
		return why
	}
	if ch.confirms {
		ch.published++
	}
	if ch.tx != nil {
		ch.tx.published = append(ch.tx.published, p)
		return nil
	}
	ch.route(p)
	if ch.confirms {
		ch.send(newCall(basicAck).longer(ch.published).octet(0))
	}
	return nil
}

// route publishes a message, or sends it back.
func (ch *channel) route(p *publication) {
	if ch.c.s.exchanges[p.exchange] == nil {
		return // it was deleted in the course of a transaction
	}
	if !ch.c.s.publish(&p.message) && p.mandatory {
		ch.sendMessage(newCall(basicReturn).short(312).text("NO_ROUTE").text(p.exchange).text(p.key), &p.props, p.body)
	}
}

func (ch *channel) get(a arguments) *refusal {
	a.short()
	q, why := ch.c.s.usable(a.text(), ch.c)
	if why != nil {
		return why
	}
	noAck := a.bits().at(0)
	q.use()
	q.expire()
	it := q.take()
	if it == nil {
		ch.send(newCall(basicGetEmpty).octet(0))
		return nil
	}
	ch.tag++
	if !noAck {
		ch.hold(&unacked{item: it, queue: q, tag: ch.tag})
	}
	ch.sendMessage(newCall(basicGetOK).longer(ch.tag).octet(octet(it.redelivered)).text(it.exchange).text(it.key).long(q.len()), it.seen(q, true), it.body)
	q.expire()
	return nil
}

func (ch *channel) ack(a arguments) *refusal {
	tag := a.longer()
	return ch.settle(tag, a.bits().at(0), acknowledge)
}

func (ch *channel) nack(a arguments) *refusal {
	tag := a.longer()
	flags := a.bits()
	return ch.giveBack(tag, flags.at(0), flags.at(1))
}

func (ch *channel) reject(a arguments) *refusal {
	tag := a.longer()
	return ch.giveBack(tag, false, a.bits().at(0))
}

func (ch *channel) giveBack(tag uint64, multiple, requeue bool) *refusal {
	if requeue {
		return ch.settle(tag, multiple, putBack)
	}
	return ch.settle(tag, multiple, func(q *queue, settled []*item) {
		for _, it := range settled {
			q.bury(it, "rejected")
		}
		acknowledge(q, nil)
	})
}

func acknowledge(q *queue, _ []*item) {
	q.serve()
	q.expire()
}

func putBack(q *queue, settled []*item) { q.putBack(settled, false) }

// settle does something with a message that was delivered, or with all up to it, queue by queue.
func (ch *channel) settle(tag uint64, multiple bool, do func(q *queue, settled []*item)) *refusal {
	from, through := 0, len(ch.unacked)
	if tag > 0 || !multiple {
		i := slices.IndexFunc(ch.unacked, func(u *unacked) bool { return u.tag == tag })
		if i < 0 {
			return refuse(preconditionFailed, "PRECONDITION_FAILED - unknown delivery tag %d", tag)
		}
		if through = i + 1; !multiple {
			from = i
		}
	}
	settled := slices.Clone(ch.unacked[from:through])
	ch.unacked = slices.Delete(ch.unacked, from, through)
	if ch.tx != nil {
		ch.tx.held = append(ch.tx.held, settled...)
		ch.tx.settled = append(ch.tx.settled, func() { eachQueue(settled, do) })
		return nil
	}
	eachQueue(settled, do)
	return nil
}

// eachQueue frees the consumers of what is settled, and does something with it.
func eachQueue(settled []*unacked, do func(q *queue, settled []*item)) {
	var queues []*queue
	of := map[*queue][]*item{}
	for _, u := range settled {
		if u.consumer != nil {
			u.consumer.holds--
		}
		if !slices.Contains(queues, u.queue) {
			queues = append(queues, u.queue)
		}
		of[u.queue] = append(of[u.queue], u.item)
	}
	for _, q := range queues {
		if !q.gone {
			do(q, of[q])
		}
	}
}

func (ch *channel) confirmSelect(a arguments) *refusal {
	ch.confirms = true
	return ch.answer(a.bits().at(0), newCall(confirmSelectOK))
}

func (ch *channel) txSelect(arguments) *refusal {
	ch.tx = &transaction{}
	ch.send(newCall(txSelectOK))
	return nil
}

func (ch *channel) txCommit(arguments) *refusal {
	if ch.tx == nil {
		return refuse(preconditionFailed, "PRECONDITION_FAILED - channel is not transactional")
	}
	tx := ch.tx
	ch.tx = &transaction{}
	for _, p := range tx.published {
		ch.route(p)
	}
	for _, do := range tx.settled {
		do()
	}
	ch.send(newCall(txCommitOK))
	return nil
}
