package compat_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
)

// account accounts for tasks under a storm of hits. The tasks note in one stream of a Redis that is left alone when they start and when
// they are done, and in which process; hits are noted there, too, when they begin and when they have ended. So it knows what every hit
// has hit. It reads what is noted as it comes, and forgets tasks of which nothing is heard any more.
type account struct {
	conn     redis.Conn // to it
	last     string     // note that was read
	notes    int        // that were read: their numbers are the account's time
	stories  map[string]*story
	recent   []*story // as they were sent
	hits     []*hit
	ended    map[string]int               // by process, how many runs it has ended; "": all processes
	running  map[string]map[*taskRun]bool // by process
	latest   map[string]int               // by worker, the note of the task that it has started last
	repeated map[string]bool              // tasks that ran again and are forgotten
	// unconfirmed, once and slots are as in ledger.
	unconfirmed, once bool
	slots             int
	window            int // how many runs a process may have ended whose acknowledgements are on their way
	slotRuns          int // of beats' entries that were done
	stored            func(ids []string) (missing []string)
	said              func(key string) string // what workers have said of a task
	copies            bool                    // one of Celery's workers may get the copies of messages, which ours drop
	abandoned         func(key string) int    // how many workers had received a task when they were killed, by what they have said
	row               stormRow
}

// story is what has become of a task.
type story struct {
	sentTask
	sent  time.Time
	order int // how many notes there were when it was sent
	runs  []*taskRun
	heard time.Time // of it, at last
	sends bool      // it publishes others
}

func (s *story) early() bool { return strings.HasPrefix(s.key, "early") }

func (s *story) done() bool {
	return slices.ContainsFunc(s.runs, func(r *taskRun) bool { return r.done > 0 })
}

// result is the id under which a task's result must be stored; "": none must be.
func (s *story) result() string {
	if s.early() || !s.done() {
		return ""
	}
	return s.id
}

// taskRun is one of a task's.
type taskRun struct {
	who           string // the worker, and its process
	started, done int    // notes; 0: it is not done
	at, end       time.Time
	before        int // runs that its process had ended when it was done
}

// hit is one of a storm: a kill, a freeze, a cut.
type hit struct {
	*fault
	who      []string       // the processes that were hit; one that ends with / is all of a worker
	all      bool           // every worker was
	from, to int            // notes
	at, over time.Time      // by the journal's clock
	ended    map[string]int // as the account's, when it began
}

func (h *hit) hits(who string) bool {
	return h.all || slices.ContainsFunc(h.who, func(name string) bool {
		return name == who || strings.HasSuffix(name, "/") && strings.HasPrefix(who, name)
	})
}

func newAccount(t *testing.T, l ledger) *account {
	t.Helper()
	conn, err := redis.DialURL(l.journal.url(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	a := &account{
		conn: conn, last: "0-0", stories: map[string]*story{}, ended: map[string]int{}, running: map[string]map[*taskRun]bool{},
		latest: map[string]int{}, repeated: map[string]bool{}, row: stormRow{reasons: map[string]int{}},
		unconfirmed: l.unconfirmed, once: l.once, slots: l.slots, window: heldBySlot * siegeSlots,
	}
	if a.unconfirmed {
		a.window = 128 * siegeSlots // as in ledger: nothing says when they arrive
	}
	return a
}

// send notes tasks before they are sent.
func (a *account) send(tasks ...sentTask) {
	for _, task := range tasks {
		a.expect(task)
	}
}

func (a *account) expect(task sentTask) *story {
	s := &story{sentTask: task, sent: time.Now(), order: a.notes, heard: time.Now()}
	a.stories[task.key] = s
	for _, key := range task.by {
		if by := a.stories[key]; by != nil {
			by.sends = true
		}
	}
	a.recent = append(a.recent, s)
	a.row.tasks++
	return s
}

// open are the tasks that were sent not long ago and are not done.
func (a *account) open() (n int) {
	for _, s := range slices.Backward(a.recent) {
		if time.Since(s.sent) > 20*time.Second {
			break
		}
		if !s.done() {
			n++
		}
	}
	return n
}

// finished are the ids under which results must be stored.
func (a *account) finished() (ids []string) {
	for _, s := range a.recent {
		if id := s.result(); id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// strike notes that a hit begins, does it, and notes that it has ended.
func (a *account) strike(t *testing.T, h *hit, do func()) {
	t.Helper()
	a.hits = append(a.hits, h)
	a.row.hits++
	a.note(t, "begins")
	do()
	a.note(t, "over")
	a.read(t)
}

func (a *account) note(t *testing.T, what string) {
	t.Helper()
	if _, err := a.conn.Do("XADD", "notes", "*", what, len(a.hits)-1); err != nil {
		t.Fatal(err)
	}
}

// read reads what was noted, and takes it out of the stream.
func (a *account) read(t *testing.T) {
	t.Helper()
	for {
		entries, err := redis.Values(a.conn.Do("XRANGE", "notes", "("+a.last, "+", "COUNT", 1000))
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			var fields []string
			if _, err := redis.Scan(entry.([]any), &a.last, &fields); err != nil {
				t.Fatal(err)
			}
			a.notes++
			a.take(a.last, fields[0], fields[1])
		}
		if len(entries) < 1000 {
			break
		}
	}
	if _, err := a.conn.Do("XTRIM", "notes", "MINID", a.last); err != nil {
		t.Fatal(err)
	}
}

// take takes a note: of what, and about which hit, or which task and process.
func (a *account) take(id, what, about string) {
	var ms int64
	_, _ = fmt.Sscan(id, &ms) // Redis made it
	at := time.UnixMilli(ms)
	if what == "begins" || what == "over" {
		var n int
		_, _ = fmt.Sscan(about, &n) // as note has it
		a.takeHit(a.hits[n], what == "begins", at)
		return
	}
	key, who, _ := strings.Cut(about, " ")
	s := a.stories[key]
	switch {
	case s != nil:
	case strings.HasPrefix(key, slotPrefix):
		s = a.expect(sentTask{key: key, python: true})
		s.order = 0 // a beat has sent it before
		a.slotRuns++
	default:
		a.unexplained("%s: %s in %s, long after it was done", key, what, who)
		return
	}
	s.heard = time.Now()
	switch what {
	case "started":
		r := &taskRun{who: who, started: a.notes, at: at}
		s.runs = append(s.runs, r)
		if a.running[who] == nil {
			a.running[who] = map[*taskRun]bool{}
		}
		a.running[who][r] = true
		worker, _, _ := strings.Cut(who, "/")
		a.latest[worker] = a.notes
	case "done":
		for _, r := range s.runs {
			if r.who == who && r.done == 0 {
				r.done, r.end, r.before = a.notes, at, a.ended[who]
				delete(a.running[who], r)
				break
			}
		}
		a.ended[who]++
	default: // "too soon"
		a.unexplained("%s began before it was due", key)
	}
}

func (a *account) takeHit(h *hit, begins bool, at time.Time) {
	if !begins {
		h.to, h.over = a.notes, at
		return
	}
	h.at = at
	h.from, h.ended = a.notes, map[string]int{}
	for who, n := range a.ended {
		if h.hits(who) {
			h.ended[who] = n
		}
	}
	hurt := false
	for who, runs := range a.running {
		if h.hits(who) {
			hurt = hurt || len(runs) > 0
		}
	}
	if hurt {
		a.row.hurting++
	}
}

// began tells whether a worker has begun a task since a note.
func (a *account) began(who string, since int) bool { return a.latest[who] > since }

// judge accounts for the tasks of which nothing has been heard since no message was left, and forgets them.
func (a *account) judge(idle time.Time) {
	var ids []string
	silent := func(s *story) bool { return s.heard.Before(idle) }
	for _, s := range a.recent {
		if silent(s) {
			if id := a.judgeOne(s); id != "" {
				ids = append(ids, id)
			}
		}
	}
	for _, s := range a.recent { // each was a reason for others
		if silent(s) {
			delete(a.stories, s.key)
		}
	}
	a.recent = slices.DeleteFunc(a.recent, silent)
	for _, id := range a.stored(ids) {
		a.lost("the result of %s", id)
	}
}

// gone forgets a worker that has ended.
func (a *account) gone(who string) {
	for process := range maps.Keys(a.running) {
		if strings.HasPrefix(process, who+"/") {
			delete(a.running, process)
			delete(a.ended, process)
			delete(a.latest, who)
		}
	}
}
