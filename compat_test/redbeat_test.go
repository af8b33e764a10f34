package compat_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// redBeats is an app whose periodic tasks are RedBeat's, and its Redis.
type redBeats struct {
	app
	t      *testing.T
	server *redisServer
	start  time.Time      // of the rule, in whole seconds
	cut    map[string]int // how often Celery's beat may have been ended between telling RedBeat of an entry and sending it
}

// every is how often the rule of these tests is due, in seconds.
const ruleEvery = 2

// newRedBeats makes an app with an entry in beat_schedule, and has RedBeat store another one with a rule.
func newRedBeats(t *testing.T) *redBeats {
	t.Helper()
	r := &redBeats{t: t, server: startRedis(t), start: time.Now().Truncate(time.Second), cut: map[string]int{}}
	options := fields{"expires": runLasts.Seconds()}
	r.app = app{broker: r.server.url(0), settings: fields{
		"redbeat_redis_url": r.server.url(0), "redbeat_lock_timeout": 60, "timezone": "Europe/Berlin",
		"beat_schedule": fields{"static": fields{"task": "t.static", "schedule": 1.5, "args": []any{1, "ä"}, "kwargs": fields{"a": nil}, "options": options}},
	}}
	r.run(t, nil, `import sys, tapp
from datetime import datetime, timezone
from celery.schedules import crontab, schedule
from redbeat import RedBeatSchedulerEntry as Entry
from redbeat.schedules import rrule
start = datetime.fromtimestamp(int(sys.argv[1]), timezone.utc)
options = {"expires": int(sys.argv[2])}
Entry("rule", "t.rule", rrule("SECONDLY", interval=int(sys.argv[3]), dtstart=start), options=options, app=tapp.app).save()
Entry("disabled", "t.disabled", schedule(1), enabled=False, app=tapp.app).save()
Entry("far", "t.far", crontab(minute="0", hour="4", day_of_month="1", month_of_year="1"), kwargs={"at": start}, app=tapp.app).save()
`, fmt.Sprint(r.start.Unix()), fmt.Sprint(int(runLasts.Seconds())), fmt.Sprint(ruleEvery))
	return r
}

func (r *redBeats) celeryBeat() *process {
	r.t.Helper()
	return start(r.t, "celery beat", appDir, r.env(r.t), r.python(), "-m", "celery", "-A", "tapp", "beat", "-S", "redbeat.RedBeatScheduler", "-l", "debug", "--max-interval", "1")
}

func (r *redBeats) apiumBeat() *process {
	r.t.Helper()
	return start(r.t, "apium beat", appDir, r.env(r.t), apiumBinary, "-A", "tapp", "--python", r.python(), "beat", "-S", "redbeat.RedBeatScheduler", "-l", "debug")
}

// sent returns what was sent so far.
func (r *redBeats) sent() map[string][]beatMessage {
	r.t.Helper()
	return r.server.beatMessages(r.t, "celery")
}

// more waits until entries have been sent twice more.
func (r *redBeats) more() {
	r.t.Helper()
	before := r.sent()
	for _, task := range []string{"t.static", "t.rule"} {
		eventually(r.t, patience, task+" goes on", func() bool { return len(r.sent()[task]) >= len(before[task])+2 })
	}
}

// stop ends a beat, which frees the lock. Celery's ends in the middle of sending an entry, if it is told to then.
func (r *redBeats) stop(p *process) {
	r.t.Helper()
	endBeat(r.t, p)
	log := p.log.String()
	if !strings.Contains(log, "scheduler -> redbeat.schedulers.RedBeatScheduler") {
		return // ours
	}
	for _, name := range []string{"rule", "static"} {
		r.cut[name] += strings.Count(log, "Sending due task "+name+" ") - strings.Count(log, "t."+name+" sent.")
	}
}

// count is how often RedBeat says that an entry ran.
func (r *redBeats) count(name string) int {
	r.t.Helper()
	var meta struct {
		TotalRunCount int `json:"total_run_count"`
	}
	raw, _ := r.server.do(r.t, "HGET", "redbeat:"+name, "meta").([]byte)
	if err := json.Unmarshal(raw, &meta); err != nil {
		r.t.Fatalf("meta of %s: %v in %s", name, err, raw)
	}
	return meta.TotalRunCount
}

// wantOnce checks that nothing was sent twice, and that RedBeat knows of each run.
func (r *redBeats) wantOnce() {
	r.t.Helper()
	sent := r.sent()
	slots := map[int]time.Time{}
	for _, m := range sent["t.rule"] {
		slot := int(m.sent.Sub(r.start).Seconds()) / ruleEvery
		if before, twice := slots[slot]; twice {
			r.t.Errorf("the rule's slot %d was sent at %s and at %s", slot, before, m.sent)
		}
		slots[slot] = m.sent
	}
	for name, task := range map[string]string{"rule": "t.rule", "static": "t.static"} {
		if n, told := len(sent[task]), r.count(name); n > told || n+r.cut[name] < told {
			r.t.Errorf("%s was sent %d times, and RedBeat was told %d, of which %d may be cut", name, n, told, r.cut[name])
		}
	}
	if n := len(sent["t.disabled"]) + len(sent["t.far"]); n != 0 {
		r.t.Errorf("what is disabled, or not due, was sent %d times", n)
	}
}

// TestRedBeat: Celery's beat with RedBeat and ours take each other's place, and run at the same time, and each run
// is sent once: they share RedBeat's lock and its record of runs.
func TestRedBeat(t *testing.T) {
	t.Parallel()
	r := newRedBeats(t)
	celery := r.celeryBeat()
	celery.waitLog(t, "beat: Acquired lock")
	r.more()
	apium := r.apiumBeat()
	apium.waitLog(t, "sends schedule") // among ours; the lock is Celery's
	r.more()
	if apium.log.contains("Sending due task") {
		t.Error("ours has sent something while Celery's had the lock")
	}
	r.stop(celery)
	apium.waitLog(t, "Sending due task rule")
	r.more()
	celery = r.celeryBeat()
	celery.waitLog(t, "beat: Acquiring lock")
	r.more()
	if celery.log.contains("beat: Acquired lock") {
		t.Error("Celery's has the lock while ours runs")
	}
	r.stop(apium)
	celery.waitLog(t, "beat: Acquired lock")
	r.more()
	r.stop(celery)
	r.wantOnce()

	messages := r.sent()["t.static"]
	first, ours := messages[0], messages[len(messages)/2]
	if first.Body != ours.Body || fmt.Sprint(first.Headers) != fmt.Sprint(ours.Headers) || fmt.Sprint(first.Properties) != fmt.Sprint(ours.Properties) {
		t.Errorf("Celery's sends\n%+v\nours\n%+v", first, ours)
	}
}

// TestRedBeatKilled: RedBeat goes on where ours was killed, and sends nothing again.
func TestRedBeatKilled(t *testing.T) {
	t.Parallel()
	r := newRedBeats(t)
	apium := r.apiumBeat()
	apium.waitLog(t, "Sending due task rule")
	r.more()
	apium.kill()
	r.server.do(t, "DEL", "redbeat::lock") // what its time to live would do
	celery := r.celeryBeat()
	celery.waitLog(t, "beat: Acquired lock")
	r.more()
	r.stop(celery)
	r.wantOnce()
}

// TestRedBeatChanges: what RedBeat's users do with entries is seen while ours runs.
func TestRedBeatChanges(t *testing.T) {
	t.Parallel()
	r := newRedBeats(t)
	apium := r.apiumBeat()
	apium.waitLog(t, "Sending due task rule")
	r.run(t, nil, `import tapp
from celery.schedules import schedule
from redbeat import RedBeatSchedulerEntry as Entry
Entry("new", "t.new", schedule(1), args=["new"], app=tapp.app).save()
changed = Entry.from_key("redbeat:static", app=tapp.app)
changed.args = ["changed"]
changed.save()
Entry.from_key("redbeat:rule", app=tapp.app).delete()
tapp.app.redbeat_redis.hset("redbeat:broken", "definition", "{")
tapp.app.redbeat_redis.zadd("redbeat::schedule", {"redbeat:broken": 1})
`)
	eventually(t, patience, "the new entry is sent", func() bool { return len(r.sent()["t.new"]) > 1 })
	eventually(t, patience, "the change is seen", func() bool {
		messages := r.sent()["t.static"]
		return strings.HasPrefix(messages[len(messages)-1].Body, `[["changed"]`)
	})
	apium.waitLog(t, "Entry broken cannot run: the definition cannot be read")
	before := r.sent()
	eventually(t, patience, "others go on", func() bool { return len(r.sent()["t.new"]) > len(before["t.new"])+3 })
	if n := len(r.sent()["t.rule"]) - len(before["t.rule"]); n != 0 {
		t.Errorf("what was deleted was sent %d times more", n)
	}
	if apium.log.count("Entry broken cannot run") != 1 {
		t.Error("what is wrong with an entry was not logged once")
	}
	r.stop(apium)
	if n := r.server.int(t, "EXISTS", "redbeat:rule", "redbeat::lock"); n != 0 {
		t.Error("the deleted entry is back, or the lock is held")
	}
}
