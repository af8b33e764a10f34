package amqpbroker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/rabbitconn"
)

// Consumer is a [broker.Consumer] on RabbitMQ. The broker pushes messages to it, as many as it may
// hold (see prefetch.go); Claim takes them from a buffer. What it holds belongs to a link, a
// channel of a connection, and ends with it: the broker then has it back (see link.go). What was
// running here at that moment is recognized when it comes again (see join.go).
type Consumer struct {
	cfg    Config
	log    *slog.Logger
	holder *rabbitconn.Holder

	ctx    context.Context //nolint:containedctx // it is the life of the goroutine
	cancel context.CancelFunc
	ended  chan struct{} // closed when tend has returned
	closed atomic.Bool
	once   sync.Once

	arrived chan struct{} // token: there may be something to claim, or an error
	wake    chan struct{} // token: tend has something to do
	lapsed  chan struct{} // token: the term was raised
	term    atomic.Uint64
	proof   proof

	elsewhere elsewhere
	delays    *delays
	returning sync.WaitGroup // what gives back, or holds, without being waited for
	proving   sync.WaitGroup // what asks the broker for proof that links last

	kept     chan struct{} // closed when keep has returned
	timeout  atomic.Int64  // consumer_timeout in nanoseconds, as far as is known
	renewNow chan struct{} // token
	unheld   atomic.Bool   // nothing can be held
	opening  turn          // held while a queue for copies, or for notes about what is parked, is declared
	looking  turn          // held while notes about copies are read

	mu      sync.Mutex
	link    *link         // nil: there is none
	failed  error         // why there will be none any more
	buffer  buffer        // what has come, and was not claimed
	sources sources       // what is consumed
	orphans orphans       // what runs, and came by a link that is lost
	parking *subscription // of the queue for notes about what is parked; nil: there is none
	left    []leftover
	changes []change
	tagged  uint64 // how many consumers have been named
}

var (
	_ broker.Consumer   = (*Consumer)(nil)
	_ broker.Leaser     = (*Consumer)(nil)
	_ broker.Joiner     = (*Consumer)(nil)
	_ broker.Prefetcher = (*Consumer)(nil)
	_ broker.Chooser    = (*Consumer)(nil)
	_ broker.Queues     = (*Consumer)(nil)
	_ broker.Parker     = (*Consumer)(nil)
	_ broker.Mover      = (*Consumer)(nil)
	_ broker.Starter    = (*Consumer)(nil)
)

// Open connects, declares the queues and starts consuming. It fails if that is not possible now.
func Open(ctx context.Context, cfg Config) (*Consumer, error) {
	rabbit, err := cfg.read()
	if err != nil {
		return nil, err
	}
	c := &Consumer{
		cfg: cfg, log: cfg.Logger, ended: make(chan struct{}),
		arrived: make(chan struct{}, 1), wake: make(chan struct{}, 1), lapsed: make(chan struct{}, 1),
		kept: make(chan struct{}), renewNow: make(chan struct{}, 1), opening: newTurn(), looking: newTurn(),
		proof: proof{wanted: make(chan struct{}, 1)},
	}
	c.timeout.Store(int64(cfg.ConsumerTimeout))
	c.elsewhere, c.delays = newElsewhere(rabbit.Named(cfg.Hostname+" mover")), newDelays(cfg.DelayQueueType)
	c.term.Store(1)
	c.sources.prefetch = cfg.Prefetch
	for _, q := range cfg.Queues {
		c.sources.add(q)
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.holder, err = rabbitconn.Hold(ctx, rabbit, rabbitconn.Holding{Logger: cfg.Logger, MaxRetries: cfg.MaxReconnects})
	if err != nil {
		return nil, fmt.Errorf("amqpbroker: %w", err)
	}
	conn, err := c.holder.Get(ctx)
	if err == nil && cfg.Delays {
		if err = c.prepareDelays(ctx, false); errors.Is(err, errors.ErrUnsupported) {
			err = nil
		}
	}
	var first *link
	if err == nil {
		first, err = c.connect(conn)
	}
	if err != nil {
		_ = c.holder.Close(time.Now().Add(closeTimeout)) // what counts is err
		c.elsewhere.holder.Close(closeTimeout, nil)
		return nil, fmt.Errorf("amqpbroker: %w", err)
	}
	go c.tend(first)
	go c.keep()
	return c, nil
}

// String names the servers, passwords masked.
func (c *Consumer) String() string { return c.holder.String() }

// At is which of the servers it is connected to, or which ones it would be, passwords masked.
func (c *Consumer) At() string {
	if conn := c.holder.Current(); conn != nil {
		return conn.String()
	}
	return c.String()
}

// Connected tells whether messages can come right now.
func (c *Consumer) Connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link != nil
}

// Reconnects is how often a lost connection was made again.
func (c *Consumer) Reconnects() int64 { return c.holder.Reconnects() }

// Blocked tells whether the broker takes no messages on this connection now, and why. That concerns
// publishing; what is consumed still comes.
func (c *Consumer) Blocked() (reason string, blocked bool) {
	if conn := c.holder.Current(); conn != nil {
		return conn.Blocked()
	}
	return "", false
}

// closeTimeout is how long Close waits for the broker.
const closeTimeout = 5 * time.Second

// Close implements [broker.Consumer]: with the connection all that is held goes back at once, to
// its old place. What was not claimed does so before, where that counts.
func (c *Consumer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return c.CloseWithin(ctx)
}

// CloseWithin is Close, but waits for the broker until ctx is done at most.
func (c *Consumer) CloseWithin(ctx context.Context) error {
	var err error
	c.once.Do(func() {
		c.closed.Store(true)
		signal(c.arrived)
		deadline, ok := ctx.Deadline()
		if !ok {
			deadline = time.Now().Add(closeTimeout)
		}
		// A call that waits for an answer ends with the connection at the latest.
		ends := time.AfterFunc(time.Until(deadline), func() {
			if conn := c.holder.Current(); conn != nil {
				_ = conn.CloseBy(deadline)
			}
		})
		draining, drained := context.WithTimeout(ctx, time.Until(deadline)/2)
		c.drain(draining)
		c.dropLeft(true)
		c.dropHoldings(draining)
		drained()
		c.cancel()
		<-c.ended
		<-c.kept
		ends.Stop()
		err = c.holder.Close(deadline)
		c.proving.Wait()
		c.elsewhere.holder.Close(time.Until(deadline), nil)
		if errors.Is(err, rabbitconn.ErrClosed) {
			err = nil
		}
	})
	return err
}

func (c *Consumer) usable(ctx context.Context) error {
	if c.closed.Load() {
		return broker.ErrClosed
	}
	return ctx.Err()
}

// Extend implements [broker.Consumer]: it tells what is held.
func (c *Consumer) Extend(ctx context.Context, tags ...string) (lost []string, err error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tag := range tags {
		if c.find(tag) == nil && c.orphans.find(tag) == nil {
			lost = append(lost, tag)
		}
	}
	return lost, nil
}

// find returns a delivery of the present link that was claimed and not settled. c.mu is held.
func (c *Consumer) find(tag string) *delivery {
	term, number, ok := parseTag(tag)
	if !ok || c.link == nil || c.link.term != term {
		return nil
	}
	d := c.link.open[number]
	if d == nil || d.buffered {
		return nil
	}
	return d
}

// signal leaves a token in a channel of one, unless there is one already.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
