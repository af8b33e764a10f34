package worker

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// What waits to be run as a shadow is bounded, and what does not fit is dropped: the tasks that count come first.
const (
	shadowsWaiting = 100         // copies of messages, at most
	shadowsBytes   = 16 << 20    // of them together, but for a single one that is larger
	shadowLimit    = time.Minute // of the time of one whose task has no hard time limit, at least
)

// shadows runs copies of messages that Python has run, and compares what comes of both.
type shadows struct {
	decoder  *protocol.Decoder
	outcomes *outcomes
	tasks    *taskConfigs
	log      taskLog
	hostname string
	most     int // how many run at once: half of the processors' worth, as Python's children need them, too

	ctx     context.Context //nolint:containedctx // the parent of every shadow's
	cancel  context.CancelCauseFunc
	running sync.WaitGroup

	mu      sync.Mutex
	stopped bool
	now     int // that run
	waiting []*shadow
	bytes   int // of what waits
	seen    map[string]*comparison
}

// shadow is a copy of a message, with what Python has made of it.
type shadow struct {
	content  broker.Content
	queue    string
	task     *taskConfig // that of the Go handler
	python   answer
	runtime  time.Duration // in Python
	compared *comparison
}

func (s *shadow) size() int { return s.content.Size + len(s.python.result) }

func newShadows(w *Worker) *shadows {
	s := &shadows{
		decoder: &w.decoder, outcomes: w.outcomes, log: w.log, hostname: w.cfg.Hostname,
		most: max(1, runtime.GOMAXPROCS(0)/2), seen: map[string]*comparison{},
	}
	s.ctx, s.cancel = context.WithCancelCause(tasks.ShadowContext(context.Background()))
	return s
}

// cast has the shadow of a request run that Python has settled, soon. It never waits.
func (s *shadows) cast(r *request, o Outcome, runtime time.Duration) {
	t := s.tasks.of(r.Name)
	if o.Settled == nil || r.terminated.Load() != nil || t == nil || !t.entry.Shadowable() {
		return // the process was lost, say: what it would have answered is not known
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	what := &shadow{content: r.content, queue: r.Queue, task: t, python: answerOf(o), runtime: runtime, compared: s.comparisonLocked(r.Name)}
	switch {
	case s.now < s.most:
		s.now++
		s.startLocked(what)
	case len(s.waiting) >= shadowsWaiting, len(s.waiting) > 0 && s.bytes+what.size() > shadowsBytes:
		what.compared.count(ShadowDropped)
	default:
		s.waiting = append(s.waiting, what)
		s.bytes += what.size()
	}
}

func (s *shadows) comparisonLocked(task string) *comparison {
	c := s.seen[task]
	if c == nil {
		c = &comparison{counts: map[ShadowOutcome]uint64{}}
		s.seen[task] = c
	}
	return c
}

// startLocked runs a shadow in a goroutine of its own: a handler may end it.
func (s *shadows) startLocked(what *shadow) {
	s.running.Add(1)
	go s.run(what)
}

// ended has the next shadow run in the place of one that has ended.
func (s *shadows) ended() {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.running.Done()
	if len(s.waiting) == 0 {
		s.now--
		return
	}
	next := s.waiting[0]
	s.waiting[0] = nil
	s.waiting = s.waiting[1:]
	s.bytes -= next.size()
	s.startLocked(next)
}

// run runs a shadow, in a limited time. A handler that goes on after that keeps its place: there are never more of them than that.
func (s *shadows) run(what *shadow) {
	defer s.ended()
	r, err := s.request(what)
	if err != nil {
		s.compare(r, what, answer{state: protocol.Failure, unread: err}, 0)
		return
	}
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	limits := r.timeLimits()
	if limits.soft > 0 {
		defer time.AfterFunc(limits.soft, func() { cancel(tasks.ErrSoftTimeLimit) }).Stop()
	}
	if limits.hard == 0 { // twice as slow as Python is an answer, too
		limits.hard = max(shadowLimit, 2*what.runtime)
	}
	hard := time.AfterFunc(limits.hard, func() {
		cancel(tasks.ErrTimeLimit)
		s.tooLong(r, what, limits.hard)
	})
	started := time.Now()
	o := Outcome{Err: errGoexit}
	defer func() {
		took := time.Since(started)
		if hard.Stop() && s.ctx.Err() == nil {
			s.compare(r, what, s.answer(ctx, r, o), took)
		}
	}()
	o.Result, o.Err = r.task.entry.Call(ctx, &r.Request)
}

// request reads the message anew, for the Go handler. It is nobody else's request: nobody settles it.
func (s *shadows) request(what *shadow) (*request, error) {
	r := &request{content: what.content, task: what.task, bodyRead: true}
	r.Queue, r.Hostname, r.Log = what.queue, s.hostname, s.log.With("shadow", true)
	task, err := read(s.decoder, what.content, &r.read)
	if r.Task = task; err != nil {
		return r, err
	}
	r.Execution = &shadowExecution{r: r, outcomes: s.outcomes}
	return r, s.decoder.DecodeBody(task)
}

// stop has the shadows that run end, and runs no more of them: when a worker ends, nobody waits for what none gets.
func (s *shadows) stop() {
	s.mu.Lock()
	s.stopped, s.waiting, s.bytes = true, nil, 0
	s.mu.Unlock()
	s.cancel(tasks.ErrShutdown)
}

// await waits a moment for those that were running.
func (s *shadows) await() {
	select {
	case <-waited(&s.running):
	case <-time.After(terminateGrace):
	}
}
