package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// ShadowOutcome is what has become of the shadow of one run: from a closed set, so that it can label a metric.
type ShadowOutcome string

// The outcomes of shadows.
const (
	ShadowSame       ShadowOutcome = "same"       // both have ended in the same way
	ShadowDifferent  ShadowOutcome = "different"  // they have not
	ShadowUncompared ShadowOutcome = "uncompared" // what Python has returned has no JSON form
	ShadowTimeout    ShadowOutcome = "timeout"    // the handler took too long
	ShadowDropped    ShadowOutcome = "dropped"    // it did not run, as too many were waiting
)

// Shadow is what is known of the shadow of one task, since the worker has started: see [Config.Shadows].
type Shadow struct {
	Task string
	// Share is of which share of the messages that Python runs the handler runs a copy.
	Share tasks.Share
	// Counts are how many had which outcome.
	Counts map[ShadowOutcome]uint64
	// Python and Go are how long the same runs took in both, of those that were compared.
	Python, Go Runtimes
	// Differences are the last ten, the newest first.
	Differences []ShadowDifference
}

// Runtimes are how long runs took.
type Runtimes struct {
	Count uint64
	Sum   time.Duration
	// Last are those of the last runs, a hundred at most, in no order.
	Last []time.Duration
}

// ShadowDifference is one run that has ended differently.
type ShadowDifference struct {
	At     time.Time
	TaskID string
	// Args and Kwargs are Python's reprs of the arguments, as the message shows them to logs and monitors.
	Args, Kwargs string
	// Where is the first place in which two results differ, as Python would write it behind the result: ['total'][0]. "": in the whole,
	// or they are not both results.
	Where string
	// Python and Go say what each has done: "returned 12.5", "raised ValueError('no')".
	Python, Go string
}

const (
	shadowRuntimes    = 100
	shadowDifferences = 10
)

// answer is how a run has ended.
type answer struct {
	state     protocol.State
	result    []byte              // JSON, of a success; nil: it has no such form
	exception *protocol.Exception // of a failure, and the cause of a retry; nil: a retry has none
	unread    error               // of a failure: why the message could not be read
}

// answerOf is how Python has ended.
func answerOf(o Outcome) answer {
	a := answer{state: o.Settled.State, exception: o.Settled.Exception}
	if result, _ := o.Result.(json.RawMessage); pyjson.Valid(result) == nil {
		a.result = result
	}
	if o.Settled.Rejects {
		a.state = protocol.Rejected
	}
	return a
}

// answer is how a shadow has ended: what the worker would have made of it.
func (s *shadows) answer(ctx context.Context, r *request, o Outcome) answer {
	if o.Err == nil {
		result, err := pyjson.Append(nil, o.Result)
		if err != nil {
			return answer{state: protocol.Failure, exception: newException("kombu.exceptions", "EncodeError", err.Error())}
		}
		return answer{state: protocol.Success, result: result}
	}
	err := r.task.autoRetry.Retry(softTimeout(ctx, o.Err), r.Retries)
	var retry *tasks.RetryError
	switch {
	case errors.As(err, &retry):
		switch most := value(retry.MaxRetries, r.task.maxRetries); {
		case most < 0 || r.Retries < most:
			a := answer{state: protocol.Retry}
			if retry.Cause != nil {
				a.exception = tasks.ExceptionOf(retry.Cause)
			}
			return a
		case retry.Cause != nil:
			err = retry.Cause
		default:
			err = r.tooManyRetries(r.Task)
		}
	case errors.As(err, new(tasks.IgnoreError)):
		return answer{state: protocol.Ignored}
	case errors.As(err, new(*tasks.RejectError)):
		return answer{state: protocol.Rejected}
	}
	return answer{state: protocol.Failure, exception: tasks.ExceptionOf(err)}
}

// String says what a run has done.
func (a answer) String() string {
	switch {
	case a.unread != nil:
		return "cannot read the message: " + a.unread.Error()
	case a.state == protocol.Success:
		return "returned " + shownValue(a.result)
	case a.state == protocol.Failure && a.exception != nil:
		return "raised " + a.exception.Repr()
	case a.exception != nil:
		return string(a.state) + " after " + a.exception.Repr()
	}
	return string(a.state)
}

// shownValue is a JSON value as logs show it; nil: there is none.
func shownValue(raw []byte) string {
	if raw == nil {
		return "nothing"
	}
	return protocol.SafeRepr(raw)
}

// differs finds in what two answers differ. Results do in their values, failures in their classes, and that a task is retried, ignored or
// rejected is all there is to compare of it: texts and countdowns may be different.
func (a answer) differs(b answer) (d ShadowDifference, differs bool) {
	d.Python, d.Go = a.String(), b.String()
	switch {
	case a.state != b.state || b.unread != nil:
		return d, true
	case a.state == protocol.Success:
		where, inA, inB, equal := pyjson.Difference(a.result, b.result)
		if where != "" {
			d.Where, d.Python, d.Go = where, "returned "+shownValue(inA), "returned "+shownValue(inB)
		}
		return d, !equal
	case a.state == protocol.Failure && a.exception != nil && b.exception != nil:
		return d, a.exception.Module != b.exception.Module || a.exception.Type != b.exception.Type
	}
	return d, false
}

// comparison counts what has become of the shadows of a task.
type comparison struct {
	mu           sync.Mutex
	counts       map[ShadowOutcome]uint64
	python, goes runtimes
	differences  []ShadowDifference // the newest last
	logged       time.Time          // when one was, last
}

type runtimes struct {
	count uint64
	sum   time.Duration
	last  [shadowRuntimes]time.Duration
}

func (r *runtimes) note(d time.Duration) {
	r.last[r.count%shadowRuntimes] = d
	r.count++
	r.sum += d
}

func (r *runtimes) told() Runtimes {
	return Runtimes{Count: r.count, Sum: r.sum, Last: slices.Clone(r.last[:min(r.count, shadowRuntimes)])}
}

func (c *comparison) count(what ShadowOutcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[what]++
}

// noteDifference reports whether it is to be logged: one in a second is.
func (c *comparison) noteDifference(d ShadowDifference) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.differences = append(c.differences, d); len(c.differences) > shadowDifferences {
		c.differences = slices.Delete(c.differences, 0, 1)
	}
	now := time.Now()
	if now.Sub(c.logged) < time.Second {
		return false
	}
	c.logged = now
	return true
}

// compare counts how a shadow has ended beside Python.
func (s *shadows) compare(r *request, what *shadow, goes answer, took time.Duration) {
	c := what.compared
	if what.python.state == protocol.Success && what.python.result == nil {
		c.count(ShadowUncompared)
		return
	}
	c.mu.Lock()
	c.python.note(what.runtime)
	c.goes.note(took)
	c.mu.Unlock()
	d, differs := what.python.differs(goes)
	if !differs {
		c.count(ShadowSame)
		return
	}
	c.count(ShadowDifferent)
	if r.Task != nil {
		d.TaskID, d.Args, d.Kwargs = r.ID, r.ShownArgs(), r.ShownKwargs()
	}
	if d.At = time.Now(); c.noteDifference(d) {
		place := ""
		if d.Where != "" {
			place = " in result" + d.Where
		}
		s.log.task(slog.LevelWarn, r, "Shadow differs", fmt.Sprintf("The shadow of task %s differs%s: Python %s, Go %s, for args: %s kwargs: %s",
			nameAndID(r.Task), place, d.Python, d.Go, d.Args, d.Kwargs),
			slog.String("where", d.Where), slog.String("python", d.Python), slog.String("go", d.Go),
			slog.String("args", d.Args), slog.String("kwargs", d.Kwargs))
	}
}

// tooLong counts a shadow that took too long.
func (s *shadows) tooLong(r *request, what *shadow, limit time.Duration) {
	what.compared.count(ShadowTimeout)
	s.log.task(slog.LevelWarn, r, "Shadow takes too long", fmt.Sprintf("The shadow of task %s takes longer than %ss, where Python took %ss",
		nameAndID(r.Task), pythonNumber(limit), pythonNumber(what.runtime)))
}

// Shadows tells of the tasks that have, or had, shadows.
func (w *Worker) Shadows() (all []Shadow) {
	shares, s := w.tasks.allShadows(), w.shadows
	s.mu.Lock()
	for name := range shares {
		s.comparisonLocked(name)
	}
	for name, c := range s.seen {
		all = append(all, c.told(name, shares[name]))
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b Shadow) int { return strings.Compare(a.Task, b.Task) })
	return all
}

func (c *comparison) told(name string, share tasks.Share) Shadow {
	c.mu.Lock()
	defer c.mu.Unlock()
	told := Shadow{Task: name, Share: share, Counts: maps.Clone(c.counts), Python: c.python.told(), Go: c.goes.told(), Differences: slices.Clone(c.differences)}
	slices.Reverse(told.Differences)
	return told
}
