package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/envelope"
	"github.com/apium/apium/internal/redischord"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/settings/connection"
)

// PublisherConfig says how to publish. URL is required; the other fields are
// those of Config.
type PublisherConfig struct {
	URL        string
	Connection connection.Options
	TLS        *connection.TLS
	Failover   *connection.Failover // that of the consumer, if both are in one worker

	PrioritySteps   []int
	Sep             string
	GlobalKeyprefix string

	FanoutPrefix     string
	NoFanoutPrefix   bool
	NoFanoutPatterns bool

	// DeadletterQueue gets what no binding routes; "": publishing it is an error,
	// where kombu drops it in silence.
	DeadletterQueue string
}

// Publisher puts messages on queues and broadcasts them.
type Publisher struct {
	redis *redisconn.Config
	pipe  *redisconn.Pipeline
	marks *redisconn.Marks
	keys  keyspace
	cfg   PublisherConfig

	ctx    context.Context //nolint:containedctx // ends subscriptions
	cancel context.CancelFunc

	mu       sync.Mutex
	declared map[string]bool // queues whose binding we have written
}

var (
	_ broker.Publisher  = (*Publisher)(nil)
	_ broker.AllOrNone  = (*Publisher)(nil)
	_ broker.ChordEnder = (*Publisher)(nil)
)

// EndsChord implements [broker.ChordEnder]: one script writes to one database.
func (p *Publisher) EndsChord(end any) bool {
	e, ok := end.(*redischord.End)
	return ok && p.redis.Same(e.Server)
}

// PublishesAllOrNone implements [broker.AllOrNone].
func (p *Publisher) PublishesAllOrNone() {}

// OpenPublisher connects. It fails if Redis cannot be reached now.
func OpenPublisher(ctx context.Context, cfg PublisherConfig) (*Publisher, error) {
	whole := cfg.whole()
	redis, err := whole.reach(ctx)
	if err != nil {
		return nil, err
	}
	p := &Publisher{
		redis:    redis,
		pipe:     redisconn.NewPipeline(redis, redisconn.PipelineOptions{}),
		keys:     whole.keyspace(redis.DB()),
		cfg:      cfg,
		declared: map[string]bool{},
	}
	p.marks = redisconn.NewMarks(p.keys.once())
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p, nil
}

// Server is Server of Config.
func (c *PublisherConfig) Server() (connection.Server, error) {
	whole := c.whole()
	return whole.Server()
}

// whole is the Config of somebody who only publishes.
func (c *PublisherConfig) whole() Config {
	return Config{
		URL: c.URL, Connection: c.Connection, TLS: c.TLS, Failover: c.Failover,
		PrioritySteps: c.PrioritySteps, Sep: c.Sep, GlobalKeyprefix: c.GlobalKeyprefix,
		FanoutPrefix: c.FanoutPrefix, NoFanoutPrefix: c.NoFanoutPrefix, NoFanoutPatterns: c.NoFanoutPatterns,
		Queues: broker.Named("any"), // a publisher is not bound to queues
	}
}

// publishLua defines send(from, to): it sends the messages that ARGV has there, each as three values: "L" (LPUSH) or "P" (PUBLISH), place
// of its list or channel in KEYS, message. "C", place of the first key of a chord, what ends it comes before messages that are not sent
// if somebody else has the chord, or has ended it; with nothing in the last place, before those that are always sent.
const publishLua = redischord.Lua + `
local function send(from, to)
  local left_out = false
  for i = from, to, 3 do
    local how, place, what = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
    if how == 'C' then
      left_out = what ~= '' and not end_chord(place, what)
    elseif not left_out then
      redis.call(how == 'L' and 'LPUSH' or 'PUBLISH', KEYS[place], what)
    end
  end
end
`

// publishScript declares queues and sends messages, all or none. LLEN finds keys that are no
// lists before anything is sent.
//
//	KEYS  1 mark, then binding sets, lists, channels, keys of chords
//	ARGV  1 mark's number, 2 number of binding sets, 3 of lists, 4 one binding for each set, then messages as publishLua has them
var publishScript = redisconn.NewScript(-1, redisconn.OnceLua+publishLua+`
local sets, lists = tonumber(ARGV[2]), tonumber(ARGV[3])
for i = 2 + sets, 1 + sets + lists do redis.call('LLEN', KEYS[i]) end
for i = 1, sets do redis.call('SADD', KEYS[1 + i], ARGV[3 + i]) end
if done_before() then return 0 end
send(4 + sets, #ARGV)
return 1
`)

// portion is how many bytes of messages one script gets: while Redis reads and runs it,
// nobody else is served, and the server refuses requests of a gigabyte.
const portion = 16 << 20

// Publish sends messages in order and in one round trip, all or none; another one
// comes before it for each direct or topic exchange named, to read its bindings.
// More than 16 MiB go out in portions, each of which is published whole or not at all.
// A message whose headers are no JSON is refused: it would kill Python consumers. The
// first publication to a queue by name declares its binding, as Python does.
// After a connection failure it is unknown whether the messages were published.
func (p *Publisher) Publish(ctx context.Context, messages ...broker.Publication) error {
	if len(messages) == 0 {
		return nil
	}
	s := p.newSending()
	for i := range messages {
		m := &messages[i]
		if err := s.add(ctx, m); err != nil {
			return p.refusal(i, *m, fmt.Errorf("publish message %d to %s: %w", i+1, address(*m), closedError(err)))
		}
	}
	for first := true; first || len(s.messages) > 0; first = false {
		keys, args := s.next()
		if _, err := p.pipe.Once(ctx, p.marks, publishScript, keys, args); err != nil {
			return p.refusal(0, messages[0], fmt.Errorf("publish to %s: %w", address(messages[0]), closedError(err)))
		}
		p.noteDeclared(s.queues)
		s.queues = nil
	}
	return nil
}

func (p *Publisher) noteDeclared(queues []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, queue := range queues {
		p.declared[queue] = true
	}
}

// refusal makes a *broker.RefusedError of what would be the same at every try: a message
// that cannot be read or routed, a queue whose key is something else. Of several messages
// it names the first.
func (p *Publisher) refusal(index int, m broker.Publication, err error) error {
	var bad *protocol.DecodeError
	if errors.As(err, &bad) || errors.Is(err, broker.ErrUnroutable) || errors.Is(err, errTooLarge) || redisconn.IsRefused(err) {
		return &broker.RefusedError{Publication: m, Index: index, Err: err}
	}
	return err
}

var errTooLarge = errors.New("at most 512 MiB are what Redis takes")

// address names where a message goes, for errors.
func address(m broker.Publication) string {
	if m.Exchange == "" {
		return fmt.Sprintf("queue %q", m.RoutingKey)
	}
	return fmt.Sprintf("exchange %q with routing key %q", m.Exchange, m.RoutingKey)
}

// sending gathers the messages of one call.
type sending struct {
	p        *Publisher
	queues   []string          // to be declared, with two binding sets each
	places   map[[2]string]int // "L" and list or "P" and channel → place among those, from 1
	lists    []any
	channels []any
	chords   []any           // keys of those that end
	ending   *redischord.End // the last of these
	chord    int             // and the place of its first key
	messages []sent
	tables   map[string][]string // exchange → bindings
}

// sent is one message on its way to one list or channel.
type sent struct {
	*broker.Publication
	broadcast bool
	place     int             // among lists or channels
	ends      *redischord.End // nil: none
	chord     int             // the place of its first key among those of chords, from 1
}

func (p *Publisher) newSending() *sending {
	return &sending{p: p, places: map[[2]string]int{}, tables: map[string][]string{}}
}

// add routes one message.
func (s *sending) add(ctx context.Context, m *broker.Publication) error {
	if err := pyjson.Valid(m.Message.Headers); m.Message.Headers != nil && err != nil {
		return &protocol.DecodeError{Field: "headers", Err: err}
	}
	if size := envelope.Size(&m.Message); size > redisconn.MaxString {
		return fmt.Errorf("the message has about %d bytes: %w", size, errTooLarge)
	}
	one := sent{Publication: m}
	if one.ends, _ = m.Ends.(*redischord.End); one.ends != nil && one.ends == s.ending {
		one.chord = s.chord
	} else if one.ends != nil {
		one.chord = len(s.chords) + 1
		s.ending, s.chord = one.ends, one.chord
		s.chords = one.ends.AppendKeys(s.chords)
	}
	if m.ExchangeType == broker.Fanout {
		s.put("P", s.p.keys.channel(m.Exchange, m.RoutingKey), one)
		return nil
	}
	queues, err := s.route(ctx, m)
	if err != nil {
		return err
	}
	for _, queue := range queues {
		s.put("L", s.p.keys.list(queue, s.p.keys.step(m.Message.Properties.Priority)), one)
	}
	return nil
}

func (s *sending) put(how, target string, one sent) {
	targets := &s.lists
	if how == "P" {
		targets = &s.channels
	}
	known := [2]string{how, target} // a channel may be called like a list
	if s.places[known] == 0 {
		*targets = append(*targets, target)
		s.places[known] = len(*targets)
	}
	one.broadcast, one.place = how == "P", s.places[known]
	s.messages = append(s.messages, one)
}

// route returns the queues of a message that is not broadcast.
func (s *sending) route(ctx context.Context, m *broker.Publication) ([]string, error) {
	if m.Exchange == "" {
		if m.RoutingKey == "" {
			return s.unroutable()
		}
		s.declare(m.RoutingKey)
		return []string{m.RoutingKey}, nil
	}
	table, known := s.tables[m.Exchange]
	if !known {
		var err error
		if table, err = readBindings(ctx, s.p.pipe, s.p.keys.bindings(m.Exchange)); err != nil {
			return nil, err
		}
		s.tables[m.Exchange] = table
	}
	if queues := matchBindings(table, s.p.keys.sep, m.RoutingKey); len(queues) > 0 {
		return queues, nil
	}
	return s.unroutable()
}

// unroutable returns the queue for what no binding routes.
func (s *sending) unroutable() ([]string, error) {
	if s.p.cfg.DeadletterQueue == "" {
		return nil, broker.ErrUnroutable
	}
	return []string{s.p.cfg.DeadletterQueue}, nil
}

// declare notes a queue whose binding has not been written yet.
func (s *sending) declare(queue string) {
	s.p.mu.Lock()
	declared := s.p.declared[queue]
	s.p.mu.Unlock()
	if !declared && !slices.Contains(s.queues, queue) {
		s.queues = append(s.queues, queue)
	}
}

// next takes a portion of the messages, and returns KEYS and ARGV of publishScript. Messages that end a chord together are in one.
func (s *sending) next() (keys, args []any) {
	sets, members := s.declarations()
	n := 0
	for size := 0; n < len(s.messages) && (size < portion || s.messages[n].ends != nil && s.messages[n].ends == s.messages[n-1].ends); n++ {
		size += envelope.Size(&s.messages[n].Message)
	}
	keys = slices.Concat([]any{nil}, sets, s.lists, s.channels, s.chords)
	args = make([]any, 0, 3+len(members)+3*n)
	args = append(append(args, nil, len(sets), len(s.lists)), members...)
	args = s.appendPlaced(args, s.messages[:n], 1+len(sets))
	s.messages = s.messages[n:]
	return keys, args
}

// appendPlaced appends messages as scripts have them: their places are in KEYS, where so many
// are before the lists. A message that goes to several queues has one envelope.
func (s *sending) appendPlaced(args []any, messages []sent, before int) []any {
	var of *broker.Publication
	var wrapped any
	var ending *redischord.End
	for _, m := range messages {
		if m.Publication != of {
			of, wrapped = m.Publication, argument(m.Publication)
			if m.ends != ending {
				if ending = m.ends; ending != nil {
					args = append(args, "C", before+len(s.lists)+len(s.channels)+m.chord, ending.Args())
				} else {
					args = append(args, "C", 0, "")
				}
			}
		}
		if m.broadcast {
			args = append(args, "P", m.place+before+len(s.lists), wrapped)
		} else {
			args = append(args, "L", m.place+before, wrapped)
		}
	}
	return args
}

// declarations returns the binding sets of the queues to be declared, and what goes into each.
func (s *sending) declarations() (sets, members []any) {
	for _, queue := range s.queues {
		exchange, member := s.p.keys.declaration(broker.Queue{Name: queue})
		sets = append(sets, s.p.keys.bindings(exchange), s.p.keys.permanent(exchange))
		members = append(members, member, member)
	}
	return sets, members
}

// Close ends the connection and all subscriptions.
func (p *Publisher) Close() error {
	p.cancel()
	p.pipe.Forget(p.marks)
	return p.pipe.Close()
}
