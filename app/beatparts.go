package app

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/apium/apium/beat"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/operate/metrics"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/tasks"
)

// producer makes the messages of a beat, for a registry's tasks with their options and hooks.
func (b *Beat) producer(publisher fromsettings.Publisher, reg *tasks.Registry) (*client.Client, error) {
	cfg := fromsettings.Producer(b.conf)
	cfg.Publisher, cfg.Registry, cfg.Signed = publisher, reg, b.opts.Signed
	return client.New(cfg)
}

// configureBeat makes the beat of a worker, if there is to be one.
func (w *Worker) configureBeat() (err error) {
	if w.opts.Beat == nil {
		return nil
	}
	opts := *w.opts.Beat
	_, host, _ := strings.Cut(w.cfg.Hostname, "@")
	opts.Hostname, opts.Registerer, opts.Logger, opts.Signed = beatName+"@"+host, nil, w.log, w.cfg.Signed
	if opts.Registry == nil {
		opts.Registry = w.reg
	}
	if w.beat, err = newBeat(w.conf, opts, w.places); err == nil {
		w.beat.figures = metrics.NewBeat(metrics.BeatOptions{}) // which the worker serves
	}
	return err
}

// startBeat sends periodic tasks until ctx is done; the returned function waits for the end.
func (s *service) startBeat(ctx context.Context) (wait func()) {
	if s.beat == nil {
		return func() {}
	}
	return beside(func() {
		if err := s.beat.serve(ctx, s.publisher, s.beat.opts.Registry); err != nil {
			s.log.Error("beat: "+err.Error(), logline.EventKey, "Beat failed", "error", err)
		}
	})
}

// slots is where it is kept what has been sent: in the broker. What is only in the process's memory is gone with it, and so is
// what was sent.
func (b *Beat) slots(publisher fromsettings.Publisher) (broker.Slots, error) {
	if slots := broker.PublisherAbilitiesOf(publisher).Slots; slots != nil {
		return slots, nil
	}
	return beat.NewLocalSlots(publisher, "")
}

// registered are the periodic tasks of a registry.
func registered(reg *tasks.Registry, zone *time.Location) (entries []*beat.Entry) {
	if reg == nil {
		return nil
	}
	for _, p := range reg.PeriodicTasks() {
		entries = append(entries, &beat.Entry{
			Name: p.Name, Task: p.Signature.Task(), Signature: p.Signature, Schedule: p.Schedule(zone), StartingDeadline: p.StartingDeadline,
		})
	}
	return entries
}

// cleanup is the entry that Celery's beat adds where results do not expire by themselves.
const cleanup = "celery.backend_cleanup"

// BeatSchedule has the entries of beat_schedule, and celery.backend_cleanup where results are kept in SQL and expire.
func BeatSchedule(conf *settings.Settings) *beat.Static {
	return beat.FromSettings(withCleanup(conf), conf.Location())
}

// withCleanup is beat_schedule, with that entry.
func withCleanup(conf *settings.Settings) map[string]json.RawMessage {
	if conf.ResultExpires <= 0 || !keptInSQL(conf.ResultBackend) {
		return conf.BeatSchedule
	}
	with := maps.Clone(conf.BeatSchedule)
	if with == nil {
		with = map[string]json.RawMessage{}
	}
	if _, given := with[cleanup]; !given {
		with[cleanup] = json.RawMessage(`{"task": "` + cleanup + `", "schedule": "0 4 * * *", "options": {"expires": 43200}}`)
	}
	return with
}

// keptInSQL tells whether a result backend is Celery's database or django-celery-results' one, by an alias, a
// URL or the name of the class.
func keptInSQL(backend string) bool {
	name, _, _ := strings.Cut(strings.ReplaceAll(backend, ":", "."), "+")
	switch name {
	case "db", "database", "django-db", "celery.backends.database.DatabaseBackend":
		return true
	}
	return strings.HasPrefix(name, "django_celery_results.") && strings.HasSuffix(name, ".DatabaseBackend")
}

// answer answers to ping, if the settings want that.
func (b *Beat) answer(ctx context.Context, publisher fromsettings.Publisher) {
	if !b.conf.BeatEnableRemoteControl {
		return
	}
	accept, err := protocol.NewAccept(b.conf.AcceptContent...)
	pinger := control.Pinger{
		Broker: publisher, Hostname: b.Hostname(), Exchange: b.conf.ControlExchange, Logger: b.log, Alive: b.alive,
		Decoder: protocol.Decoder{Accept: accept},
	}
	if err == nil {
		err = pinger.Run(ctx)
	}
	if err != nil {
		b.log.Error("beat pidbox: "+err.Error(), logline.EventKey, "Remote control failed", "error", err)
	}
}

// leastTickAge is how long a beat may at least have done nothing until it is silent.
const leastTickAge = time.Minute

// alive tells whether the beat has done anything lately, as Celery's asks itself before it answers.
func (b *Beat) alive() bool {
	limit := max(2*b.opts.MaxInterval, leastTickAge)
	if given := b.conf.BeatRemoteControlMaxTickAge; given != nil {
		limit = *given
	}
	engine := b.engine.Load()
	return engine == nil || limit == 0 || time.Since(engine.Ticked()) <= limit
}

// othersTimeout is how long another beat may take to answer at the start.
const othersTimeout = time.Second

// warnOfOthers warns of Python's beats: they do not know what this one has sent.
func (b *Beat) warnOfOthers(ctx context.Context, publisher fromsettings.Publisher) {
	asking := control.Client{Broadcaster: publisher, Asker: publisher, Exchange: b.conf.ControlExchange}
	isBeat := func(node string) bool { return strings.HasPrefix(node, beatName+"@") }
	others, err := asking.OtherBeats(ctx, isBeat, othersTimeout)
	if err != nil {
		b.log.Debug("beat: Cannot ask for other beats: "+err.Error(), logline.EventKey, "Cannot ask for other beats", "error", err)
		return
	}
	for _, node := range others {
		b.log.Warn(fmt.Sprintf("beat: %s answers, which is Celery's own beat. If it has the same schedule, everything is sent twice: stop one of them", node),
			logline.EventKey, "Celery's own beat runs as well", "node", node)
	}
}
