package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/settings/connection"
)

// Values of Config.QueueOrderStrategy.
const (
	RoundRobin = "round_robin" // the queue that delivered goes to the end
	Priority   = "priority"    // always the order of Config.Queues
	Sorted     = "sorted"      // always alphabetical
)

// Config says how to consume. URL and Queues are required; every other zero
// value stands for kombu's default. Fields named like a transport option of
// kombu mean what that option means.
type Config struct {
	// URL is a broker_url, read as kombu does:
	//
	//	redis://[user][:password]@host[:port][/db]
	//	rediss://…?ssl_cert_reqs=required&ssl_ca_certs=…
	//	redis+socket:///path/to/socket?virtual_host=db
	//	sentinel://host:26379[/db];sentinel://host:26379
	//	redis://host1;redis://host2
	URL        string
	Connection connection.Options
	TLS        *connection.TLS      // broker_use_ssl; nil: as the URL says
	Failover   *connection.Failover // of a URL with several servers; nil: one of its own

	Queues []broker.Queue // in the order of -Q

	VisibilityTimeout  time.Duration // age at which anybody gives a claim back; 0: 1 h
	PrioritySteps      []int         // ascending, starting with 0; nil: 0, 3, 6, 9
	Sep                string        // "": "\x06\x16"
	QueueOrderStrategy string        // "": round_robin
	GlobalKeyprefix    string        // put before every key and channel literally

	FanoutPrefix     string // before the names of channels; {db} is the database; "": "/{db}."
	NoFanoutPrefix   bool   // fanout_prefix=False: nothing before them
	NoFanoutPatterns bool   // fanout_patterns=False: channels do not name the routing key

	UnackedKey      string // "": unacked
	UnackedIndexKey string // "": unacked_index
	UnackedMutexKey string // "": unacked_mutex

	UnackedMutexExpire     time.Duration // 0: 10 s, renewed while a sweep lasts; kombu has 300 s
	UnackedRestoreLimit    int           // claims given back per sweep at most; 0: no limit
	UnackedRestoreInterval time.Duration // 0 or less: 10 s
	UnackedRestoreThrottle int           // one sweep in so many intervals; 0: 1, where kombu has 10

	// AliveFor is how long a worker is taken for alive after its last sign of life. When
	// it has shown none for as long, and for a third of that again, peers give back what
	// it holds; and it starts nothing itself until it has made sure of what it holds.
	// At least 1 s; 0: 6 s.
	AliveFor time.Duration

	// MaxConnections bounds the connections that wait for messages, together with the two
	// that others share: max_connections of kombu's transport. 0: 10, as there; there is
	// one at least.
	MaxConnections int

	// MaxReconnects is how many attempts there are to make a lost connection again, counted at
	// Celery's pace (2 s, 4 s, … up to 32 s; really it is tried more often). After these Claim
	// fails. 0: no limit; negative: none.
	MaxReconnects int

	// PollingInterval is the longest an idle Claim waits between two looks at all
	// lists. Whole seconds; 0: 1 s.
	PollingInterval time.Duration

	// NoAckEmulation is ack_emulation=False: claims are not recorded, Ack does
	// nothing, and what a worker that dies had claimed is lost.
	NoAckEmulation bool

	Hostname string       // shown to operators in the registry; "": the machine's name
	Logger   *slog.Logger // nil: slog.Default()

	// OnClaim is told the size of every batch that Claim returns. It must not block.
	OnClaim func(n int)
}

func (c *Config) setDefaults() {
	setDefault(&c.VisibilityTimeout, time.Hour)
	setDefault(&c.Sep, defaultSep)
	setDefault(&c.FanoutPrefix, "/{db}.")
	setDefault(&c.QueueOrderStrategy, RoundRobin)
	setDefault(&c.UnackedKey, "unacked")
	setDefault(&c.UnackedIndexKey, "unacked_index")
	setDefault(&c.UnackedMutexKey, "unacked_mutex")
	setDefault(&c.UnackedMutexExpire, 10*time.Second)
	c.UnackedRestoreInterval = max(c.UnackedRestoreInterval, 0) // as kombu does
	setDefault(&c.UnackedRestoreInterval, 10*time.Second)
	setDefault(&c.UnackedRestoreThrottle, 1)
	setDefault(&c.PollingInterval, time.Second)
	setDefault(&c.AliveFor, 6*time.Second)
	setDefault(&c.MaxConnections, 10)
	if c.PrioritySteps == nil {
		c.PrioritySteps = []int{0, 3, 6, 9}
	}
	if c.Hostname == "" {
		c.Hostname, _ = os.Hostname() // for display only
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Server tells where the URL leads, without connecting: of several servers, to the one that
// worked last. The error says what is wrong with the URL, or with what goes with it.
func (c *Config) Server() (connection.Server, error) {
	redis, err := c.redis()
	if err != nil {
		return connection.Server{}, err
	}
	return redis.Server(), nil
}

// redis reads the URL.
func (c *Config) redis() (*redisconn.Config, error) {
	return redisconn.Parse(c.URL, redisconn.Broker, redisconn.Options{Options: c.Connection, UseTLS: c.TLS, Failover: c.Failover})
}

// reach sets the defaults, and fails if the configuration is wrong or Redis cannot be
// reached now.
func (c *Config) reach(ctx context.Context) (*redisconn.Config, error) {
	c.setDefaults()
	redis, err := c.redis()
	if err != nil {
		err = fmt.Errorf("redisbroker: %w", err)
	}
	if err := errors.Join(err, c.validate()); err != nil {
		return nil, err
	}
	conn, err := redis.Dial(ctx) // its errors are clearer than a pipeline that waits
	if err != nil {
		return nil, fmt.Errorf("redisbroker: %w", err)
	}
	conn.Close()
	return redis, nil
}

// validate returns every problem at once.
func (c *Config) validate() error {
	var errs []error
	problem := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("redisbroker: "+format, args...))
		}
	}
	problem(len(c.Queues) == 0, "Queues is empty")
	for i, q := range c.Queues {
		if err := validQueue(q); err != nil {
			problem(true, "Queues: %w", err)
		}
		same := func(other broker.Queue) bool { return other.Name == q.Name }
		problem(slices.IndexFunc(c.Queues, same) < i, "Queues: %q is listed twice", q.Name)
	}
	problem(c.VisibilityTimeout < time.Second, "VisibilityTimeout %v is under a second", c.VisibilityTimeout)
	problem(!validSteps(c.PrioritySteps), "PrioritySteps %v must ascend from 0 and stay under 10", c.PrioritySteps)
	problem(!slices.Contains([]string{RoundRobin, Priority, Sorted}, c.QueueOrderStrategy),
		"QueueOrderStrategy %q is not one of %s, %s, %s", c.QueueOrderStrategy, RoundRobin, Priority, Sorted)
	problem(c.UnackedMutexExpire < time.Millisecond, "UnackedMutexExpire %v is under a millisecond", c.UnackedMutexExpire)
	problem(c.UnackedRestoreLimit < 0, "UnackedRestoreLimit %d is negative", c.UnackedRestoreLimit)
	problem(c.UnackedRestoreThrottle < 0, "UnackedRestoreThrottle %d is negative", c.UnackedRestoreThrottle)
	problem(c.AliveFor < time.Second, "AliveFor %v is under a second", c.AliveFor)
	problem(c.MaxConnections < 0, "MaxConnections %d is negative", c.MaxConnections)
	problem(c.PollingInterval < 0, "PollingInterval %v is negative", c.PollingInterval)
	return errors.Join(errs...)
}

// waiters is how many lists may be waited on.
func (c *Config) waiters() int { return max(c.MaxConnections-2, 1) }

func validSteps(steps []int) bool {
	if len(steps) == 0 || steps[0] != 0 {
		return false
	}
	for i, step := range steps[1:] {
		if step <= steps[i] || step > 9 {
			return false
		}
	}
	return true
}

// keyspace names the keys in the database of a number.
func (c *Config) keyspace(db int) keyspace {
	return keyspace{
		prefix:  c.GlobalKeyprefix,
		sep:     c.Sep,
		steps:   c.PrioritySteps,
		unacked: c.GlobalKeyprefix + c.UnackedKey,
		index:   c.GlobalKeyprefix + c.UnackedIndexKey,
		mutex:   c.GlobalKeyprefix + c.UnackedMutexKey,

		fanout:   c.fanoutPrefix(db),
		patterns: !c.NoFanoutPatterns,
	}
}

func (c *Config) fanoutPrefix(db int) string {
	if c.NoFanoutPrefix {
		return ""
	}
	return strings.ReplaceAll(c.FanoutPrefix, "{db}", strconv.Itoa(db))
}
