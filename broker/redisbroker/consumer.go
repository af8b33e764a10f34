// Package redisbroker is the broker of kombu's Redis transport: the same keys, lists
// and records, with claims that are atomic and leased.
package redisbroker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
)

// closeTimeout bounds what Close says to Redis.
const closeTimeout = 5 * time.Second

// Consumer claims messages. Its goroutines: one per waiter (wait.go), the keeper
// of the liveness key (live.go), the watch over peers (peers.go) and the
// visibility sweep (sweep.go). All end in Close.
type Consumer struct {
	cfg   Config
	keys  keyspace
	log   *slog.Logger
	lists [][]string // by queue, by step

	id        string // names us in the registry, and starts our tags
	tagPrefix string
	aliveKey  string

	pipe     *redisconn.Pipeline
	epoch    atomic.Uint64 // value of our liveness key; a claim under another one is refused
	waits    waits
	stray    chan struct{} // wakes the keeper: a message lies in an inbox and nobody claims
	graceEnd atomic.Int64  // Unix milliseconds until which no peer is judged; see peers.go
	held     atomic.Int64  // deliveries returned by Claim and not settled, as far as we know
	troubles troubles

	// inboxPairs are the waiters' lists and inboxes, as KEYS of scripts.
	inboxPairs []any

	claiming sync.Mutex // held by the one caller of Claim, and by Close
	claim    claimer

	ctx    context.Context //nolint:containedctx // ends the goroutines and Claim
	cancel context.CancelFunc
	wg     sync.WaitGroup
	once   sync.Once
}

var _ broker.Consumer = (*Consumer)(nil)

// Open connects, declares the queues' bindings, registers and starts consuming.
// It fails if Redis cannot be reached now; once open, a consumer outlives outages.
func Open(ctx context.Context, cfg Config) (*Consumer, error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	conn, err := cfg.Redis.Dial(ctx) // its errors are clearer than a pipeline that waits
	if err != nil {
		return nil, fmt.Errorf("redisbroker: %w", err)
	}
	conn.Close()
	c := &Consumer{
		cfg:   cfg,
		keys:  cfg.keyspace(),
		log:   cfg.Logger,
		id:    newID(),
		stray: make(chan struct{}, 1),
	}
	c.tagPrefix = c.id + ":"
	c.aliveKey = c.keys.alive(c.id)
	c.epoch.Store(1)
	if err := c.layOut(); err != nil {
		return nil, err
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.pipe = redisconn.NewPipeline(cfg.Redis, redisconn.PipelineOptions{OnState: c.connState})
	if err := c.start(ctx); err != nil {
		c.cancel()
		_ = c.pipe.Close()
		return nil, fmt.Errorf("redisbroker: %w", err)
	}
	return c, nil
}

func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return "apium-" + hex.EncodeToString(b[:])
}

// layOut computes the names of the lists, the waiters and the ends of entries.
func (c *Consumer) layOut() error {
	queues := slices.Clone(c.cfg.Queues)
	if c.cfg.QueueOrderStrategy == Sorted {
		slices.SortFunc(queues, func(a, b broker.Queue) int { return strings.Compare(a.Name, b.Name) })
	}
	c.cfg.Queues = queues
	for i, q := range queues {
		tail, err := entryTail(q.Name)
		if err != nil {
			return err
		}
		c.lists = append(c.lists, c.keys.lists(q.Name))
		c.claim.cycle = append(c.claim.cycle, i)
		c.claim.tails = append(c.claim.tails, tail)
	}
	c.waits = newWaits(c.cfg.PollingInterval)
	for _, list := range waitLists(c.lists) {
		inbox := c.keys.inbox(c.id, len(c.waits.all))
		c.waits.add(list, inbox)
		c.inboxPairs = append(c.inboxPairs, list, inbox)
	}
	return nil
}

// start declares and registers, then starts the goroutines.
func (c *Consumer) start(ctx context.Context) error {
	for _, q := range c.cfg.Queues {
		member := c.keys.binding(q.Name, "", q.Name)
		for _, set := range []string{c.keys.bindings(q.Name), c.keys.permanent(q.Name)} {
			if _, err := c.pipe.Do(ctx, "SADD", set, member); err != nil {
				return fmt.Errorf("declare queue %q: %w", q.Name, err)
			}
		}
	}
	if err := c.register(ctx, c.epoch.Load()); err != nil {
		return err
	}
	for _, w := range c.waits.all {
		c.wg.Go(func() { c.wait(w) })
	}
	c.wg.Go(c.keepAlive)
	c.wg.Go(c.watchPeers)
	if !c.cfg.NoAckEmulation {
		c.wg.Go(c.sweepRegularly)
	}
	return nil
}

// Close stops claiming and gives back what Claim has not returned. When it cannot
// be sure that nothing will reach an inbox any more, it leaves the registration
// to lapse, and peers hand back what they find.
func (c *Consumer) Close() (err error) {
	c.once.Do(func() { err = c.close() })
	return err
}

func (c *Consumer) close() error {
	c.cancel()
	c.claiming.Lock() // Claim has ended and does not start again
	defer c.claiming.Unlock()
	defer c.pipe.Close() //nolint:errcheck // nothing is left to lose
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	c.unblockWaiters(ctx)
	c.wg.Wait()
	var errs []error
	if c.claim.unsure.n > 0 {
		errs = append(errs, c.recoverClaim(ctx))
	}
	if len(c.claim.pending) > 0 {
		errs = append(errs, c.Requeue(ctx, broker.Front, c.claim.pending...))
	}
	if errors.Join(errs...) == nil && c.waits.clean() {
		errs = append(errs, c.withdraw(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("redisbroker: close: %w", err)
	}
	return nil
}

// Reconnects returns how often the connection has been made again.
func (c *Consumer) Reconnects() int64 { return c.pipe.Reconnects() }

// usable tells that the consumer has been closed.
func (c *Consumer) usable() error {
	if c.ctx.Err() != nil {
		return broker.ErrClosed
	}
	return nil
}

func closedError(err error) error {
	if errors.Is(err, redisconn.ErrClosed) {
		return broker.ErrClosed
	}
	return err
}
