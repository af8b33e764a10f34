// Package redisbackend is the result backend of Celery's Redis backend: the same
// keys, values, expiry and wake-ups, with SUCCESS being final even when several
// workers store at once.
package redisbackend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/protocol/compression"
	"github.com/apium/apium/protocol/serializer"
	"github.com/apium/apium/settings/connection"
)

// DefaultExpires is Celery's result_expires.
const DefaultExpires = 24 * time.Hour

// Config of a Backend.
type Config struct {
	// URL is a result_backend, read as Celery does; see the URL of redisbroker.Config. A list
	// of servers is for Sentinel only. Required.
	URL        string
	Connection connection.Options
	TLS        *connection.TLS // redis_backend_use_ssl; nil: as the URL says

	// Expires is result_expires: how long records are kept, cut to whole seconds.
	// 0: 24 hours; negative, and less than a second: for ever.
	Expires time.Duration

	// FailureExpires is result_failure_expires: how long the records of failed tasks are
	// kept. 0: as Expires; negative: for ever.
	FailureExpires time.Duration

	// GlobalKeyprefix is result_backend_transport_options' global_keyprefix. As
	// in Celery 5.5 and later, _ follows it unless it ends in one of : _ - .
	GlobalKeyprefix string

	// ChordExpires is result_chord_expires: how long the parts of a chord are kept
	// after the latest. 0: as Expires; negative: for ever.
	ChordExpires time.Duration

	// ChordUnordered is result_chord_ordered = False: the parts of a chord are kept
	// in the order in which they come, in lists. Chords that other workers have
	// begun in the other way go on in it.
	ChordUnordered bool

	// ChordLease is how long one who is told to run a chord's body has the chord for
	// themselves, unless they renew it. 0: DefaultChordLease.
	ChordLease time.Duration

	// Serializer is result_serializer: "json", "yaml", "msgpack" or "pickle". Whoever
	// reads the results needs the same setting. Default: json.
	Serializer string

	// Compression is result_compression: "gzip", "bzip2", "brotli", "lzma", "zstd". "":
	// none. Celery before 5.7 cannot read compressed results.
	Compression string

	// OnState hears of the connection: made (true, nil), or lost or not made (false, why).
	OnState func(connected bool, err error)
}

// Server tells where the URL leads, without connecting. The error says what is wrong with the
// URL, or with what goes with it.
func (c *Config) Server() (connection.Server, error) {
	redis, err := c.redis()
	if err != nil {
		return connection.Server{}, err
	}
	return redis.Server(), nil
}

// redis reads the URL.
func (c *Config) redis() (*redisconn.Config, error) {
	return redisconn.Parse(c.URL, redisconn.Backend, redisconn.Options{Options: c.Connection, UseTLS: c.TLS})
}

// Backend stores and reads records. Its methods are safe for concurrent use, and
// wait for the connection while Redis is away, until their context is done.
type Backend struct {
	redis     *redisconn.Config
	pipe      *redisconn.Pipeline
	marks     *redisconn.Marks
	keyprefix string
	hub       *hub

	// In seconds; 0: for ever.
	expires, failureExpires, chordExpires, groupExpires int64

	chordZset int // 1: new chords are sorted sets; 0: lists
	lease     time.Duration

	serializer  *serializer.Serializer // nil: JSON
	compression string                 // "": none
}

var (
	_ backend.Store      = (*Backend)(nil)
	_ backend.Loader     = (*Backend)(nil)
	_ backend.Chords     = (*Backend)(nil)
	_ backend.ChordEnds  = (*Backend)(nil)
	_ backend.ChordTaker = (*Backend)(nil)
	_ backend.Groups     = (*Backend)(nil)
)

// New returns a backend, which connects by itself.
func New(cfg Config) (*Backend, error) {
	redis, err := cfg.redis()
	if err != nil {
		return nil, fmt.Errorf("redisbackend: %w", err)
	}
	s, err := serializer.Lookup(cfg.Serializer)
	if err != nil {
		return nil, fmt.Errorf("redisbackend: Config.Serializer: %w", err)
	}
	if cfg.Compression != "" {
		if _, err := compression.ContentType(cfg.Compression); err != nil {
			return nil, fmt.Errorf("redisbackend: Config.Compression: %w", err)
		}
	}
	b := &Backend{
		redis:       redis,
		serializer:  s,
		compression: cfg.Compression,
		pipe:        redisconn.NewPipeline(redis, redisconn.PipelineOptions{OnState: cfg.OnState}),
		keyprefix:   keyprefix(cfg.GlobalKeyprefix),
		expires:     seconds(cfg.Expires),
		lease:       cmp.Or(cfg.ChordLease, DefaultChordLease),
	}
	b.marks = redisconn.NewMarks(b.keyprefix + "apium.once.")
	b.failureExpires = b.expires
	if cfg.FailureExpires != 0 {
		b.failureExpires = seconds(cfg.FailureExpires)
	}
	b.chordExpires = b.expires
	if cfg.ChordExpires != 0 {
		b.chordExpires = seconds(cfg.ChordExpires)
	}
	// What users read as well is never kept shorter than records are.
	if b.chordExpires > 0 && b.expires > 0 {
		b.groupExpires = max(b.chordExpires, b.expires)
	}
	if !cfg.ChordUnordered {
		b.chordZset = 1
	}
	b.hub = newHub(redis)
	return b, nil
}

// Ping tells whether Redis answers.
func (b *Backend) Ping(ctx context.Context) error {
	_, err := b.pipe.Do(ctx, "PING")
	return b.error(err)
}

// Reconnects returns how often the connection was lost and made again.
func (b *Backend) Reconnects() int64 { return b.pipe.Reconnects() }

// Close ends the connections. Calls in flight return backend.ErrClosed.
func (b *Backend) Close() error {
	b.hub.close()
	b.pipe.Forget(b.marks)
	return b.pipe.Close()
}

// keyprefix returns what stands before the name of every key
// (celery/backends/base.py: KeyValueStoreBackend._add_global_keyprefix).
func keyprefix(global string) string {
	if global != "" && !strings.ContainsAny(global[len(global)-1:], ":_-.") {
		global += "_"
	}
	return global
}

func (b *Backend) key(taskID string) string { return b.keyprefix + "celery-task-meta-" + taskID }

// groupKey returns the key of a group's record or, with a suffix, of its chord.
func (b *Backend) groupKey(groupID, suffix string) string {
	return b.keyprefix + "celery-taskset-meta-" + groupID + suffix
}

func seconds(expires time.Duration) int64 {
	switch {
	case expires == 0:
		expires = DefaultExpires
	case expires < 0:
		return 0
	}
	return int64(expires / time.Second)
}

// Load implements backend.Loader.
func (b *Backend) Load(ctx context.Context, taskID string) ([]byte, error) {
	return b.get(ctx, b.key(taskID), "task", taskID)
}

// get reads the record of a task or group; which of them, errors say.
func (b *Backend) get(ctx context.Context, key, kind, id string) ([]byte, error) {
	packed, err := redis.Bytes(b.pipe.Do(ctx, "GET", key))
	if errors.Is(err, redis.ErrNil) {
		return nil, fmt.Errorf("%w for %s %s", backend.ErrNotFound, kind, id)
	}
	if err != nil {
		return nil, b.error(err)
	}
	return b.readable(packed, kind, id)
}

// readable decodes a record as it is stored.
func (b *Backend) readable(packed []byte, kind, id string) ([]byte, error) {
	record, err := b.decode(packed)
	if err != nil {
		return nil, fmt.Errorf("redisbackend: the record of %s %s: %w: %w", kind, id, backend.ErrUnreadable, err)
	}
	return record, nil
}

func (b *Backend) error(err error) error {
	switch {
	case errors.Is(err, redisconn.ErrClosed):
		return backend.ErrClosed
	case redisconn.IsRefused(err):
		return fmt.Errorf("%w: %w", backend.ErrUnreadable, err) // a key holds something else
	}
	return err
}
