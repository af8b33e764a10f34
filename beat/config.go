package beat

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/apium/apium/beat/schedule"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol/canvas"
)

// Producer makes the messages of entries; a *client.Client is one.
type Producer interface {
	Prepare(ctx context.Context, sig canvas.Signature, opts ...canvas.Option) (*client.Prepared, error)
}

// Observer is told what a beat does. It must not block.
type Observer interface {
	// Sent is told of each run, and how long after its time it was published.
	Sent(entry string, late time.Duration)
	// Failed is told of each attempt to send a run that came to nothing; "": it was not of one entry.
	Failed(entry string)
	// Leads is told when the beat begins and ceases to be the one that sends.
	Leads(bool)
}

// Config is what a beat is made of. Sources, Producer and Slots are required.
type Config struct {
	// Sources are where entries come from. Of entries with the same name that of an earlier source counts.
	Sources  []Source
	Producer Producer
	// Slots is where it is kept what has been sent: the ability of a publisher, or what NewLocalSlots makes.
	Slots broker.Slots

	// Schedule names what all beats that send these entries have in common. Those that send
	// others on the same broker need another name. Default: DefaultSchedule.
	Schedule string
	// Node is the name of this beat: celerybeat@web1. Default: celerybeat@ and the machine's name.
	Node string

	// MaxInterval is the longest time between two looks at the schedule, as Celery's log lines have it; really
	// the beat looks every second. Default: 5 min.
	MaxInterval time.Duration
	// CronStartingDeadline is how late a crontab may be sent: beat_cron_starting_deadline. Default:
	// schedule.NoDeadline.
	CronStartingDeadline *time.Duration
	// Poll is how often sources are asked for changes. Default: 5 s.
	Poll time.Duration
	// LeadFor is how long a beat that has died without a word is waited for until another one sends: a second or more. Default: 10 s.
	LeadFor time.Duration

	// Observer may be nil.
	Observer Observer
	// Logger gets Celery's log lines. Default: slog.Default().
	Logger *slog.Logger
}

const (
	// DefaultSchedule is the name of a schedule that has no other.
	DefaultSchedule = "default"

	// DefaultMaxInterval is Celery's.
	DefaultMaxInterval = 5 * time.Minute

	defaultPoll    = 5 * time.Second
	defaultLeadFor = 10 * time.Second
)

func (c *Config) setDefaults() error {
	switch {
	case len(c.Sources) == 0:
		return errors.New("beat: Sources is required")
	case c.Producer == nil:
		return errors.New("beat: Producer is required")
	case c.Slots == nil:
		return errors.New("beat: Slots is required")
	case c.LeadFor != 0 && c.LeadFor < time.Second:
		return fmt.Errorf("beat: LeadFor %v is under a second", c.LeadFor)
	}
	c.Schedule = cmp.Or(c.Schedule, DefaultSchedule)
	c.MaxInterval = cmp.Or(c.MaxInterval, DefaultMaxInterval)
	c.Poll = cmp.Or(c.Poll, defaultPoll)
	c.LeadFor = cmp.Or(c.LeadFor, defaultLeadFor)
	if c.Node == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "localhost"
		}
		c.Node = "celerybeat@" + host
	}
	if c.CronStartingDeadline == nil {
		none := schedule.NoDeadline
		c.CronStartingDeadline = &none
	}
	if c.Observer == nil {
		c.Observer = nobody{}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return nil
}

// nobody is an observer.
type nobody struct{}

func (nobody) Sent(string, time.Duration) {}
func (nobody) Failed(string)              {}
func (nobody) Leads(bool)                 {}

// newToken makes what tells this process from all others, those of the same name included.
func newToken(node string) string {
	var id [6]byte
	_, _ = rand.Read(id[:]) // never fails
	return node + " " + hex.EncodeToString(id[:])
}
