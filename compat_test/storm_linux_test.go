package compat_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/protocol/canvas"
)

// storm is a siege under which one kind of fault comes after the other, at random moments, while tasks are sent without a pause:
// whoever was hit is hit again as soon as it has been given work.
type storm struct {
	*siege
	*account
	fault *fault
	left  []*process // of each place, the last one that ended, whose children may live on for a moment
	logs  []string   // of workers that have ended since the last look
	mute  []int      // how often each worker has found out that it was silent for too long
	spoke int        // the note up to which that is known
	since []int      // the note after which each worker must begin a task, before it is hit again
}

const (
	// stormOpen is how many tasks are there at any time.
	stormOpen = 400
	// stormSilence is the default of apium_alive_for: this machine may be busy.
	stormSilence = 6
	// stormLooks is how often a storm pauses to see how long it takes until all is normal, and what has become of all tasks.
	stormLooks = 10
)

// TestStorm does as many faults of each kind as are asked for: see scripts/torture -kills. No task is lost; none runs again but those that
// somebody ran when it was hit, or had just run; and on Redis none does that is acknowledged early.
func TestStorm(t *testing.T) {
	if *stormKills == 0 {
		t.Skip("scripts/torture -kills asks for it")
	}
	which, err := regexp.Compile(*tortureFaults)
	if err != nil {
		t.Fatal(err)
	}
	cells := [][]string{stormColumns}
	t.Run("all", func(t *testing.T) {
		for _, w := range arenas() {
			for _, f := range faultsFor(w.broker, w.kind) {
				if f.strike == nil || !which.MatchString(f.name) || w.kind == "celery" || w.kind == "apart" {
					continue
				}
				t.Run(w.broker+"/"+w.kind+"/"+f.name, func(t *testing.T) {
					r := w.storm(t, f)
					cells = append(cells, append([]string{f.name, w.broker, w.kind}, r.cells()...))
				})
			}
		}
	})
	t.Log("\n" + drawn(cells))
}

// storm does faults of one kind.
func (w arena) storm(t *testing.T, f *fault) *stormRow {
	t.Helper()
	s := &storm{fault: f, left: make([]*process, besieged), since: make([]int, besieged), mute: make([]int, besieged)}
	began := time.Now()
	besiege(t, w.broker, w.kind, func(b *siege) {
		s.siege = b
		s.account = newAccount(t, b.ledger)
		s.stored, s.said, s.abandoned = s.unstored, s.saidOf, s.abandonedBy
		s.copies = s.unconfirmed && s.kind == "mixed"
		b.note, b.named = s.send, true
		if f.notice == 0 { // else others shall take a worker for dead soon
			b.silence, b.timeout = stormSilence, 5*stormSilence
		}
	})
	s.tend(f)
	if !s.unconfirmed {
		s.during("Redis is old enough that workers judge each other", func() bool { return time.Since(began) > 12*time.Second })
	}
	for n := 1; n <= *stormKills; n++ {
		f.strike(s)
		if n%max(1, *stormKills/stormLooks) == 0 || n == *stormKills {
			s.look()
			t.Logf("%d faults, %v: %s", n, time.Since(began).Round(time.Second), s.row.progress())
		}
	}
	s.endBeats()
	s.drain()
	s.endWorkers()
	return s.judged()
}

// during goes on sending tasks and reading what is noted until something holds.
func (s *storm) during(what string, holds func() bool) {
	s.t.Helper()
	s.await(what, func() bool {
		if s.open() < stormOpen {
			s.load(siegeFlow)
		}
		s.read(s.t)
		return holds()
	})
}

// work lets tasks run for up to so long.
func (s *storm) work(most time.Duration) {
	s.t.Helper()
	until := time.Now().Add(rand.N(most))
	s.during("time passes", func() bool { return time.Now().After(until) })
}

// look waits until every worker does a task that is sent to it alone, while the others go on, and then until all is done.
func (s *storm) look() {
	s.t.Helper()
	began := time.Now()
	s.probes++
	var probes []*story
	for i := range s.workers {
		task := sentTask{key: fmt.Sprintf("probe-%d-%d", s.probes, i)}
		probes = append(probes, s.expect(task))
		s.publish(canvas.Sig("tapp.work", task.key, 0).Set(canvas.Queue(probeQueue(i))))
	}
	s.during("every worker works", func() bool {
		return !slices.ContainsFunc(probes, func(p *story) bool { return !p.done() })
	})
	took := time.Since(began)
	s.row.normal = max(s.row.normal, took)
	if most := allow(5*time.Second+s.fault.notice, began); took > most {
		s.t.Errorf("it took %v until every worker worked; %v at most are good", took, most)
	}
	s.drain()
}

// listen notes as a hit that a worker, without anybody doing anything to it, had so little time that others took it for dead.
func (s *storm) listen() {
	for i, w := range s.workers {
		n := w.log.count("The sign of life had lapsed")
		if s.fault.kills || s.fault.beats {
			n += w.log.count("Connection to broker lost")
		}
		if n > s.mute[i] && s.fault.notice == 0 {
			s.row.mutes++
			s.hits = append(s.hits, &hit{fault: itself, who: []string{s.who(i) + "/"}, from: s.spoke, to: s.notes})
		}
		s.mute[i] = n
	}
	s.spoke = s.notes
}

// drain waits until all is done, all results are stored and no message is left, and judges what has been.
func (s *storm) drain() {
	s.t.Helper()
	var idle time.Time
	began := time.Now()
	comesTrue(patience, func() bool {
		s.read(s.t)
		idle = time.Now()
		return !slices.ContainsFunc(s.recent, func(task *story) bool { return !task.early() && !task.done() && task.sent.Before(began) }) &&
			s.idle() && len(s.missing(s.finished())) == 0 // no queue counts what is on its way from one to another
	})
	s.row.allDone = max(s.row.allDone, time.Since(began))
	s.read(s.t)
	s.listen()
	s.judge(idle)
	s.logs = nil
}

// abandonedBy is how many workers had received a task when they were killed, by what they have said.
func (s *storm) abandonedBy(key string) (n int) {
	for _, text := range s.logs {
		if strings.Contains(text, key+"] received") {
			n++
		}
	}
	return n
}

// saidOf are the lines about a task in the logs of workers.
func (s *storm) saidOf(key string) string {
	var b strings.Builder
	logs := s.logs
	for _, w := range s.workers {
		logs = append(logs[:len(logs):len(logs)], w.log.String())
	}
	for _, text := range logs {
		for line := range strings.Lines(text) {
			if strings.Contains(line, key+"]") {
				b.WriteString("\n\t" + strings.TrimSpace(line))
			}
		}
	}
	return b.String()
}

// unstored are the tasks whose success is not stored. What is stored is deleted.
func (s *storm) unstored(ids []string) (missing []string) {
	s.t.Helper()
	missing = s.missing(ids)
	for some := range slices.Chunk(ids, 500) {
		s.server.do(s.t, "DEL", resultKeys(some)...)
	}
	return missing
}

// missing are the tasks whose success is not stored.
func (s *storm) missing(ids []string) (missing []string) {
	s.t.Helper()
	for some := range slices.Chunk(ids, 500) {
		records, err := redis.Strings(s.server.do(s.t, "MGET", resultKeys(some)...), nil)
		if err != nil {
			s.t.Fatal(err)
		}
		for i, record := range records {
			if !strings.Contains(record, `"SUCCESS"`) {
				missing = append(missing, some[i])
			}
		}
	}
	return missing
}

func resultKeys(ids []string) (keys []any) {
	for _, id := range ids {
		keys = append(keys, "celery-task-meta-"+id)
	}
	return keys
}

// judged is what all has come to.
func (s *storm) judged() *stormRow {
	s.t.Helper()
	r := &s.row
	if n := s.slotRuns; n != s.ledger.runs {
		s.unexplained("%d runs of beats' entries were done, %d were sent", n, s.ledger.runs)
	}
	if most := r.hits * siegeSlots; r.unstarted > most {
		s.t.Errorf("%d early tasks ended before they had started, %d at most are good", r.unstarted, most)
	}
	if most := 1 + r.hits/200; r.about > most {
		s.t.Errorf("%d tasks began right after their workers were frozen, beside others; %d at most are good", r.about, most)
	}
	if most := 1 + r.hits/200; r.unsaid > most {
		s.t.Errorf("%d tasks ran twice that no worker is known to have left beside a copy, after one was killed; %d at most are good", r.unsaid, most)
	}
	if r.lost+r.unexplained > 0 {
		s.t.Errorf("%d tasks lost, %d ran again for no reason:\n%s", r.lost, r.unexplained, tail(strings.Join(r.details, "\n"), 6000))
	}
	return r
}
