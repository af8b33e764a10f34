package compat_test

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// stormRow is what a storm has come to: see torture.md.
type stormRow struct {
	hits, hurting, cut         int // faults, those that hit who ran tasks, runs that they ended
	tasks, lost, ended         int
	late, early, unexplained   int
	normal, again, allDone     time.Duration  // the longest times until workers worked, what was cut off ran again, and all was done
	unstarted, farthest, mutes int            // early tasks that ended before they had started; see account.window, and storm.listen
	about                      int            // runs that were about to begin when their worker was frozen
	unsaid                     int            // runs of copies that nobody is known to have left beside their messages
	reasons                    map[string]int // of what ran again
	details                    []string
}

var stormColumns = []string{
	"fault", "broker", "workers", "faults", "at work", "cut off", "tasks", "lost", "ended by it", "late again", "early again", "for no reason",
	"normal after", "all done after",
}

func (r *stormRow) cells() (line []string) {
	for _, n := range []int{r.hits, r.hurting, r.cut, r.tasks, r.lost, r.ended, r.late, r.early, r.unexplained} {
		line = append(line, fmt.Sprint(n))
	}
	for _, d := range []time.Duration{r.normal, r.allDone} {
		line = append(line, d.Round(10*time.Millisecond).String())
	}
	return line
}

// progress tells what a storm has come to so far.
func (r *stormRow) progress() string {
	text := []string{fmt.Sprintf("%d of %d hit tasks and ended %d; %d tasks, %d ended, %d of them before they started; again %d late, %d early: %v; an acknowledgement lost after %d others; again after %v, normal after %v, all done after %v, %d times mute; %d lost, %d for no reason",
		r.hurting, r.hits, r.cut, r.tasks, r.ended, r.unstarted, r.late, r.early, r.reasons, r.farthest, r.again, r.normal, r.allDone, r.mutes, r.lost, r.unexplained)}
	return strings.Join(append(text, r.details...), "\n")
}

func (a *account) unexplained(format string, args ...any) {
	a.row.unexplained++
	a.row.details = append(a.row.details, fmt.Sprintf(format, args...))
}

func (a *account) lost(format string, args ...any) {
	a.row.lost++
	a.row.details = append(a.row.details, "lost: "+fmt.Sprintf(format, args...))
}

// judgeOne accounts for a task, and tells under which id its result must be stored, if so.
func (a *account) judgeOne(s *story) (id string) {
	if len(s.runs) > 1 {
		a.repeated[s.key] = true
	}
	for i, r := range s.runs {
		if r.done == 0 {
			if a.cutBy(r) != nil {
				a.row.cut++
			}
		}
		if i == 0 {
			continue
		}
		why, h := a.whyAgain(s, i)
		switch {
		case why == "":
			a.unexplained("%s%s", a.tell(s), a.said(s.key))
		case s.early():
			a.row.early++
		default:
			a.row.late++
		}
		a.row.reasons[why]++
		if h != nil && !h.over.IsZero() && s.runs[i-1].done == 0 && !s.early() {
			a.row.again = max(a.row.again, r.at.Sub(h.over))
		}
	}
	switch {
	case s.done():
		return s.result()
	case s.early() && a.mayBeGone(s):
		a.row.ended++
	default:
		a.lost("%s%s", a.tell(s), a.said(s.key))
	}
	return ""
}

// cutBy is the hit that has ended a run.
func (a *account) cutBy(r *taskRun) *hit {
	for _, h := range a.hits {
		if h.kills && h.hits(r.who) {
			return h
		}
	}
	return nil
}

// mayBeGone tells whether an early task ran in what was killed, or had been taken by it and was about to start. Of the latter kind
// are few: see bounds.
func (a *account) mayBeGone(s *story) bool {
	for _, r := range s.runs {
		if a.cutBy(r) != nil {
			return true
		}
	}
	if len(s.runs) > 0 || !slices.ContainsFunc(a.hits, func(h *hit) bool { return h.kills && h.to > s.order }) {
		return false
	}
	a.row.unstarted++
	return true
}

// whyAgain finds a reason for a run, but the first: who ran the task before was hit while it did, or when its acknowledgement was on
// its way; or the task has been published again, because that holds for a task that publishes it, or for its own message when that was
// parked; or it had completed a chord, and waited until somebody published the body; or who ran it again was frozen
// when it had looked whether it may, and was about to begin, of which there are few; or who had received it was killed between the
// publication of a copy, which it would have held while the task runs, and the acknowledgement of the message, and one of Celery's workers got the copy. Of the
// latter a few may be killed before they have written to their logs that they have received it.
func (a *account) whyAgain(s *story, i int) (why string, by *hit) {
	again, before := s.runs[i], false
	for _, h := range slices.Backward(a.hits) {
		if h.from > again.started || h.to != 0 && h.to < s.order {
			continue
		}
		if s.early() && (!a.unconfirmed || !h.unacks) {
			continue
		}
		for _, r := range s.runs[:i] {
			if why := a.hitRun(h, s, r); why != "" {
				return why, h
			}
		}
		if h.freezes && h.hits(again.who) && h.from < again.started && (h.to == 0 || again.started <= h.to+a.slots) { // who goes on notes it beside us
			a.row.about++
			return "was about to begin", h
		}
		waited := h.from > s.order && h.from < s.runs[0].started
		before = before || h.kills && waited
		if s.parked && a.unconfirmed && waited {
			return "was parked", nil
		}
	}
	if !s.early() && a.copies && a.abandoned(s.key) >= i {
		return "was left beside its copy", nil
	}
	if !a.once && slices.ContainsFunc(s.by, func(key string) bool { return a.publishedAgain(key, again) }) {
		return "was published again", nil
	}
	if !s.early() && a.copies && before && i == 1 {
		a.row.unsaid++
		return "was left beside its copy, perhaps", nil
	}
	return "", nil
}

// publishedAgain tells whether a task may have published others twice before a run of one of these: because it ran again, or because
// it was hit before it had heard that the broker has them.
func (a *account) publishedAgain(key string, again *taskRun) bool {
	by := a.stories[key]
	switch {
	case a.repeated[key], by != nil && len(by.runs) > 1:
		return true
	case by == nil || !a.unconfirmed:
		return false
	}
	return slices.ContainsFunc(a.hits, func(h *hit) bool {
		return h.from < again.started && !h.clean && h.hits(by.runs[0].who) && by.runs[0].started < h.to+a.slots && (by.runs[0].done == 0 || h.ended[by.runs[0].who]-by.runs[0].before <= a.window)
	})
}

// hitRun tells in which way a hit is a reason to repeat a run. Who is killed never comes back, but may begin a task yet: a child
// lives for a moment longer than its fork server or worker.
func (a *account) hitRun(h *hit, s *story, r *taskRun) string {
	if !h.hits(r.who) || h.clean || !h.kills && h.to != 0 && r.started > h.to+a.slots {
		return ""
	}
	if h.fault == itself {
		if r.done == 0 || r.done > h.from-a.window {
			return "its worker was silent"
		}
		return ""
	}
	if r.done == 0 || r.done > h.from {
		return "was running"
	}
	window := a.window
	if s.sends && a.unconfirmed {
		window *= 4 // it is acknowledged when the broker has confirmed those
	}
	if since := h.ended[r.who] - r.before; since <= window || h.forgets {
		a.row.farthest = max(a.row.farthest, since)
		return "was not acknowledged"
	}
	if body := a.stories[s.body]; body != nil && (len(body.runs) == 0 || body.runs[0].started > h.from) {
		return "had completed a chord"
	}
	return ""
}

// tell tells all of a task.
func (a *account) tell(s *story) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, sent at %d", s.key, s.order)
	for _, r := range s.runs {
		fmt.Fprintf(&b, "; %s from %d (%s) to %d", r.who, r.started, r.at.Format("05.000"), r.done)
		for _, h := range a.hits {
			if h.hits(r.who) && h.to >= r.started && (r.done == 0 || h.from < r.done+1000) {
				fmt.Fprintf(&b, " [hit from %d to %d]", h.from, h.to)
				break
			}
		}
	}
	for _, key := range s.by {
		if by := a.stories[key]; by != nil {
			fmt.Fprintf(&b, "; by {%s}", a.tell(by))
		}
	}
	return b.String()
}
