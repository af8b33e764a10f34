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
// visibility sweep (sweep.go), what brings parked messages
// back (unpark.go), and one per fanout queue (fanoutfeed.go). All end in Close.
type Consumer struct {
	cfg  Config
	keys keyspace
	log  *slog.Logger

	id        string // names us in the registry, and starts our tags
	tagPrefix string
	aliveKey  string

	redis    *redisconn.Config
	pipe     *redisconn.Pipeline
	marks    *redisconn.Marks // of acknowledgements, and of what is not recorded
	epoch    atomic.Uint64    // value of our liveness key; a claim under another one is refused
	life     *life
	known    known
	missed   chan struct{} // token: a beat has found a peer without a sign of life
	waits    *waits
	stray    chan struct{} // wakes the keeper: a message lies in an inbox and nobody claims, or the queues are others
	graceEnd atomic.Int64  // Unix milliseconds until which no peer is judged; see peers.go
	held     atomic.Int64  // deliveries returned by Claim and not settled, as far as we know
	troubles troubles

	changing sync.Mutex // held while the queues change, and by Close
	layout   atomic.Pointer[layout]

	nextTag  atomic.Uint64 // number of the next claim's first tag
	claiming sync.Mutex    // held by the one caller of Claim, and by Close
	claim    claimer
	dueing   sync.Mutex   // held by Due, and by Close
	dueTaken atomic.Int64 // what Due has claimed since overdue messages were looked for
	due      claims

	sweeping  sync.Mutex // held by a sweep, which owns mutexSeen
	mutexSeen mutexSeen

	countedMu sync.Mutex
	counted   map[string]string // tag → redelivery counter, of held messages that have one

	ctx    context.Context //nolint:containedctx // ends the goroutines and Claim
	cancel context.CancelFunc
	reach  context.Context //nolint:containedctx // ends Claim: Redis is away for good, which is the cause
	giveUp context.CancelCauseFunc
	wg     sync.WaitGroup
	once   sync.Once
}

var (
	_ broker.Consumer  = (*Consumer)(nil)
	_ broker.Leaser    = (*Consumer)(nil)
	_ broker.Unclaimer = (*Consumer)(nil)
	_ broker.Chooser   = (*Consumer)(nil)
	_ broker.Returner  = (*Consumer)(nil)
	_ broker.Parker    = (*Consumer)(nil)
	_ broker.Mover     = (*Consumer)(nil)
	_ broker.Queues    = (*Consumer)(nil)
	_ broker.Starter   = (*Consumer)(nil)
)

// Open connects, declares the queues' bindings, registers and starts consuming.
// It fails if Redis cannot be reached now; once open, a consumer outlives outages.
func Open(ctx context.Context, cfg Config) (*Consumer, error) {
	redis, err := cfg.reach(ctx)
	if err != nil {
		return nil, err
	}
	c := &Consumer{
		cfg:   cfg,
		redis: redis,
		keys:  cfg.keyspace(redis.DB()),
		log:   cfg.Logger,
		id:    idPrefix + uniqueHex(),
		stray: make(chan struct{}, 1), missed: make(chan struct{}, 1),

		counted: make(map[string]string),
	}
	c.tagPrefix = c.id + ":"
	c.aliveKey = c.keys.alive(c.id)
	c.epoch.Store(1)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.reach, c.giveUp = context.WithCancelCause(c.ctx)
	c.marks = redisconn.NewMarks(c.keys.once())
	c.life = newLife(cfg.AliveFor)
	c.known.lasts = cfg.AliveFor
	c.waits = newWaits(cfg.PollingInterval, c.keys.inbox)
	c.waits.able = !cfg.NoAckEmulation
	c.layout.Store(&layout{})
	c.pipe = redisconn.NewPipeline(redis, redisconn.PipelineOptions{OnState: c.connState})
	if err := c.start(ctx); err != nil {
		c.cancel()
		_ = c.pipe.Close()
		return nil, fmt.Errorf("redisbroker: %w", err)
	}
	return c, nil
}

// idPrefix starts every worker's id, and so the tags of its claims.
const idPrefix = "apium-"

// uniqueHex returns sixteen random digits.
func uniqueHex() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// start declares and registers, then starts the goroutines.
func (c *Consumer) start(ctx context.Context) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	if err := c.add(ctx, c.cfg.Queues...); err != nil {
		return err
	}
	if err := c.register(ctx, c.epoch.Load()); err != nil {
		return err
	}
	c.wg.Go(c.keepAlive)
	c.wg.Go(c.watchPeers)
	if !c.cfg.NoAckEmulation {
		c.wg.Go(c.sweepRegularly)
		c.wg.Go(c.unparkRegularly)
	}
	return nil
}

// Close stops claiming and gives back what Claim has not returned. When it cannot
// be sure that nothing will reach an inbox any more, it leaves the registration
// to lapse, and peers hand back what they find.
func (c *Consumer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return c.CloseWithin(ctx)
}

// CloseWithin is Close with a time of the caller's: when ctx is done, it leaves at once. What
// still waits for a connection's answer then ends with it.
func (c *Consumer) CloseWithin(ctx context.Context) (err error) {
	c.once.Do(func() { err = c.close(ctx) })
	return err
}

func (c *Consumer) close(ctx context.Context) error {
	c.cancel()
	c.claiming.Lock() // Claim has ended and does not start again
	defer c.claiming.Unlock()
	c.dueing.Lock()
	defer c.dueing.Unlock()
	c.changing.Lock()    // who changes queues has ended, and nobody starts
	c.changing.Unlock()  //nolint:staticcheck // nothing to do inside
	defer c.pipe.Close() //nolint:errcheck // nothing is left to lose
	defer c.pipe.Forget(c.marks)
	if err := c.unblockWaiters(ctx); err != nil {
		return fmt.Errorf("redisbroker: close: %w", err)
	}
	var errs []error
	for _, w := range c.waits.each() {
		errs = append(errs, c.recoverClaims(ctx, &w.claims))
		errs = append(errs, c.undo(ctx, w.claims.pending))
	}
	for _, claims := range []*claims{&c.claim.claims, &c.due} {
		errs = append(errs, c.recoverClaims(ctx, claims))
		if n := len(claims.pending); n > 0 {
			c.held.Add(int64(n))
			errs = append(errs, c.Requeue(ctx, broker.Front, claims.pending...))
		}
	}
	errs = append(errs, c.unbind(ctx, c.Queues()...))
	if errors.Join(errs...) == nil && c.waits.awaitClean(ctx) {
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

// whileOpen returns a context that ends when the consumer is closed, or Redis is given up, too.
func (c *Consumer) whileOpen(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.reach, cancel)
	return ctx, func() { stop(); cancel() }
}

func closedError(err error) error {
	if errors.Is(err, redisconn.ErrClosed) {
		return broker.ErrClosed
	}
	return err
}
