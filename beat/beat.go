package beat

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apium/apium/beat/schedule"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
)

// Beat sends periodic tasks. One goroutine, that of Run, owns all of it but what is said otherwise; each
// source has another one.
type Beat struct {
	cfg   Config
	log   *slog.Logger
	token string // names this process among all beats
	feeds []*feed
	news  chan *feed

	items      map[string]*item
	timetable  timetable
	stored     map[string]string // of all entries, as far as is known here; nil: it must be read
	complained map[string]string // what was logged of entries that cannot run

	leading  bool
	leadsFor time.Time // until when this beat leads unless it renews that
	renewAt  time.Time // when to take or renew the lead
	doubtful []attempt // runs of which it is not known whether they were sent
	states   int       // how many were made
	said     time.Time // the time of waking up that was logged last

	saidLeader string // who was logged to lead
	compared   string // the leader whose entries were compared with these

	asking, sending, preparing trouble

	ticked  atomic.Int64 // when the loop was alive last, in Unix nanoseconds; read by others
	leads   atomic.Bool  // leading, for others
	reaches atomic.Bool  // the broker answers, or there is nothing to ask it
}

// New makes a beat. It connects to nothing.
func New(cfg Config) (*Beat, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	b := &Beat{
		cfg: cfg, log: cfg.Logger, token: newToken(cfg.Node), news: make(chan *feed, len(cfg.Sources)),
		items: map[string]*item{}, complained: map[string]string{},
		asking: trouble{log: cfg.Logger, what: connectionError}, sending: trouble{log: cfg.Logger, what: connectionError},
		preparing: trouble{log: cfg.Logger, what: "beat: Result backend"},
	}
	for _, source := range cfg.Sources {
		b.feeds = append(b.feeds, newFeed(source, cfg.Logger, cfg.Poll, b.news))
	}
	return b, nil
}

// connectionError is how Celery's beat says that the broker is away.
const connectionError = "beat: Connection error"

// Leads tells whether this beat is the one that sends.
func (b *Beat) Leads() bool { return b.leads.Load() }

// Ticked is when the beat was last seen to work; zero: it does not run yet.
func (b *Beat) Ticked() time.Time {
	if at := b.ticked.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// stuckAfter is how long a beat that works takes at most between two looks at the schedule.
const stuckAfter = 4 * answersIn

var errStuck = errors.New("beat: it does not look at its schedule")

// Alive is nil unless the beat has looked at its schedule once, and then not for far too long.
func (b *Beat) Alive() error {
	if at := b.Ticked(); !at.IsZero() && time.Since(at) > stuckAfter {
		return errStuck
	}
	return nil
}

// Working is nil while the beat works, whether it sends or stands by, and can reach the broker; otherwise it says
// why not.
func (b *Beat) Working() error {
	switch {
	case b.Ticked().IsZero(), b.Alive() != nil:
		return errStuck
	case !b.reaches.Load():
		return errors.New("beat: not connected to the broker, or its sources have not been read yet")
	}
	return nil
}

// Run sends what is due until ctx is done. It returns when sources have been told of all runs, and another
// beat may take the lead.
func (b *Beat) Run(ctx context.Context) {
	b.log.Info("beat: Starting...", logline.EventKey, "Beat starts")
	b.log.Debug("beat: Ticking with max interval->"+schedule.Humanize(b.cfg.MaxInterval), logline.EventKey, "Beat ticks", "max_interval", b.cfg.MaxInterval.Seconds())
	serving, end := context.WithCancel(context.WithoutCancel(ctx)) // sources hear of the last run, too
	defer end()
	var feeds sync.WaitGroup
	for _, f := range b.feeds {
		feeds.Go(func() { f.run(serving) })
	}
	for ctx.Err() == nil {
		b.sleep(ctx, b.tick(ctx))
	}
	end()
	feeds.Wait()
	b.resign(context.WithoutCancel(ctx))
}

// longest is how long the loop sleeps at most: the clock may be set meanwhile.
const longest = time.Second

// sleep waits for a time, or for news of a source.
func (b *Beat) sleep(ctx context.Context, wait time.Duration) {
	if wait = min(wait, longest); wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-b.news:
	}
}

// tick does what is to be done now, and returns how long there is nothing more to do.
func (b *Beat) tick(ctx context.Context) time.Duration {
	b.ticked.Store(time.Now().UnixNano())
	if b.gather() {
		b.adopt(ctx)
	}
	if len(b.items) == 0 {
		return longest
	}
	if !time.Now().Before(b.renewAt) {
		b.lead(ctx)
	}
	if !b.leading || b.stored == nil {
		return time.Until(b.renewAt)
	}
	sent := b.sendDue(ctx)
	if b.stored == nil {
		return time.Until(b.renewAt)
	}
	wait := b.maxWait()
	b.say(sent, wait)
	if sent > 0 {
		wait = max(wait, together)
	}
	return min(wait, time.Until(b.renewAt))
}

// together is how long the loop rests after it has sent something: with thousands of entries, what comes due
// meanwhile is sent in one round trip.
const together = 20 * time.Millisecond

// maxWait is how long nothing is due, but not longer than the longest interval.
func (b *Beat) maxWait() time.Duration {
	wait := b.cfg.MaxInterval
	if len(b.timetable) > 0 {
		wait = min(wait, time.Until(b.timetable[0].due))
	}
	return wait
}

// say logs how long nothing is due, once: again when that is over, or does not hold any more.
func (b *Beat) say(sent int, wait time.Duration) {
	now := time.Now()
	const sooner = 10 * time.Millisecond // is no other time
	if at := now.Add(wait); wait > 0 && (sent > 0 || !now.Before(b.said) || at.Before(b.said.Add(-sooner))) {
		in := schedule.Humanize(wait)
		if in != "now" {
			in = "in " + in
		}
		b.log.Debug("beat: Waking up "+in+".", logline.EventKey, "Beat wakes up", "seconds", wait.Seconds())
		b.said = at
	}
}

// gather takes over what sources have loaded. It tells whether anything is new; nothing is as long as a source
// has not loaded at all.
func (b *Beat) gather() (fresh bool) {
	for _, f := range b.feeds {
		if _, ok := f.loaded(); !ok {
			return false
		}
	}
	for _, f := range b.feeds {
		fresh = f.takeFresh() || fresh
	}
	if !fresh {
		return false
	}
	all := make(map[string]*item, len(b.items))
	for _, f := range b.feeds {
		items, _ := f.loaded()
		for _, it := range items {
			if _, earlier := all[it.Name]; !earlier {
				all[it.Name] = it
			}
		}
	}
	for name, it := range all {
		if before := b.items[name]; before != nil && before != it {
			it.follow(before)
		}
		b.complain(it)
	}
	b.items = all
	return true
}

// complain logs what is wrong with an entry, once.
func (b *Beat) complain(it *item) {
	err := it.Err
	if err == nil {
		err = it.sigErr
	}
	if err == nil || it.Disabled {
		delete(b.complained, it.Name)
		return
	}
	if text := err.Error(); b.complained[it.Name] != text {
		b.complained[it.Name] = text
		b.cfg.Observer.Failed(it.Name)
		b.log.Error(fmt.Sprintf("beat: Entry %s cannot run: %s", it.Name, text), logline.EventKey, "An entry cannot run", "entry", it.Name, "error", text)
	}
}

// adopt has new entries sent, if this beat leads. One that has none left leaves the lead to others.
func (b *Beat) adopt(ctx context.Context) {
	if len(b.items) == 0 {
		b.reaches.Store(true)
		b.resign(ctx)
		return
	}
	if !b.leading || b.stored == nil {
		return
	}
	b.arrange()
	b.catchUpSources()
	asking, cancel := context.WithTimeout(ctx, answersIn)
	defer cancel()
	if err := b.introduce(asking); err != nil {
		b.failed(&b.asking, err)
	}
}

// arrange works out when everything is due.
func (b *Beat) arrange() {
	b.timetable = b.timetable[:0]
	now := time.Now()
	for name, it := range b.items {
		b.restore(it, b.stored[name], now)
	}
	heap.Init(&b.timetable)
}

// restore takes over what is stored of an entry, and puts it into the timetable. It need not be a heap.
func (b *Beat) restore(it *item, stored string, now time.Time) {
	if it.stored != stored {
		st, err := decodeState(stored)
		if err != nil {
			b.log.Error("beat: Entry "+it.Name+" starts anew: "+err.Error(), logline.EventKey, "An entry starts anew", "entry", it.Name, "error", err)
		}
		it.stored, it.state = stored, st
	}
	switch last := it.lastKnown(); {
	case !last.After(now.Add(ahead)):
		it.anchor = time.Time{}
	case it.anchor.IsZero():
		b.log.Warn(fmt.Sprintf("beat: Entry %s ran at %v, which is in the future: a clock was wrong. It goes on as of now", it.Name, last),
			logline.EventKey, "An entry ran in the future", "entry", it.Name, "at", last)
		it.anchor = now
	}
	if it.plan(now, *b.cfg.CronStartingDeadline); !it.due.IsZero() {
		b.timetable = append(b.timetable, it)
	}
}

// putBack puts an entry that was taken out of the timetable back to where it is due next.
func (b *Beat) putBack(it *item, now time.Time) {
	if it.plan(now, *b.cfg.CronStartingDeadline); !it.due.IsZero() {
		heap.Push(&b.timetable, it)
	}
}

// failed notes that the broker did not do what it was asked, or did not say so: what is stored must be
// read again.
func (b *Beat) failed(at *trouble, err error) {
	b.reaches.Store(false)
	b.stored, b.timetable = nil, b.timetable[:0]
	b.renewAt = time.Now().Add(again)
	var deposed *broker.DeposedError
	if errors.As(err, &deposed) {
		b.renewAt = time.Time{}
		return
	}
	b.cfg.Observer.Failed("")
	at.note(err)
}
